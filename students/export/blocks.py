"""GGUF's quantised kinds with a scale per block of 32 numbers: Q8_0, Q5_0 and Q5_1.

Formulas and layouts of ggml-quants.c. Blocks are rows here: ``[blocks, 32]`` float32 to
``[blocks, bytes]`` and back.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Arrays of float32 and of uint8; numpy's types lose the width in arithmetic.
Floats = NDArray[Any]
Bytes = NDArray[Any]

_HALF = 16


def encode_q8_0(x: Floats) -> Bytes:
    """One float16 scale and 32 signed bytes."""
    scale = _largest(x) / np.float32(127)
    return packed(scale.astype(np.float16), _to_int8(x * inverse(scale)))


def decode_q8_0(data: Bytes) -> Floats:
    """Numbers again."""
    return as_float16(data[:, :2]) * data[:, 2:].view(np.int8)


def encode_q5_0(x: Floats) -> Bytes:
    """A scale, and 5 bits a number, symmetric around zero; the largest number is exact."""
    largest = np.take_along_axis(x, np.abs(x).argmax(axis=1, keepdims=True), axis=1)
    scale = largest / np.float32(-16)
    q = (x * inverse(scale) + np.float32(16.5)).astype(np.uint8).clip(max=31)
    return packed(scale.astype(np.float16), *_five_bits(q))


def decode_q5_0(data: Bytes) -> Floats:
    """Numbers again."""
    return as_float16(data[:, :2]) * (_from_five_bits(data[:, 2:]).astype(np.float32) - 16)


def encode_q5_1(x: Floats) -> Bytes:
    """A scale, a smallest number, and 5 bits a number."""
    smallest = x.min(axis=1, keepdims=True)
    scale = (x.max(axis=1, keepdims=True) - smallest) / np.float32(31)
    q = ((x - smallest) * inverse(scale) + np.float32(0.5)).astype(np.uint8).clip(max=31)
    return packed(scale.astype(np.float16), smallest.astype(np.float16), *_five_bits(q))


def decode_q5_1(data: Bytes) -> Floats:
    """Numbers again."""
    q = _from_five_bits(data[:, 4:]).astype(np.float32)
    return as_float16(data[:, :2]) * q + as_float16(data[:, 2:4])


def inverse(scale: Floats) -> Floats:
    """``1 / scale``; 0 where the scale is 0, as in a block of zeros."""
    return np.divide(1, scale, out=np.zeros_like(scale), where=scale != 0)


def packed(*fields: NDArray[Any]) -> Bytes:
    """The fields of each block next to each other, as bytes."""
    return np.concatenate([np.ascontiguousarray(field).view(np.uint8) for field in fields], axis=1)


def as_float16(data: Bytes) -> Floats:
    """Two bytes of each block as the number they are, ``[blocks, 1]``."""
    return np.ascontiguousarray(data).view(np.float16).astype(np.float32)


def _largest(x: Floats) -> Floats:
    """The largest number of each block without its sign, ``[blocks, 1]``."""
    bits = np.abs(x).view(np.int32)  # in the order of the numbers, and compared twice as fast
    begins = np.arange(0, bits.size, x.shape[1])
    return np.maximum.reduceat(bits.reshape(-1), begins).view(np.float32)[:, None]


def _to_int8(x: Floats) -> NDArray[np.int8]:
    """Rounded as C's ``roundf``, halves away from zero: a half with the number's sign, then cut."""
    half = (x.view(np.uint32) & np.uint32(1 << 31)) | np.float32(0.5).view(np.uint32)
    return (x + half.view(np.float32)).astype(np.int8)


def _five_bits(q: Bytes) -> tuple[Bytes, Bytes]:
    """Highest bits of 32 numbers in four bytes; the rest in sixteen, two numbers in each."""
    high = np.packbits(q >> 4, axis=1, bitorder="little")
    return high, (q[:, :_HALF] & 15) | ((q[:, _HALF:] & 15) << 4)


def _from_five_bits(data: Bytes) -> Bytes:
    high, low = np.unpackbits(data[:, :4], axis=1, bitorder="little"), data[:, 4:]
    q: Bytes = np.concatenate([low & 15, low >> 4], axis=1) | (high << 4)
    return q
