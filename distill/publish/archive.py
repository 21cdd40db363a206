"""A tar file of one folder, made while it is written: no copy of anything lies on the disk.

Its last member has the SHA-256 of each other one, taken on the way, as ``sha256sum -c`` reads it.
The same members give the same bytes: order, times and owners are fixed. A member that is not what
its digest says stops the writing.
"""

import hashlib
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from distill.digest import FileDigest
from distill.errors import DataError

OnBytes = Callable[[int], None]

SUMS: Final = "SHA256SUMS"
_NO_SUM: Final = 64 * "0"
_CHUNK: Final = 1 << 20
_TIME: Final = 315_532_800  # 1980-01-01, the first day that every archive format can hold


@dataclass(frozen=True, slots=True)
class Member:
    """A file of an archive.

    Attributes:
        name: Within the folder.
        content: Its bytes, or the file that holds them.
        digest: Of them, as a lineage has it; empty if there is no record of it.
        is_program: Whether it can be started.
    """

    name: str
    content: bytes | Path
    digest: str = ""
    is_program: bool = False

    @property
    def size(self) -> int:
        """In bytes."""
        content = self.content
        return len(content) if isinstance(content, bytes) else content.stat().st_size


def archive_size(folder: str, members: Sequence[Member]) -> int:
    """Bytes of the archive, before any of it is written."""
    sums = Member(SUMS, "".join(_sum(_NO_SUM, one) for one in members).encode())
    held = sum(
        len(_header(folder, one, one.size)) + one.size + _padding(one.size)
        for one in (*members, sums)
    )
    return held + 2 * tarfile.BLOCKSIZE


def archive_parts(folder: str, members: Sequence[Member], on_bytes: OnBytes) -> Iterator[bytes]:
    """The archive from its first byte to its last.

    Args:
        folder: Name of what it unpacks to.
        members: In their order.
        on_bytes: Told how many bytes of content were read since the last call.

    Raises:
        DataError: If a member is not what its digest says.
        OSError: If a file cannot be read.
    """
    sums = ""
    for member in members:
        sha256 = hashlib.sha256()
        yield from _member_parts(folder, member, sha256.update, on_bytes)
        sums += _sum(sha256.hexdigest(), member)
    yield from _member_parts(folder, Member(SUMS, sums.encode()), lambda _: None, on_bytes)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _member_parts(
    folder: str, member: Member, on_chunk: Callable[[bytes], object], on_bytes: OnBytes
) -> Iterator[bytes]:
    size, left = member.size, member.size
    digest = FileDigest(like=member.digest)
    yield _header(folder, member, size)
    for chunk in _chunks(member.content):
        on_chunk(chunk)
        digest.update(chunk)
        left -= len(chunk)
        on_bytes(len(chunk))
        yield chunk
    if left or member.digest not in ("", str(digest)):
        raise DataError(
            f"{member.name}: changed while it was read, or since its record was written",
            hint="`distill verify` names each file that is not what the record says",
        )
    yield bytes(_padding(size))


def _sum(sha256: str, member: Member) -> str:
    return f"{sha256}  {member.name}\n"


def _chunks(content: bytes | Path) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _header(folder: str, member: Member, size: int) -> bytes:
    info = tarfile.TarInfo(f"{folder}/{member.name}")
    info.size, info.mtime = size, _TIME
    info.mode = 0o755 if member.is_program else 0o644
    return info.tobuf(tarfile.PAX_FORMAT)


def _padding(size: int) -> int:
    return -size % tarfile.BLOCKSIZE
