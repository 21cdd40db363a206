"""``Probe``: whether all workers see the folder that they will write to, before anything is paid.

The folder must be one and the same on every machine, and so must locks in it: a worker that was
given up may still write for a moment when its work goes on elsewhere.
"""

import os
import platform
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import distill
from distill.closing import Closing
from distill.errors import ClusterError, DistillError, RunDirError
from distill.lock import FileLock
from distill.storage import make_folder, write_atomically

_PATIENCE_SECONDS: Final = 10.0
"""Network file systems show new files late."""


@dataclass(frozen=True, slots=True)
class Visit:
    """What a worker is told to look for.

    Attributes:
        folder: Where.
        nonce: What it should find.
        version: Of the driver's package.
    """

    folder: Path
    nonce: str
    version: str

    def look(self) -> str:
        """In the worker: what is wrong with the folder; empty if nothing is."""
        if self.version != distill.__version__:
            return f"distill {distill.__version__} is installed there, here it is {self.version}"
        if not _appears(self.folder / "nonce", self.nonce):
            return f"{self.folder.parent} there is not the folder of that name here"
        try:
            write_atomically(self.folder / _mark(), self.nonce.encode())
            FileLock(self.folder / "held", guards=self.folder).release()
        except RunDirError:
            return ""  # it is held, as it should be
        except DistillError as error:
            return error.problem
        return f"file locks in {self.folder.parent} do not reach from one machine to another"


class Probe(Closing):
    """The driver's side: a folder in the folder, with a nonce and a lock that is held."""

    def __init__(self, folder: Path) -> None:
        """Put down what workers should find.

        Raises:
            StorageError: If the disk refuses.
        """
        nonce = secrets.token_hex(16)
        self.visit = Visit(folder / f".probe-{nonce[:8]}", nonce, distill.__version__)
        make_folder(self.visit.folder)
        write_atomically(self.visit.folder / "nonce", nonce.encode())
        self._lock = FileLock(self.visit.folder / "held", guards=folder)

    def check(self, problem: str, mark: str) -> None:
        """Make sure that a worker found all, and that what it wrote has arrived here.

        Raises:
            ClusterError: If not; nothing was asked or paid until then.
        """
        folder = self.visit.folder
        if not problem and not _appears(folder / mark, self.visit.nonce):
            problem = f"what is written there into {folder.parent} does not arrive here"
        if problem:
            raise ClusterError(
                f"worker {mark}: {problem}",
                hint="Every machine needs the same version of distill, and the folder of the run on"
                " a disk that all of them share (NFS 4, Lustre or CephFS with locks):"
                " --run-dir /shared/...",
            )

    def close(self) -> None:
        """Take it away."""
        self._lock.release()
        shutil.rmtree(self.visit.folder, ignore_errors=True)


def visit(what: Visit) -> tuple[str, str]:
    """In a worker: what is wrong, and what it is called."""
    return what.look(), _mark()


def _mark() -> str:
    return f"{platform.node()}-{os.getpid()}"


def _appears(path: Path, content: str) -> bool:
    """Whether a file is there with this content, or will be shortly."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            if path.read_text() == content:
                return True
        except OSError:
            pass
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
