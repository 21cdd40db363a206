"""Word runs of texts as numbers: what ``distill.dedup`` compares.

A text is a set of *shingles*, hashes of five words in a row. A character of Chinese, Japanese
or Korean counts as a word. Case of ASCII letters, white space and punctuation do not matter;
signs of arithmetic do. All is done on bytes in numpy, many texts at a time.

The hash of a word is the polynomial ``sum(byte[i] * BASE**i)`` modulo 2**64, read off prefix sums:
``BASE`` is odd, so it can be divided by.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

WORDS: Final = 5
"""Words in a shingle, as in Lee et al. 2022."""

_BASE: Final = 0x9E3779B97F4A7C15
_MODULUS: Final = 2**64
_CHUNK_BYTES: Final = 1 << 17
"""Texts are hashed together up to this size: more no longer fits the processor's cache."""

_Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Shingles:
    """The shingles of several texts, one text after the other.

    Attributes:
        hashes: All of them; a text that repeats itself has repeats.
        ends: Where each text's shingles end; the next text's begin there.
    """

    hashes: _Hashes
    ends: npt.NDArray[np.int64]

    def of(self, place: int) -> _Hashes:
        """The set of one text's shingles, sorted."""
        hashes = np.sort(self.hashes[(self.ends[place - 1] if place else 0) : self.ends[place]])
        is_new = np.ones(hashes.size, bool)
        np.not_equal(hashes[1:], hashes[:-1], out=is_new[1:])
        return hashes[is_new]


def shingle(texts: Sequence[str]) -> Shingles:
    """The shingles of each text; a text of fewer than five words has one, an empty one none."""
    hashes, counts = [], []
    for chunk in _chunks([text.encode("utf-8", "surrogatepass") for text in texts]):
        found, per_text = _shingle_chunk(chunk)
        hashes.append(found)
        counts.append(per_text)
    if not counts:
        return Shingles(np.empty(0, np.uint64), np.empty(0, np.int64))
    return Shingles(np.concatenate(hashes), np.cumsum(np.concatenate(counts)))


def similarity(left: _Hashes, right: _Hashes) -> float:
    """Jaccard similarity of two texts' sets of shingles: what they share of what either has.

    Example:
        >>> pair = shingle(["a b c d e f g", "A b c d e f h."])
        >>> similarity(pair.of(0), pair.of(1))
        0.5
    """
    both = np.sort(np.concatenate([left, right]))
    shared = int(np.count_nonzero(both[1:] == both[:-1]))
    either = left.size + right.size - shared
    return shared / either if either else 1.0


def mix(hashes: _Hashes) -> _Hashes:
    """Spread each number over all 64 bits (the last steps of MurmurHash3), in place."""
    for shift, factor in ((33, 0xFF51AFD7ED558CCD), (33, 0xC4CEB9FE1A85EC53), (33, 1)):
        hashes ^= hashes >> np.uint64(shift)
        hashes *= np.uint64(factor)
    return hashes


def _chunks(texts: Sequence[bytes]) -> list[list[bytes]]:
    chunks: list[list[bytes]] = []
    size = _CHUNK_BYTES
    for text in texts:
        if size >= _CHUNK_BYTES:
            chunks.append([])
            size = 0
        chunks[-1].append(text)
        size += len(text) + 1
    return chunks


def _shingle_chunk(texts: Sequence[bytes]) -> tuple[_Hashes, npt.NDArray[np.int64]]:
    """The shingles of a few texts, and how many each has."""
    letters = np.frombuffer((b" ".join(texts) + b"  ").translate(_FOLD), np.uint8)
    starts, ends = _words(letters)
    words = _word_hashes(letters, starts, ends)
    text_ends = np.cumsum([len(text) + 1 for text in texts])
    word_ends = np.searchsorted(starts, text_ends)
    word_counts = np.diff(word_ends, prepend=0)
    padded = np.concatenate([words, np.zeros(WORDS - 1, np.uint64)])
    shingles = np.zeros(words.size, np.uint64)
    for offset in range(WORDS):
        shingles *= np.uint64(0xD6E8FEB86659FD93)
        shingles += padded[offset : offset + words.size]
    # Runs that reach into the next text go, but a short text keeps its one run, cut at its end.
    is_kept = np.ones(words.size, bool)
    for begin, end in zip((word_ends - word_counts).tolist(), word_ends.tolist(), strict=True):
        is_kept[max(begin, end - WORDS + 1) : end] = False
        if 0 < end - begin < WORDS:
            is_kept[begin] = True
            shingles[begin] = _short_hash(words[begin:end])
    counts = np.where(word_counts >= WORDS, word_counts - WORDS + 1, word_counts > 0)
    return mix(shingles[is_kept]), counts.astype(np.int64)


def _words(letters: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where words begin and end: at separators, and before and after a CJK character."""
    is_word = letters != ord(" ")
    lead = letters >= _THREE_BYTES
    is_split = lead.copy()
    is_split[3:] |= lead[:-3] & (letters[:-3] < _FOUR_BYTES)
    is_split[4:] |= letters[:-4] >= _FOUR_BYTES
    is_begin = is_word.copy()
    is_begin[1:] &= ~is_word[:-1] | is_split[1:]
    is_end = np.zeros_like(is_word)
    is_end[1:] = is_word[:-1] & (~is_word[1:] | is_split[1:])
    return np.flatnonzero(is_begin), np.flatnonzero(is_end)


def _word_hashes(
    letters: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]
) -> _Hashes:
    powers, inverses = _powers(letters.size)
    sums = np.zeros(letters.size + 1, np.uint64)
    np.cumsum(letters * powers, out=sums[1:])
    return mix((sums[ends] - sums[starts]) * inverses[starts])


def _powers(size: int) -> tuple[_Hashes, _Hashes]:
    """``BASE**i`` and ``BASE**-i`` for i below ``size``; kept, for they are always the same."""
    if _POWERS[0].size < size:
        room = max(size, 2 * _CHUNK_BYTES)
        for place, base in enumerate((_BASE, pow(_BASE, -1, _MODULUS))):
            factors = np.full(room, base, np.uint64)
            factors[0] = 1
            _POWERS[place] = np.cumprod(factors)
    return _POWERS[0][:size], _POWERS[1][:size]


def _short_hash(words: _Hashes) -> np.uint64:
    """Hash of fewer words than a shingle has; no shingle of five begins like it."""
    value = len(words)
    for word in words.tolist():
        value = (value * 0xD6E8FEB86659FD93 + word) % _MODULUS
    return np.uint64(value)


_POWERS: Final = [np.empty(0, np.uint64), np.empty(0, np.uint64)]
_THREE_BYTES: Final = 0xE1
_FOUR_BYTES: Final = 0xF0
"""First bytes of characters of three and of four: Chinese, Japanese, Korean and rare signs."""
_SEPARATORS: Final = b"\t\n\v\f\r\x1c\x1d\x1e\x1f !\"#$'(),.:;?@[]_`{}"
_FOLD: Final = bytes(
    ord(" ") if byte in _SEPARATORS else ord(bytes([byte]).lower()) for byte in range(256)
)
