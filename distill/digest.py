"""What a file's bytes are, as manifests and lineages keep it: ``blake3:`` and 64 hex digits.

SHA-256 takes ten times as long on processors without instructions for it, longer than it takes to
write the file ([why](../docs/decisions/0018-blake3.md)). Records of earlier versions hold SHA-256
without a prefix; what is compared with one of these is computed alike.
"""

import hashlib
import re
from pathlib import Path
from typing import Any, Final

from blake3 import blake3

_PREFIX: Final = "blake3:"
_CHUNK: Final = 4 << 20
_FORM: Final = re.compile(f"({_PREFIX})?[0-9a-f]{{64}}")
_SHOWN: Final = 12


class FileDigest:
    """The digest of bytes that come one part after the other.

    Example:
        >>> digest = FileDigest()
        >>> digest.update(b"")
        >>> str(digest)[:16]
        'blake3:af1349b9f'
    """

    def __init__(self, like: str = "") -> None:
        """Begin with no bytes; ``like`` is what it will be compared with."""
        is_sha256 = like != "" and not like.startswith(_PREFIX)
        self._prefix = "" if is_sha256 else _PREFIX
        self._state: Any = hashlib.sha256() if is_sha256 else blake3()

    def update(self, part: bytes | memoryview) -> None:
        """Add bytes."""
        self._state.update(part)

    def __str__(self) -> str:
        """Of all that was added."""
        return f"{self._prefix}{self._state.hexdigest()}"


def digest_file(path: Path, like: str = "") -> str:
    """Digest of a file's bytes.

    Args:
        path: The file.
        like: What it will be compared with.

    Raises:
        OSError: If it cannot be read.
    """
    digest, part = FileDigest(like), memoryview(bytearray(_CHUNK))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(part):
            digest.update(part[:count])
    return str(digest)


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex, for what others compare; raises ``OSError``."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def differ(one: str, other: str) -> bool:
    """Whether two digests are of different bytes; those of two kinds tell nothing.

    Example:
        >>> differ("blake3:1", "blake3:2"), differ("blake3:1", "2"), differ("1", "2")
        (True, False, True)
    """
    is_alike = one.startswith(_PREFIX) == other.startswith(_PREFIX)
    return is_alike and one != other


def short(digest: str) -> str:
    """Enough of a digest for people to tell two apart; any other text as it is.

    Example:
        >>> short("blake3:" + 64 * "a"), short(64 * "b"), short("qwen3")
        ('blake3 aaaaaaaaaaaa', 'sha256 bbbbbbbbbbbb', 'qwen3')
    """
    if not _FORM.fullmatch(digest):
        return digest
    kind = "blake3" if digest.startswith(_PREFIX) else "sha256"
    return f"{kind} {digest.removeprefix(_PREFIX)[:_SHOWN]}"
