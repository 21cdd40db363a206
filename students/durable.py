"""Folders that appear whole or not at all, whatever is killed and whenever.

A folder is written under another name beside its place, synced to disk, then renamed. What a
killed process left behind under the other name is removed by the next one.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from distill.errors import StorageError

# The library's way to say what is an OSError elsewhere.
_DISK_REFUSED = re.compile(r"I/O error: (.+) \(os error \d+\)")
_WRITING = ".writing-"
_REPLACED = ".replaced-"


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder to write into; when the block ends well it is ``target``.

    A folder that is already there is replaced. If the block raises, nothing changes.

    Raises:
        StorageError: If the disk is full, read-only or fails.
    """
    writing = target.with_name(_WRITING + target.name)
    replaced = target.with_name(_REPLACED + target.name)
    try:
        shutil.rmtree(writing, ignore_errors=True)
        writing.mkdir(parents=True)
        yield writing
        _sync_tree(writing)
        shutil.rmtree(replaced, ignore_errors=True)
        if target.exists():
            target.rename(replaced)
        writing.rename(target)
        _sync(target.parent)
        shutil.rmtree(replaced, ignore_errors=True)
    except OSError as error:
        raise _refused(target, error.strerror or str(error)) from error
    except SafetensorError as error:
        found = _DISK_REFUSED.search(str(error))
        if found is None:
            raise
        raise _refused(target, found[1]) from error
    finally:
        shutil.rmtree(writing, ignore_errors=True)


def remove_leftovers(parent: Path) -> None:
    """Remove what killed processes left unfinished in a folder."""
    for path in [*parent.glob(f"{_WRITING}*"), *parent.glob(f"{_REPLACED}*")]:
        shutil.rmtree(path, ignore_errors=True)


def _refused(target: Path, reason: str) -> StorageError:
    return StorageError(
        f"{target}: cannot be written: {reason}",
        hint="free some disk space or choose another run folder; finished work is kept",
    )


def _sync_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
