"""Sketches of texts: small arrays in which similar texts agree (MinHash).

Each text gets 128 slots; two texts agree in a slot with the probability of their similarity.
Slots are taken together in *bands*: texts that agree in a whole band are proposed as a pair. How
many slots make a band follows from the threshold, so that a pair right at it is missed at most
once in a thousand.

rensa (the optional extra ``near``) computes the slots fastest; numpy does it too. The two give
other sketches, which cannot be mixed, but propose the same pairs but for such misses.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from distill.errors import MissingDependencyError
from distill.shingles import Shingles, mix, shingle

Backend = Literal["auto", "rensa", "numpy"]

SLOTS: Final = 128
_TEXTS_AT_ONCE: Final = 256
_ALLOWED_MISSES: Final = 0.001

_Slots = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Sketches:
    """The sketches of several texts, in order.

    Attributes:
        bands: One hash per text and band.
        fingerprints: The slots of each text, a byte each: to estimate similarity.
    """

    bands: npt.NDArray[np.uint64]
    fingerprints: npt.NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.bands)

    @staticmethod
    def join(parts: Sequence["Sketches"]) -> "Sketches":
        """Put sketches together that were made in parts."""
        return Sketches(
            np.concatenate([part.bands for part in parts]),
            np.concatenate([part.fingerprints for part in parts]),
        )


def sketch(
    texts: Sequence[str], *, threshold: float = 0.8, seed: int = 0, backend: Backend = "auto"
) -> Sketches:
    """Make the sketches of some texts: each depends on its own text only.

    Args:
        texts: Any number; the work is done a few hundred at a time.
        threshold: Similarity that is looked for, in (0, 1].
        seed: Same seed, same sketches.
        backend: See ``near_duplicates``.

    Raises:
        ValueError: If the threshold is not in (0, 1].
        MissingDependencyError: If the backend is ``"rensa"`` and that is not installed.
    """
    rows = rows_per_band(threshold)
    slots_of = _rensa_slots if uses_rensa(backend) else _numpy_slots
    parts = [
        _sketches(slots_of(shingle(texts[start : start + _TEXTS_AT_ONCE]), seed), rows)
        for start in range(0, len(texts), _TEXTS_AT_ONCE)
    ]
    return Sketches.join(parts or [_sketches(np.empty((0, SLOTS), np.uint64), rows)])


def uses_rensa(backend: Backend) -> bool:
    """Whether rensa computes the slots.

    Raises:
        MissingDependencyError: If it was asked for and is not installed.
    """
    is_there = find_spec("rensa") is not None
    if backend == "rensa" and not is_there:
        raise MissingDependencyError(
            "near-duplicates with rensa: rensa is not installed",
            hint="pip install 'distill-reasoning[near]', or leave the choice open: it runs without",
        )
    return is_there and backend != "numpy"


def rows_per_band(threshold: float) -> int:
    """The most slots a band may have so that pairs at the threshold are found.

    With ``b`` bands of ``r`` slots, a pair of similarity ``s`` is missed with probability
    ``(1 - s**r)**b``.

    Example:
        >>> [rows_per_band(threshold) for threshold in (0.5, 0.8, 0.9)]
        [2, 5, 8]
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be in (0, 1], not {threshold}")
    fitting = [
        rows
        for rows in range(1, SLOTS // 4 + 1)
        if (1 - threshold**rows) ** (SLOTS // rows) <= _ALLOWED_MISSES
    ]
    return max(fitting, default=1)


def _sketches(slots: _Slots, rows: int) -> Sketches:
    """Bands and fingerprints of slots ``[texts, SLOTS]``."""
    count = SLOTS // rows
    members = slots[:, : count * rows].reshape(len(slots), count, rows)
    bands = np.tile(np.arange(1, count + 1, dtype=np.uint64), (len(slots), 1))
    for row in range(rows):
        bands *= np.uint64(0x9FB21C651E98DF25)
        bands += members[:, :, row]
    fingerprints = mix(slots.copy()) >> np.uint64(56)
    return Sketches(mix(bands), fingerprints.astype(np.uint8))


def _rensa_slots(shingles: Shingles, seed: int) -> _Slots:
    rensa: Any = import_module("rensa")  # it has no types
    offsets = np.concatenate([[0], shingles.ends]).astype(np.uint64)
    matrix = rensa.RMinHash.digest_matrix_from_flat_token_hashes(
        shingles.hashes, offsets, SLOTS, seed
    )
    return np.array(matrix.to_rows(), np.uint64).reshape(len(shingles.ends), SLOTS)


def _numpy_slots(shingles: Shingles, seed: int) -> _Slots:
    """The least value of each of 128 hash functions ``(a * x + b) mod 2**64`` over a text."""
    rng = np.random.Generator(np.random.PCG64(seed))
    factors, terms = rng.integers(0, 2**64, (2, SLOTS, 1), np.uint64)
    factors |= np.uint64(1)
    slots = np.full((len(shingles.ends), SLOTS), np.iinfo(np.uint64).max, np.uint64)
    for place in range(len(slots)):
        hashes = shingles.of(place)
        if hashes.size:
            values = factors * hashes
            values += terms
            slots[place] = values.min(axis=1)
    return slots >> np.uint64(32)
