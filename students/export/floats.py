"""Conversions between bfloat16, float16 and float32 with numpy alone.

numpy has no bfloat16: arrays of ``uint16`` are bfloat16 here, everywhere.
"""

from functools import cache
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

FloatType = Literal["F32", "F16", "BF16"]
FLOAT_TYPES: Final[tuple[FloatType, ...]] = ("F32", "F16", "BF16")
# Of float32, float16 or, for bfloat16, uint16; numpy's types lose the width in arithmetic.
Array = NDArray[Any]

NUMPY_TYPE: Final = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}
# Without their signs: 2**-14, the smallest normal float16, as bfloat16 and as float16; and how far
# 2**16, beyond the largest, is from it as bfloat16.
_SMALLEST, _SMALLEST_AFTER = 0x3880, 0x0400
_RANGE, _MORE_DIGITS = np.uint16(0x4780 - _SMALLEST), np.uint16(3)
_MOVE = np.uint16((_SMALLEST_AFTER - (_SMALLEST << 3)) & 0xFFFF)
_SIGN, _REST = np.uint16(0x8000), np.uint16(0x7FFF)
_AT_ONCE = 1 << 16
_INFINITE = np.uint16(0x7C00)  # all digits of a float16's exponent


def float_type(values: Array) -> FloatType:
    """What an array holds.

    Example:
        >>> float_type(np.zeros(1, np.uint16))
        'BF16'
    """
    return {np.float32: "F32", np.float16: "F16", np.uint16: "BF16"}[values.dtype.type]  # type: ignore[return-value]


def to_float32(values: Array) -> NDArray[np.float32]:
    """The same numbers in float32, exactly.

    Example:
        >>> to_float32(np.array([0x3F80, 0xC000], np.uint16)).tolist()
        [1.0, -2.0]
    """
    if values.dtype == np.uint16:
        return (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return values.astype(np.float32, copy=False)


def convert(values: Array, wanted: FloatType) -> Array:
    """The nearest numbers of another type.

    Raises:
        OverflowError: If one of them is too large for float16.

    Example:
        >>> convert(np.array([1.0, 1 + 2**-8 + 2**-20], np.float32), "BF16").tolist()
        [16256, 16257]
    """
    if float_type(values) == wanted:
        return values
    if wanted == "F32":
        return to_float32(values)
    if wanted == "BF16":
        return _rounded_to_bfloat16(to_float32(values))
    if values.dtype == np.uint16:
        return _bfloat16_to_float16(values)
    with np.errstate(over="ignore"):
        narrow: NDArray[np.float16] = values.astype(np.float16)
    _refuse_infinite(narrow.view(np.uint16))
    return narrow


def _rounded_to_bfloat16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Drop the lower half of the bits; to the nearest, ties to even."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    is_odd = (bits >> np.uint32(16)) & np.uint32(1)
    rounded = ((bits + np.uint32(0x7FFF) + is_odd) >> np.uint32(16)).astype(np.uint16)
    is_nan = np.isnan(values)
    return np.where(is_nan, np.uint16(0x7FC0), rounded) if is_nan.any() else rounded


def _bfloat16_to_float16(values: NDArray[np.uint16]) -> NDArray[np.float16]:
    """Move the exponent: float16 has more digits, so numbers in its range stay exact.

    bfloat16  s eeeeeeee mmmmmmm        float16  s eeeee mmmmmmm000
    The few that lie outside float16's normal range come from a table. Converting through float32
    takes six times as long.
    """
    flat, moved = values.reshape(-1), np.empty(values.size, np.uint16)
    for start in range(0, len(flat), _AT_ONCE):
        _move_exponents(flat[start : start + _AT_ONCE], moved[start : start + _AT_ONCE])
    return moved.reshape(values.shape).view(np.float16)


def _move_exponents(values: NDArray[np.uint16], moved: NDArray[np.uint16]) -> None:
    """Few enough numbers that they and what is made of them stay in the cache."""
    np.left_shift(values, _MORE_DIGITS, out=moved)  # sign and highest digits drop out
    moved += _MOVE  # the highest digits of a number in the range are 0
    other = values & _SIGN
    moved |= other
    np.bitwise_and(values, _REST, out=other)
    other -= np.uint16(_SMALLEST)  # what is smaller wraps around and is large now
    outside = np.flatnonzero(other >= _RANGE)
    from_table = _float16_of_each_bfloat16()[values[outside]]
    _refuse_infinite(from_table)
    moved[outside] = from_table


def _refuse_infinite(bits: NDArray[np.uint16]) -> None:
    if (bits & _INFINITE).max(initial=0) == _INFINITE:
        raise OverflowError(f"numbers beyond {np.finfo(np.float16).max:.0f}")


@cache
def _float16_of_each_bfloat16() -> NDArray[np.uint16]:
    every = to_float32(np.arange(1 << 16, dtype=np.uint16))
    with np.errstate(over="ignore", invalid="ignore"):
        return every.astype(np.float16).view(np.uint16)
