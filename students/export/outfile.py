"""Files written in parts: sizes known beforehand, SHA-256 taken on the way, progress reported."""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.storage import storage_errors

OnBytes = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Encoded:
    """One tensor as it will lie in a file.

    Attributes:
        name: In that file.
        shape: As transformers has it, rows first.
        kind: Type of its numbers in the file's own words, such as ``"BF16"`` or ``"Q8_0"``.
        size_bytes: Of the whole.
        parts: Makes them, in order.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    size_bytes: int
    parts: Callable[[], Iterator[NDArray[Any]]]


class OutFile:
    """A new file; its hash is taken by a thread of its own while the next part is made."""

    def __init__(self, path: Path, on_bytes: OnBytes) -> None:
        """Create it.

        Raises:
            StorageError: If the disk refuses, now or later.
        """
        self._path, self._on_bytes = path, on_bytes
        self._digest = hashlib.sha256()
        self._hasher = ThreadPoolExecutor(1)
        self._hashing: Future[None] | None = None
        with storage_errors(path):
            self._file = path.open("xb", buffering=0)
        self.written_bytes = 0

    def write(self, part: bytes | NDArray[Any]) -> None:
        """Add bytes, or the bytes of an array; it must not be changed afterwards."""
        data = part if isinstance(part, bytes) else np.ascontiguousarray(part).data.cast("B")
        hashing = self._hasher.submit(self._digest.update, data)
        with storage_errors(self._path):
            done = 0
            while done < len(data):
                done += self._file.write(data[done:])
        if self._hashing is not None:
            self._hashing.result()
        self._hashing = hashing
        self.written_bytes += len(data)
        self._on_bytes(len(data))

    def write_tensor(self, tensor: Encoded) -> None:
        """Add a whole tensor.

        Raises:
            ValueError: If its parts are not as large as it says.
        """
        begin = self.written_bytes
        for part in tensor.parts():
            self.write(part)
        if self.written_bytes - begin != tensor.size_bytes:
            raise ValueError(f"{tensor.name}: {self.written_bytes - begin} bytes were made")

    def hash(self) -> str:
        """SHA-256 of what was written, in hex."""
        if self._hashing is not None:
            self._hashing.result()
        return self._digest.hexdigest()

    def __enter__(self) -> "OutFile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._hasher.shutdown()
        self._file.close()
