"""The GGUF container: header, metadata, a table of tensors, then their bytes.

Specification: ggml-org/ggml, docs/gguf.md, version 3. Axes stand in reverse order: rows last. This
module knows bytes, nothing of models.
"""

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import IO, Any, Final

from distill.errors import ModelError
from students.export.outfile import Encoded, OnBytes, OutFile

Value = bool | int | float | str | Sequence[str] | Sequence[int] | Sequence[float]

_MAGIC, _VERSION, _ALIGNMENT = b"GGUF", 3, 32
_U32, _I32, _F32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9
_SCALARS: Final[Mapping[int, str]] = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    _U32: "I",
    _I32: "i",
    _F32: "f",
    _BOOL: "?",
    10: "Q",
    11: "q",
    12: "d",
}
# Number in the file, numbers of a block, bytes of a block.
KINDS: Final[Mapping[str, tuple[int, int, int]]] = {
    "F32": (0, 1, 4),
    "F16": (1, 1, 2),
    "Q5_0": (6, 32, 22),
    "Q5_1": (7, 32, 24),
    "Q8_0": (8, 32, 34),
    "Q4_K": (12, 256, 144),
    "Q5_K": (13, 256, 176),
    "Q6_K": (14, 256, 210),
    "BF16": (30, 1, 2),
}


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """A tensor as the table has it; ``shape`` is as transformers has it, rows first."""

    name: str
    shape: tuple[int, ...]
    kind: str
    offset: int

    @property
    def size_bytes(self) -> int:
        """Of its numbers."""
        return size_bytes(self.shape, self.kind)


@dataclass(frozen=True, slots=True)
class GgufFile:
    """What stands in a file before the numbers."""

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, GgufTensor]


def size_bytes(shape: tuple[int, ...], kind: str) -> int:
    """Bytes of a tensor of this shape and kind.

    Example:
        >>> size_bytes((2, 64), "Q8_0")
        136
    """
    _, block, block_bytes = KINDS[kind]
    return math.prod(shape) // block * block_bytes


def write_gguf(
    path: Path, metadata: Mapping[str, Value], tensors: Sequence[Encoded], on_bytes: OnBytes
) -> str:
    """Write a file, one tensor after the other; returns its digest.

    Args:
        path: Must not exist.
        metadata: Whole numbers become 32-bit unsigned ones, those in lists signed ones.
        tensors: In the order in which they will lie.
        on_bytes: Called with the bytes of each part that is written.

    Raises:
        StorageError: If the disk refuses.
    """
    with OutFile(path, on_bytes) as file:
        file.write(_header(metadata, tensors))
        for tensor in tensors:
            file.write_tensor(tensor)
            file.write(bytes(-tensor.size_bytes % _ALIGNMENT))
        return file.digest()


def read_gguf(path: Path) -> GgufFile:
    """Read what stands before the numbers.

    Raises:
        ModelError: If it is no GGUF file, is broken, or holds kinds of numbers not known here.
    """
    with path.open("rb") as file:
        try:
            return _read(path, file)
        except (struct.error, UnicodeDecodeError, KeyError, ValueError, MemoryError) as error:
            raise ModelError(f"{path}: not a GGUF file that can be read: {error}") from error


def _header(metadata: Mapping[str, Value], tensors: Sequence[Encoded]) -> bytes:
    places = accumulate((_padded(each.size_bytes) for each in tensors), initial=0)
    parts = [_MAGIC, struct.pack("<IQQ", _VERSION, len(tensors), len(metadata))]
    for key, value in metadata.items():
        parts += [_string(key), _typed(value)]
    for tensor, place in zip(tensors, places, strict=False):
        axes = tensor.shape[::-1]
        parts += [_string(tensor.name), struct.pack("<I", len(axes))]
        parts += [struct.pack(f"<{len(axes)}QIQ", *axes, KINDS[tensor.kind][0], place)]
    header = b"".join(parts)
    return header + bytes(-len(header) % _ALIGNMENT)


def _typed(value: Value) -> bytes:
    if isinstance(value, str | bool | int | float):
        kind = _kind(value, whole=_U32)
        return struct.pack("<I", kind) + _packed([value], kind)
    kind = _kind(value[0], whole=_I32) if value else _STRING
    return struct.pack("<IIQ", _ARRAY, kind, len(value)) + _packed(value, kind)


def _kind(value: str | float, *, whole: int) -> int:
    if isinstance(value, str):
        return _STRING
    return _BOOL if isinstance(value, bool) else whole if isinstance(value, int) else _F32


def _packed(values: Sequence[Any], kind: int) -> bytes:
    """Values of one kind, without a word about it."""
    if kind == _STRING:
        return b"".join(map(_string, values))
    return struct.pack(f"<{len(values)}{_SCALARS[kind]}", *values)


def _string(text: str) -> bytes:
    data = text.encode("utf-8", "surrogateescape")
    return struct.pack("<Q", len(data)) + data


def _padded(size: int) -> int:
    return size + -size % _ALIGNMENT


def _read(path: Path, file: IO[bytes]) -> GgufFile:
    if file.read(4) != _MAGIC:
        raise ValueError("it does not begin with GGUF")
    version, tensor_count, value_count = _unpack(file, "<IQQ")
    if version != _VERSION:
        raise ValueError(f"version {version}")
    metadata = {
        _read_string(file): _read_value(file, *_unpack(file, "<I")) for _ in range(value_count)
    }
    rows = [_read_row(file) for _ in range(tensor_count)]
    begin = _padded(file.tell())
    tensors = {
        name: GgufTensor(name, shape, kind, begin + place) for name, shape, kind, place in rows
    }
    if any(each.offset + each.size_bytes > path.stat().st_size for each in tensors.values()):
        raise ValueError("it is shorter than its table says")
    return GgufFile(path, metadata, tensors)


def _read_row(file: IO[bytes]) -> tuple[str, tuple[int, ...], str, int]:
    name = _read_string(file)
    (axes,) = _unpack(file, "<I")
    *shape, number, place = _unpack(file, f"<{axes}QIQ")
    kinds = {found: kind for kind, (found, _, _) in KINDS.items()}
    return name, tuple(shape[::-1]), kinds[number], place


def _read_value(file: IO[bytes], kind: int) -> object:
    if kind == _STRING:
        return _read_string(file)
    if kind == _ARRAY:
        inner, count = _unpack(file, "<IQ")
        if inner in _SCALARS:
            return list(_unpack(file, f"<{count}{_SCALARS[inner]}"))
        return [_read_value(file, inner) for _ in range(count)]
    return _unpack(file, f"<{_SCALARS[kind]}")[0]


def _read_string(file: IO[bytes]) -> str:
    (length,) = _unpack(file, "<Q")
    return file.read(length).decode("utf-8", "surrogateescape")


def _unpack(file: IO[bytes], layout: str) -> tuple[Any, ...]:
    return struct.unpack(layout, file.read(struct.calcsize(layout)))
