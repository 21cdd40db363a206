"""Writes safetensors: shards of at most 5 GB and their index, as transformers reads them."""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.storage import write_json_atomically
from students.export.floats import NUMPY_TYPE, FloatType, convert
from students.export.outfile import Encoded, OnBytes, OutFile
from students.export.weights import INDEX, SINGLE, StoredTensor, Tensor, in_order, row_ranges

SHARD_BYTES = 5_000_000_000
_ALIGNMENT = 8


def encode(tensor: Tensor, kind: FloatType) -> Encoded:
    """A tensor as it will lie in a safetensors file."""
    numbers = int(np.prod(tensor.shape, dtype=np.int64))
    return Encoded(
        name=tensor.name,
        shape=tensor.shape,
        kind=kind,
        size_bytes=numbers * np.dtype(NUMPY_TYPE[kind]).itemsize,
        parts=partial(_parts, tensor, kind),
    )


def shards(tensors: Sequence[Encoded], most_bytes: int = SHARD_BYTES) -> dict[str, list[Encoded]]:
    """Which tensors lie in which file; one that is larger than a shard has one of its own."""
    groups: list[list[Encoded]] = [[]]
    room = most_bytes
    for tensor in tensors:
        if groups[-1] and tensor.size_bytes > room:
            groups.append([])
            room = most_bytes
        groups[-1].append(tensor)
        room -= tensor.size_bytes
    if len(groups) == 1:
        return {SINGLE: groups[0]}
    count = len(groups)
    return {
        f"model-{number:05}-of-{count:05}.safetensors": group
        for number, group in enumerate(groups, 1)
    }


def write_shards(
    folder: Path, files: dict[str, list[Encoded]], on_bytes: OnBytes
) -> dict[str, str]:
    """Write them, and an index if there are several; returns the files' digests.

    Raises:
        StorageError: If the disk refuses.
    """
    digests = {}
    for name, tensors in files.items():
        with OutFile(folder / name, on_bytes) as file:
            file.write(_header(tensors))
            for tensor in tensors:
                file.write_tensor(tensor)
            digests[name] = file.digest()
    if len(files) > 1:
        total = sum(tensor.size_bytes for tensors in files.values() for tensor in tensors)
        places = {tensor.name: name for name, tensors in files.items() for tensor in tensors}
        index = {"metadata": {"total_size": total}, "weight_map": places}
        write_json_atomically(folder / INDEX, index)
    return digests


def _header(tensors: Sequence[Encoded]) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for tensor in tensors:
        end = offset + tensor.size_bytes
        header[tensor.name] = {
            "dtype": tensor.kind,
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def _parts(tensor: Tensor, kind: FloatType) -> Iterator[NDArray[Any]]:
    if not tensor.shape:
        yield convert(tensor.read(0, 1), kind)
        return
    yield from in_order(
        lambda rows: convert(tensor.read(*rows), kind),
        row_ranges(tensor.shape),
        is_cheap=isinstance(tensor, StoredTensor),
    )
