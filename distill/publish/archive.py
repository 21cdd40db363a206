"""A tar file as parts in order, made while it is written: no copy of anything lies on the disk.

The same members give the same bytes: their order, times and owners are fixed. A member that is
not what its hash says stops the writing.
"""

import hashlib
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from distill.errors import DataError

OnBytes = Callable[[int], None]

_CHUNK: Final = 1 << 20
_TIME: Final = 315_532_800  # 1980-01-01, the first day that every archive format can hold


@dataclass(frozen=True, slots=True)
class Member:
    """A file of an archive.

    Attributes:
        name: Within the archive.
        content: Its bytes, or the file that holds them.
        sha256: Of them.
        is_program: Whether it can be started.
    """

    name: str
    content: bytes | Path
    sha256: str
    is_program: bool = False

    @classmethod
    def of(cls, name: str, content: bytes, *, is_program: bool = False) -> "Member":
        """A member whose bytes are at hand."""
        return cls(name, content, hashlib.sha256(content).hexdigest(), is_program)

    @property
    def size(self) -> int:
        """In bytes."""
        content = self.content
        return len(content) if isinstance(content, bytes) else content.stat().st_size


def archive_size(members: Sequence[Member]) -> int:
    """Bytes of the archive, before any of it is written."""
    held = sum(len(_header(one, one.size)) + one.size + _padding(one.size) for one in members)
    return held + 2 * tarfile.BLOCKSIZE


def archive_parts(members: Sequence[Member], on_bytes: OnBytes) -> Iterator[bytes]:
    """The archive from its first byte to its last.

    Args:
        members: In their order.
        on_bytes: Told how many bytes of content were read since the last call.

    Raises:
        DataError: If a member is not what its hash says.
        OSError: If a file cannot be read.
    """
    for member in members:
        size, digest = member.size, hashlib.sha256()
        yield _header(member, size)
        for chunk in _chunks(member.content):
            digest.update(chunk)
            on_bytes(len(chunk))
            yield chunk
        if digest.hexdigest() != member.sha256:
            raise DataError(
                f"{member.name}: changed while it was read", hint="run the same command again"
            )
        yield bytes(_padding(size))
    yield bytes(2 * tarfile.BLOCKSIZE)


def _chunks(content: bytes | Path) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _header(member: Member, size: int) -> bytes:
    info = tarfile.TarInfo(member.name)
    info.size, info.mtime = size, _TIME
    info.mode = 0o755 if member.is_program else 0o644
    return info.tobuf(tarfile.PAX_FORMAT)


def _padding(size: int) -> int:
    return -size % tarfile.BLOCKSIZE
