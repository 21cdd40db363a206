"""The written files read back: are all tensors there, and are they the student's?

Independent of how they were written, and in the memory of a few rows.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from distill.errors import StageError
from students.export.floats import to_float32
from students.export.gguf_format import GgufFile, read_gguf
from students.export.gguf_model import FREQUENCIES, gguf_name, head_size, is_rotated
from students.export.gguf_numbers import read_rows
from students.export.record import WeightCheck
from students.export.weights import Tensor, open_weights
from students.export.where_from import Student

# By the kind of numbers: errors of normal numbers are below two thirds of these.
_LARGEST_ERROR: Final[Mapping[str, float]] = {
    "F32": 1e-6,  # merged rows depend on how many are multiplied at once
    "F16": 1e-3,
    "BF16": 3e-3,
    "Q8_0": 0.01,
    "Q6_K": 0.03,
    "Q5_0": 0.07,
    "Q5_1": 0.07,
    "Q5_K": 0.06,
    "Q4_K": 0.12,
}
_PLACES = 8
_NUMBERS_AT_A_PLACE = 1 << 14


def check_weights(student: Student, path: Path) -> WeightCheck:
    """Compare rows from every tensor of a safetensors folder or a GGUF file.

    Raises:
        StageError: If a tensor is missing or differs more than its kind of numbers explains.
    """
    tensors = student.tensors()
    read = _in_gguf if path.suffix == ".gguf" else _in_folder
    pairs = read(student, tensors, path)
    worst, worst_name, numbers = 0.0, "", 0
    for tensor, kind, written in pairs:
        error, count = _error(tensor, written, _step(tensor, student))
        numbers += count
        if not error <= _LARGEST_ERROR[kind]:
            raise StageError(
                f"{tensor.name} was not written as it is: an error of {error:.2g} where {kind}"
                f" explains {_LARGEST_ERROR[kind]:g}",
                hint="nothing was exported; please report this with the student's config.json",
            )
        if error >= worst:
            worst, worst_name = error, tensor.name
    return WeightCheck(len(tensors), numbers, worst, worst_name)


class WrittenRows:
    """Rows of one tensor of a GGUF file, in the order that transformers has."""

    def __init__(self, file: GgufFile, name: str, head: int) -> None:
        """Take its GGUF name, and the size of a head if its rows were reordered, else 1."""
        self._file, self._tensor, self._head = file, file.tensors[name], head

    def __call__(self, start: int, stop: int) -> NDArray[np.float32]:
        """Rows `start` to `stop`."""
        rows = read_rows(self._file, self._tensor, start, stop)
        if self._head == 1:
            return rows
        pairs = rows.reshape(-1, self._head // 2, 2, *rows.shape[1:])
        return pairs.swapaxes(1, 2).reshape(rows.shape)


def written_rows(student: Student, file: GgufFile, name: str) -> WrittenRows:
    """Rows of a tensor in a GGUF file, by its name in transformers."""
    is_reordered = is_rotated(name, student.config)
    return WrittenRows(file, gguf_name(name), head_size(student.config) if is_reordered else 1)


_Pair = tuple[Tensor, str, "WrittenRows | _StoredRows"]


class _StoredRows:
    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    def __call__(self, start: int, stop: int) -> NDArray[np.float32]:
        """Rows `start` to `stop`."""
        return to_float32(self._tensor.read(start, stop))


def _in_gguf(student: Student, tensors: Mapping[str, Tensor], path: Path) -> Iterator[_Pair]:
    file = read_gguf(path)
    _same_names({gguf_name(name) for name in tensors}, set(file.tensors) - {FREQUENCIES})
    for name, tensor in tensors.items():
        yield tensor, file.tensors[gguf_name(name)].kind, written_rows(student, file, name)


def _in_folder(student: Student, tensors: Mapping[str, Tensor], folder: Path) -> Iterator[_Pair]:
    del student  # rows lie there as the student has them
    stored = open_weights(folder)
    _same_names(set(tensors), set(stored))
    for name, tensor in tensors.items():
        yield tensor, stored[name].dtype, _StoredRows(stored[name])


def _same_names(wanted: set[str], found: set[str]) -> None:
    if different := sorted(wanted ^ found):
        raise StageError(f"{different[0]} is in only one of student and export")


def _step(tensor: Tensor, student: Student) -> int:
    return head_size(student.config) if is_rotated(tensor.name, student.config) else 1


def _error(tensor: Tensor, written: "WrittenRows | _StoredRows", step: int) -> tuple[float, int]:
    """Root mean square error by that of the numbers, and how many numbers were compared."""
    rows = tensor.shape[0] if tensor.shape else 1
    per_row = max(int(np.prod(tensor.shape[1:], dtype=np.int64)), 1)
    at_once = max(_NUMBERS_AT_A_PLACE // per_row // step, 1) * step
    last = max(rows - at_once, 0) // step * step
    starts = sorted({int(place) // step * step for place in np.linspace(0, last, _PLACES)})
    wrong = right = 0.0
    count = 0
    for start in starts:
        stop = min(start + at_once, rows)
        expected = to_float32(tensor.read(start, stop)).astype(np.float64)
        wrong += float(np.square(written(start, stop) - expected).sum())
        right += float(np.square(expected).sum())
        count += expected.size
    return (0.0 if wrong == 0 else float(np.sqrt(wrong / right)) if right else np.inf), count
