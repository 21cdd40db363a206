"""``FileLock``: one process at a time, and the others learn which one.

The kernel drops the lock with its process, so a lock file that was left behind by a killed run
stops nobody.
"""

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from distill.errors import RunDirError
from distill.storage import storage_errors

_TAKEN = (errno.EAGAIN, errno.EACCES)


class FileLock:
    """An exclusive lock, held until ``release`` or the end of the process."""

    def __init__(self, path: Path, *, guards: Path) -> None:
        """Take the lock at once or not at all.

        Args:
            path: The lock file; it goes away when the lock is released.
            guards: What nobody else may write meanwhile, for the error.

        Raises:
            RunDirError: If another process holds the lock; names its pid.
            StorageError: If the lock file cannot be made.
        """
        self._path = path
        with storage_errors(path):
            self._descriptor = _open_locked(path, guards)
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the lock back; a second call does nothing."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
            os.close(descriptor)

    def __enter__(self) -> "FileLock":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


def _open_locked(path: Path, guards: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still_at(path, descriptor):
                return descriptor
        except OSError as error:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            if error.errno not in _TAKEN:
                raise
            who = f"process {holder}" if holder else "another process"
            raise RunDirError(
                f"{guards} is in use by {who}",
                hint="Wait until it is done, or stop it; two at once would mix their records.",
            ) from error
        os.close(descriptor)


def _is_still_at(path: Path, descriptor: int) -> bool:
    """Whether the holder before us has not removed the file between our open and our lock."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False
