"""Files written in parts: sizes known beforehand, digests taken on the way, progress reported."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.digest import FileDigest
from distill.errors import ModelError
from distill.storage import storage_errors

OnBytes = Callable[[int], None]
_PARTS_WAITING = 4
_SYNCED_AT_ONCE = 64 << 20


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
    """A new file; while the next part is made, threads hash the last ones, write and sync them.

    So the disk works from the start, little waits in memory, and nothing is read again.
    """

    def __init__(self, path: Path, on_bytes: OnBytes) -> None:
        """Create it.

        Raises:
            StorageError: If the disk refuses, now or later.
        """
        self._path, self._on_bytes = path, on_bytes
        self._digest = FileDigest()
        self._hasher, self._writer = _Behind(_PARTS_WAITING), _Behind(_PARTS_WAITING)
        self._syncer = _Behind(1)
        with storage_errors(path):
            self._file = path.open("xb", buffering=0)
        self.written_bytes = self._unsynced_bytes = 0

    def write(self, part: bytes | NDArray[Any]) -> None:
        """Add bytes, or the bytes of an array; it must not be changed afterwards."""
        data = part if isinstance(part, bytes) else np.ascontiguousarray(part).data.cast("B")
        self._hasher.do(self._digest.update, data)
        self._writer.do(self._put, data)
        self.written_bytes += len(data)
        self._on_bytes(len(data))

    def _put(self, data: bytes | memoryview) -> None:
        """In the writer's thread."""
        with storage_errors(self._path):
            done = 0
            while done < len(data):
                done += self._file.write(data[done:])
        self._unsynced_bytes += len(data)
        if self._unsynced_bytes >= _SYNCED_AT_ONCE:
            self._unsynced_bytes = 0
            self._syncer.do(self._sync, self._file.fileno())

    def _sync(self, descriptor: int) -> None:
        """In the syncer's."""
        with storage_errors(self._path):
            os.fsync(descriptor)

    def write_tensor(self, tensor: Encoded) -> None:
        """Add a whole tensor.

        Raises:
            ModelError: If its numbers are too large for their kind.
            ValueError: If its parts are not as large as it says.
        """
        begin = self.written_bytes
        try:
            for part in tensor.parts():
                self.write(part)
        except OverflowError as error:
            raise ModelError(
                f"{tensor.name} holds {error}, which float16 cannot", hint="choose --quant bf16"
            ) from None
        if self.written_bytes - begin != tensor.size_bytes:
            raise ValueError(f"{tensor.name}: {self.written_bytes - begin} bytes were made")

    def digest(self) -> str:
        """Of what was written."""
        self._hasher.wait()
        return str(self._digest)

    def __enter__(self) -> "OutFile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._file:
            behind = (self._hasher, self._writer, self._syncer)
            for each in behind:
                each.stop()
            for each in behind:
                each.wait()


class _Behind:
    """Calls that a thread of its own makes one after the other, few of them waiting."""

    def __init__(self, most_waiting: int) -> None:
        self._most = most_waiting
        self._thread = ThreadPoolExecutor(1)
        self._waiting: deque[Future[Any]] = deque()

    def do(self, call: Callable[[Any], object], value: object) -> None:
        """Have it called soon; raises what an earlier call has raised."""
        self._waiting.append(self._thread.submit(call, value))
        self.wait(self._most)

    def wait(self, most: int = 0) -> None:
        """Wait until no more than these are waiting; raises what one of them has raised."""
        while len(self._waiting) > most:
            self._waiting.popleft().result()

    def stop(self) -> None:
        """Wait for all that is waiting, whatever comes of it."""
        self._thread.shutdown()
