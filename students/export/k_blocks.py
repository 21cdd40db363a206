"""GGUF's K-quants: 256 numbers in a block, its parts with scales that are quantised themselves.

Formulas and layouts of ggml-quants.c; where that tries twenty scales for each part, these try
eleven. Blocks are rows here: ``[blocks, 256]`` float32 to ``[blocks, bytes]`` and back.

    Q4_K, Q5_K   8 parts of 32:   x = d * scale * q - dmin * min     scale, min of 6 bits
    Q6_K        16 parts of 16:   x = d * scale * q                  scale of 8 bits, q -32..31
"""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from students.export.blocks import Bytes, Floats, as_float16, inverse, packed

_SIX_BITS = 63
_TRIED = np.linspace(-1, 1, 11, dtype=np.float32)


def encode_q4_k(x: Floats) -> Bytes:
    """4.5 bits a number."""
    q, head = _scaled(x, most=15)
    return packed(*head, _nibbles(q))


def decode_q4_k(data: Bytes) -> Floats:
    """Numbers again."""
    return _unscaled(data, _from_nibbles(data[:, 16:]))


def encode_q5_k(x: Floats) -> Bytes:
    """5.5 bits a number."""
    q, head = _scaled(x, most=31)
    high = np.packbits((q >> 4).transpose(0, 2, 1), axis=2, bitorder="little")[:, :, 0]
    return packed(*head, high, _nibbles(q & 15))


def decode_q5_k(data: Bytes) -> Floats:
    """Numbers again."""
    high = np.unpackbits(data[:, 16:48, None], axis=2, bitorder="little").transpose(0, 2, 1)
    return _unscaled(data, _from_nibbles(data[:, 48:]) | (high << 4))


def encode_q6_k(x: Floats) -> Bytes:
    """6.56 bits a number."""
    parts = x.reshape(-1, 16, 16)
    scale = _best_symmetric(parts)
    largest = np.take_along_axis(scale, np.abs(scale).argmax(axis=1, keepdims=True), axis=1)
    d = (largest / np.float32(-128)).astype(np.float16)
    scales = np.rint(scale * inverse(largest / np.float32(-128))).clip(-128, 127).astype(np.int8)
    step = inverse(d.astype(np.float32) * scales)
    q = (np.rint(parts * step[:, :, None]).clip(-32, 31) + 32).astype(np.uint8)
    quarters = q.reshape(-1, 2, 4, 32)  # of each half of 128
    low, high = quarters & 15, quarters >> 4
    nibbles = low[:, :, :2] | (low[:, :, 2:] << 4)
    bits = high[:, :, 0] | (high[:, :, 1] << 2) | (high[:, :, 2] << 4) | (high[:, :, 3] << 6)
    return packed(nibbles.reshape(-1, 128), bits.reshape(-1, 64), scales, d)


def decode_q6_k(data: Bytes) -> Floats:
    """Numbers again."""
    nibbles, bits = data[:, :128].reshape(-1, 2, 2, 32), data[:, 128:192].reshape(-1, 2, 1, 32)
    low = np.concatenate([nibbles & 15, nibbles >> 4], axis=2)
    high = (bits >> np.array([0, 2, 4, 6], np.uint8)[:, None]) & 3
    q = (low | (high << 4)).reshape(-1, 16, 16).astype(np.float32) - 32
    scales = data[:, 192:208].view(np.int8).astype(np.float32) * as_float16(data[:, 208:])
    numbers: Floats = q * scales[:, :, None]
    return numbers.reshape(-1, 256)


def _scaled(
    x: Floats, *, most: int
) -> tuple[Bytes, tuple[NDArray[np.float16], NDArray[np.float16], Bytes]]:
    """Whole numbers ``[blocks, 8, 32]`` in ``0..most``, and the head of each block."""
    parts = x.reshape(-1, 8, 32)
    scale, least = _best_with_least(parts, most)
    d, scales = _six_bits(scale)
    dmin, mins = _six_bits(-least)
    step = d.astype(np.float32) * scales
    below = dmin.astype(np.float32) * mins
    q = np.rint((parts + below[:, :, None]) * inverse(step)[:, :, None]).clip(0, most)
    return q.astype(np.uint8), (d, dmin, _twelve_bytes(scales, mins))


def _unscaled(data: Bytes, q: Bytes) -> Floats:
    scales, mins = _from_twelve_bytes(data[:, 4:16])
    step = as_float16(data[:, :2]) * scales
    below = as_float16(data[:, 2:4]) * mins
    numbers: Floats = q * step[:, :, None] - below[:, :, None]
    return numbers.reshape(-1, 256)


