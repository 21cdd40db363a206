"""Rows of numbers to the bytes of a GGUF kind and back, whichever kind it is."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from students.export.blocks import (
    decode_q5_0,
    decode_q5_1,
    decode_q8_0,
    encode_q5_0,
    encode_q5_1,
    encode_q8_0,
)
from students.export.floats import FLOAT_TYPES, NUMPY_TYPE, Array, convert, to_float32
from students.export.gguf_format import KINDS, GgufFile, GgufTensor
from students.export.k_blocks import (
    decode_q4_k,
    decode_q5_k,
    decode_q6_k,
    encode_q4_k,
    encode_q5_k,
    encode_q6_k,
)

_Coder = Callable[[NDArray[Any]], NDArray[Any]]
_CODERS: Final[Mapping[str, tuple[_Coder, _Coder]]] = {
    "Q8_0": (encode_q8_0, decode_q8_0),
    "Q5_0": (encode_q5_0, decode_q5_0),
    "Q5_1": (encode_q5_1, decode_q5_1),
    "Q4_K": (encode_q4_k, decode_q4_k),
    "Q5_K": (encode_q5_k, decode_q5_k),
    "Q6_K": (encode_q6_k, decode_q6_k),
}
# Numbers that are quantised at once: with what is computed from them they stay in the cache.
_AT_ONCE = 1 << 16


def encode(rows: Array, kind: str) -> NDArray[Any]:
    """The bytes of these rows; their length must be a multiple of the kind's block."""
    if kind in FLOAT_TYPES:
        return convert(rows, kind)
    _, block, block_bytes = KINDS[kind]
    blocks = rows.reshape(-1, block)
    made = np.empty((len(blocks), block_bytes), np.uint8)
    step = _AT_ONCE // block
    for start in range(0, len(blocks), step):
        made[start : start + step] = _CODERS[kind][0](to_float32(blocks[start : start + step]))
    return made


def decode(data: NDArray[np.uint8], kind: str) -> NDArray[np.float32]:
    """The numbers that these bytes stand for, in one row."""
    if kind in FLOAT_TYPES:
        return to_float32(data.view(NUMPY_TYPE[kind]))
    decoded: NDArray[np.float32] = _CODERS[kind][1](data.reshape(-1, KINDS[kind][2]))
    return decoded.reshape(-1)


def read_rows(file: GgufFile, tensor: GgufTensor, start: int, stop: int) -> NDArray[np.float32]:
    """Rows of a tensor in a GGUF file, as numbers."""
    row_bytes = tensor.size_bytes // tensor.shape[0]
    data = np.fromfile(
        file.path, np.uint8, (stop - start) * row_bytes, offset=tensor.offset + start * row_bytes
    )
    return decode(data, tensor.kind).reshape(stop - start, *tensor.shape[1:])
