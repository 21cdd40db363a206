"""Durable files: what was written is there after a power cut, or the user is told why not.

`os.replace` of a file that was not synced can leave it empty after a power cut, and a new name can
vanish with its folder: hence data, then name, then folder. Every failure of the disk comes out as
a ``StorageError`` that says what to do.

This module knows files and bytes, nothing of runs or recipes.
"""

import errno
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path

from distill.errors import StorageError

_FULL = "Make room on that disk, then run the same command again: it goes on from here."
_HINTS = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: f"Your quota is used up. {_FULL}",
    errno.EFBIG: "A file may not grow further here; see `ulimit -f`, then run the command again.",
    errno.EROFS: "That disk is mounted read-only; choose a folder on another one.",
    errno.EACCES: "You may not write there; change the permissions or choose another folder.",
    errno.EPERM: "You may not write there; change the permissions or choose another folder.",
    errno.EIO: "The disk reports failures; check it and copy what you need before going on.",
    errno.EEXIST: "There is a file of that name; choose another path.",
    errno.ENOTDIR: "A part of that path is a file, not a folder; choose another path.",
    errno.EISDIR: "That is a folder, not a file; choose another path.",
}


@contextmanager
def storage_errors(path: Path, note: str = "") -> Iterator[None]:
    """Turn each ``OSError`` inside into a ``StorageError`` about ``path``, with ``note``.

    Example:
        >>> with storage_errors(Path("x.jsonl"), note="17 records are safe"):
        ...     raise OSError(errno.ENOSPC, "No space left on device")
        Traceback (most recent call last):
        distill.errors.StorageError: x.jsonl: No space left on device; 17 records are safe
          Make room on that disk, then run the same command again: it goes on from here.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(
            f"{path}: {reason}; {note}" if note else f"{path}: {reason}",
            hint=_HINTS.get(error.errno or 0, ""),
        ) from error


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, durably.

    Raises:
        StorageError: If the disk refuses.
    """
    with storage_errors(folder):
        if folder.is_dir():
            return
        created = [folder, *takewhile(lambda parent: not parent.exists(), folder.parents)]
        folder.mkdir(parents=True, exist_ok=True)
        for new in created:
            sync_folder(new.parent)


def write_atomically(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Write a file so that after any crash the path holds the old content or the new, whole.

    Args:
        path: Its folder is created if needed.
        data: All of it, or parts in order.

    Raises:
        StorageError: If the disk refuses; the old content is untouched.
    """
    make_folder(path.parent)
    draft = path.with_name(f".{path.name}.tmp")
    with storage_errors(path):
        try:
            with draft.open("wb") as file:
                file.writelines([data] if isinstance(data, bytes) else data)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
            sync_folder(path.parent)
        except BaseException:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            raise


def write_json_atomically(path: Path, value: object) -> None:
    """Write a JSON file for people and programs, see ``write_atomically``."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2)
    write_atomically(path, f"{text}\n".encode("utf-8", "backslashreplace"))


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; raises ``OSError``."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def files_of(path: Path) -> list[Path]:
    """All files of a folder and of those in it, in the order of their names; a file is its own."""
    return (
        sorted(found for found in path.rglob("*") if found.is_file()) if path.is_dir() else [path]
    )


def sync_files(path: Path) -> None:
    """Make a file, or a folder with all that is in it, durable; raises ``OSError``."""
    for file in files_of(path):
        with file.open("rb") as readable:
            os.fsync(readable.fileno())
    folders = [path, *path.rglob("*"), path.parent]
    for folder in filter(Path.is_dir, folders):
        sync_folder(folder)


def hash_json(value: object) -> str:
    """SHA-256 of a JSON value, in hex; the order of keys does not matter.

    Example:
        >>> hash_json({"a": 1, "b": 2}) == hash_json({"b": 2, "a": 1})
        True
    """
    text = json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