def _six_bits(values: Floats) -> tuple[NDArray[np.float16], Bytes]:
    """Numbers of each block, none negative, as ``d * 0..63``."""
    largest = values.max(axis=1, keepdims=True)
    whole = np.rint(values * (_SIX_BITS * inverse(largest))).clip(0, _SIX_BITS)
    return (largest / np.float32(_SIX_BITS)).astype(np.float16), whole.astype(np.uint8)


def _best_with_least(parts: Floats, most: int) -> tuple[Floats, Floats]:
    """For each part, ``scale >= 0`` and ``least <= 0`` so that ``scale * q + least`` is near it.

    Several roundings are tried; for each, scale and least are those of weighted least squares.
    Large numbers weigh more: ``sqrt(mean(x**2)) + |x|``.
    """
    total = partial(np.einsum, "bpn,bpn->bp")
    w = np.sqrt(np.mean(parts * parts, axis=2, keepdims=True)) + np.abs(parts)
    wx = w * parts
    sum_w, sum_x, sum_x2 = w.sum(axis=2), wx.sum(axis=2), total(wx, parts)
    least = np.minimum(parts.min(axis=2), 0)
    width = parts.max(axis=2) - least
    scale = width / np.float32(most)
    shifted = parts - least[:, :, None]
    best = np.full_like(scale, np.inf)
    best_scale, best_least = scale, least
    for extra in _TRIED:
        q = np.rint(shifted * ((most + extra) * inverse(width))[:, :, None]).clip(0, most)
        wq = w * q
        sum_q, sum_q2, sum_qx = wq.sum(axis=2), total(wq, q), total(wq, parts)
        this_least = (sum_q2 * sum_x - sum_q * sum_qx) * inverse(sum_w * sum_q2 - sum_q * sum_q)
        this_least = np.minimum(this_least, 0)
        this_scale = (sum_qx - this_least * sum_q) * inverse(sum_q2)
        error = sum_x2 + this_scale * (this_scale * sum_q2 + 2 * this_least * sum_q - 2 * sum_qx)
        error += this_least * (this_least * sum_w - 2 * sum_x)
        is_better = (error < best) & (this_scale > 0)
        best = np.where(is_better, error, best)
        best_scale = np.where(is_better, this_scale, best_scale)
        best_least = np.where(is_better, this_least, best_least)
    return best_scale, best_least


def _best_symmetric(parts: Floats) -> Floats:
    """For each part, the scale for which ``scale * q``, q in -32..31, is nearest; weight x²."""
    largest = np.take_along_axis(parts, np.abs(parts).argmax(axis=2, keepdims=True), axis=2)
    w = parts * parts
    wx = w * parts
    best = np.zeros(parts.shape[:2], np.float32)
    best_scale = np.zeros_like(best)
    for extra in _TRIED:
        q = np.rint(parts * (-(32 + extra) * inverse(largest))).clip(-32, 31)
        sum_qx, sum_q2 = (wx * q).sum(axis=2), (w * q * q).sum(axis=2)
        scale = sum_qx * inverse(sum_q2)
        gain = scale * sum_qx
        best_scale = np.where(gain > best, scale, best_scale)
        best = np.maximum(gain, best)
    return best_scale


def _twelve_bytes(scales: Bytes, mins: Bytes) -> Bytes:
    """Eight scales and eight mins of 6 bits: four of each whole, the others in pieces."""
    first = scales[:, :4] | ((scales[:, 4:] >> 4) << 6)
    second = mins[:, :4] | ((mins[:, 4:] >> 4) << 6)
    third = (scales[:, 4:] & 15) | ((mins[:, 4:] & 15) << 4)
    return np.concatenate([first, second, third], axis=1)


def _from_twelve_bytes(data: Bytes) -> tuple[Bytes, Bytes]:
    first, second, third = data[:, :4], data[:, 4:8], data[:, 8:]
    scales = np.concatenate([first & 63, (third & 15) | ((first >> 6) << 4)], axis=1)
    mins = np.concatenate([second & 63, (third >> 4) | ((second >> 6) << 4)], axis=1)
    return scales, mins


def _nibbles(q: Bytes) -> Bytes:
    """Eight parts of 32 in 128 bytes: each even part in the lower halves, the next above it."""
    pairs: Bytes = q[:, 0::2] | (q[:, 1::2] << 4)
    return pairs.reshape(-1, 128)


def _from_nibbles(data: Bytes) -> Bytes:
    pairs = data.reshape(-1, 4, 1, 32)
    return np.concatenate([pairs & 15, pairs >> 4], axis=2).reshape(-1, 8, 32)
