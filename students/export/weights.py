"""The tensors of a model folder, a few rows at a time, without torch.

A 32B model is exported in the memory of a few rows: nothing here holds a whole tensor. The header
of a safetensors file says where each tensor lies; rows are read from there when they are wanted.
"""

import json
import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import numpy as np

from distill.errors import ModelError
from engine.model_files import weight_files
from students.export.floats import FLOAT_TYPES, NUMPY_TYPE, Array, FloatType

INDEX: Final = "model.safetensors.index.json"
SINGLE: Final = "model.safetensors"
# Numbers that are read, converted and written at once: enough that handing them from thread to
# thread costs little. Conversion takes fewer at a time, which stay in a processor's cache.
_CHUNK_NUMBERS = 1 << 21
_MOST_THREADS = 8
_AGAIN = "the folder may be damaged: copy it again, whole"

Made = TypeVar("Made")


class Tensor(Protocol):
    """Numbers that can be read row by row.

    Attributes:
        name: As transformers calls it.
        shape: Of the whole; the first axis counts rows.
        dtype: Of what is read.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - said above
    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def dtype(self) -> FloatType: ...  # noqa: D102
    def read(self, start: int, stop: int) -> Array:
        """Rows ``start`` to ``stop``."""
        ...


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in a safetensors file; ``offset`` is where its first byte lies."""

    name: str
    shape: tuple[int, ...]
    dtype: FloatType
    path: Path
    offset: int

    def read(self, start: int, stop: int) -> Array:
        """Rows ``start`` to ``stop``; raises ``ModelError`` if the file is shorter than it says."""
        kind = np.dtype(NUMPY_TYPE[self.dtype])
        values = np.empty((stop - start, *self.shape[1:]), kind)
        place = self.offset + start * math.prod(self.shape[1:]) * kind.itemsize
        with self.path.open("rb", buffering=0) as file:
            file.seek(place)
            if file.readinto(values.data) != values.nbytes:
                raise ModelError(f"{self.path}: ends in the middle of {self.name}", hint=_AGAIN)
        return values


def open_weights(folder: Path) -> dict[str, StoredTensor]:
    """All tensors of a model folder by name, in the order of the files.

    Raises:
        ModelError: If a file is missing or broken, or holds something else than floats.
    """
    tensors: dict[str, StoredTensor] = {}
    for name in weight_files(folder):
        path = folder / name
        if not path.is_file():
            raise ModelError(f"{folder}: not a whole model folder, missing: {name}", hint=_AGAIN)
        tensors |= open_file(path)
    return tensors


def open_file(path: Path) -> dict[str, StoredTensor]:
    """The tensors of one safetensors file by name, in the order in which they lie.

    Raises:
        ModelError: If the file is broken, or holds something else than floats.
    """
    header, begin = _read_header(path)
    tensors = []
    for name, entry in header.items():
        dtype, shape, (start, stop) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        if dtype not in FLOAT_TYPES:
            raise ModelError(
                f"{path}: {name} has type {dtype}; {', '.join(FLOAT_TYPES)} can be exported",
                hint="export from the weights before they were quantised",
            )
        if stop - start != math.prod(shape) * np.dtype(NUMPY_TYPE[dtype]).itemsize:
            raise ModelError(f"{path}: the header contradicts itself about {name}", hint=_AGAIN)
        tensors.append(StoredTensor(name, shape, dtype, path, begin + start))
    if tensors and max(map(_end, tensors)) > path.stat().st_size:
        raise ModelError(f"{path}: shorter than its header says", hint=_AGAIN)
    return {each.name: each for each in sorted(tensors, key=lambda each: each.offset)}


def row_ranges(shape: tuple[int, ...], multiple: int = 1) -> Iterator[tuple[int, int]]:
    """Ranges of rows that are worth reading at once, each a multiple of ``multiple``.

    Example:
        >>> list(row_ranges((5, 1 << 21), multiple=2))
        [(0, 2), (2, 4), (4, 5)]
    """
    per_row = max(math.prod(shape[1:]), 1)
    step = max(_CHUNK_NUMBERS // per_row // multiple, 1) * multiple
    for start in range(0, shape[0], step):
        yield start, min(start + step, shape[0])


def in_order(
    make: Callable[[tuple[int, int]], Made],
    ranges: Iterator[tuple[int, int]],
    *,
    is_cheap: bool,
) -> Iterator[Made]:
    """``make`` of each range, in order, with few results waiting.

    Several threads do it, unless it is cheaper than to hand it to them.
    """
    if is_cheap:
        yield from map(make, ranges)
        return
    threads = min(usable_cpus(), _MOST_THREADS)
    waiting: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for each in ranges:
            waiting.append(pool.submit(make, each))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def usable_cpus() -> int:
    """Processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _read_header(path: Path) -> tuple[Mapping[str, Any], int]:
    """What stands in the header, and where the tensors begin."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            if length > path.stat().st_size:
                raise ValueError("its length is impossible")
            header = json.loads(file.read(length))
            header.pop("__metadata__", None)
            return header, 8 + length
        except (ValueError, AttributeError) as error:
            raise ModelError(f"{path}: not a safetensors file: {error}", hint=_AGAIN) from error


def _end(tensor: StoredTensor) -> int:
    size = math.prod(tensor.shape) * np.dtype(NUMPY_TYPE[tensor.dtype]).itemsize
    return tensor.offset + size
