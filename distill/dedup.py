"""Duplicates among traces: exact ones, and near ones by MinHash.

Near duplicates are found in two steps. A sketch of each text (``distill.minhash``) proposes
pairs; each proposed pair is then compared by its true similarity, so nothing below the threshold
is ever dropped, and of what is at or above it about one pair in a thousand can be missed.

Texts are taken in the order given and the first of its kind is kept: a text is a duplicate when
an earlier *kept* text is similar enough. Sketches may be made anywhere and in any order; put
together in the order of the texts they give the same result.
"""

import hashlib
import unicodedata
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from distill.minhash import SLOTS, Backend, Sketches, sketch
from distill.rule_table import DUPLICATE, NEAR_DUPLICATE
from distill.shingles import mix, shingle, similarity
from distill.types import Check


@dataclass(frozen=True, slots=True)
class Duplicate:
    """What makes a text superfluous.

    Attributes:
        of: Place of the kept text that it repeats.
        similarity: Of the two, in [0, 1].
    """

    of: int
    similarity: float


def exact_duplicates(
    texts: Sequence[str], groups: Sequence[Hashable] | None = None
) -> list[Duplicate | None]:
    r"""For each text the first one that is the same but for white space, if it is an earlier one.

    Args:
        texts: In order of preference.
        groups: A text is only compared with texts of its own group, such as its prompt's id;
            without groups, with all.

    Example:
        >>> exact_duplicates(["a b", "a c", " a\n b"])
        [None, None, Duplicate(of=0, similarity=1.0)]
    """
    first: dict[tuple[Hashable, bytes], int] = {}
    found: list[Duplicate | None] = []
    for place, text in enumerate(texts):
        key = (groups[place] if groups else None, text_digest(text))
        earlier = first.setdefault(key, place)
        found.append(None if earlier == place else Duplicate(earlier, 1.0))
    return found


def text_digest(text: str) -> bytes:
    """Sixteen bytes that are equal for texts that differ in white space only."""
    plain = " ".join(text.split())
    if not plain.isascii():
        plain = unicodedata.normalize("NFC", plain)
    return hashlib.blake2b(plain.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def near_duplicates(
    texts: Sequence[str],
    groups: Sequence[Hashable] | None = None,
    *,
    threshold: float = 0.8,
    seed: int = 0,
    backend: Backend = "auto",
) -> list[Duplicate | None]:
    """For each text the first earlier kept one that is at least ``threshold`` similar.

    Args:
        texts: In order of preference; read again, one by one, where a pair is proposed.
        groups: As for ``exact_duplicates``.
        threshold: Jaccard similarity of five-word runs, in (0, 1].
        seed: Of the sketches.
        backend: ``"rensa"``, ``"numpy"``, or ``"auto"`` for rensa where it is installed.

    Raises:
        MissingDependencyError: If the backend is ``"rensa"`` and that is not installed.
    """
    sketches = sketch(texts, threshold=threshold, seed=seed, backend=backend)
    return resolve(sketches, texts.__getitem__, groups, threshold=threshold)


def resolve(
    sketches: Sketches,
    text_of: Callable[[int], str],
    groups: Sequence[Hashable] | None = None,
    *,
    threshold: float = 0.8,
) -> list[Duplicate | None]:
    """Find the near duplicates of texts whose sketches were made before.

    Args:
        sketches: Of all texts, in order, made for the same threshold.
        text_of: Reads one text; only texts of proposed pairs are asked for.
        groups: As for ``exact_duplicates``.
        threshold: As for ``near_duplicates``.
    """
    found: list[Duplicate | None] = [None] * len(sketches)
    read = _ShingleReader(text_of)
    kept_of_run: dict[int, list[int]] = {}
    runs = _runs(sketches.bands, groups)
    for place in read.ahead(np.flatnonzero((runs >= 0).any(axis=1)).tolist()):
        own = [run for run in runs[place].tolist() if run >= 0]
        proposed = sorted({other for run in own for other in kept_of_run.get(run, ())})
        likely = _likely(sketches.fingerprints, place, proposed, threshold)
        found[place] = _first_similar(read, place, likely, threshold)
        if found[place] is None:
            for run in own:
                kept_of_run.setdefault(run, []).append(place)
    return found


def duplicate_check(
    duplicate: Duplicate | None, first: str = "", *, is_near: bool = False
) -> Check:
    """The finding on one trace.

    Args:
        duplicate: What was found.
        first: Id of the trace that it repeats.
        is_near: Which rule found it.

    Example:
        >>> duplicate_check(Duplicate(0, 0.91), "p#0", is_near=True).reason
        '91 % the same as p#0'
    """
    rule = NEAR_DUPLICATE if is_near else DUPLICATE
    if duplicate is None:
        return Check(rule.name, rule.version, None, rule.default, ok=True)
    value = round(duplicate.similarity, 4)
    reason = f"{duplicate.similarity:.0%}".replace("%", " %") + f" the same as {first}"
    return Check(rule.name, rule.version, value, rule.default, ok=False, reason=reason)


_LIKELY_MARGIN: Final = 4.0
"""Standard errors below the threshold at which a sketch's estimate rules a pair out."""
_READ_AHEAD: Final = 128
_KEPT_SETS: Final = 4096


class _ShingleReader:
    """The sets of shingles of texts, the last few kept."""

    def __init__(self, text_of: Callable[[int], str]) -> None:
        self._text_of = text_of
        self._kept: OrderedDict[int, npt.NDArray[np.uint64]] = OrderedDict()

    def ahead(self, places: Sequence[int]) -> Iterator[int]:
        """Give the places back one by one, their texts read many at a time."""
        for start in range(0, len(places), _READ_AHEAD):
            block = places[start : start + _READ_AHEAD]
            self._read(block)
            yield from block

    def __call__(self, place: int) -> npt.NDArray[np.uint64]:
        if place in self._kept:
            self._kept.move_to_end(place)
        else:
            self._read([place])
        return self._kept[place]

    def _read(self, places: Sequence[int]) -> None:
        shingles = shingle([self._text_of(place) for place in places])
        for rank, place in enumerate(places):
            self._kept[place] = shingles.of(rank)
        while len(self._kept) > _KEPT_SETS:
            self._kept.popitem(last=False)


def _first_similar(
    read: _ShingleReader, place: int, others: Sequence[int], threshold: float
) -> Duplicate | None:
    for other in others:
        value = similarity(read(place), read(other))
        if value >= threshold:
            return Duplicate(other, value)
    return None


def _likely(
    fingerprints: npt.NDArray[np.uint8], place: int, others: list[int], threshold: float
) -> list[int]:
    """Those whose estimated similarity does not rule them out."""
    if len(others) <= 1:
        return others
    estimates = (fingerprints[others] == fingerprints[place]).mean(axis=1)
    margin = _LIKELY_MARGIN * (threshold * (1 - threshold) / SLOTS) ** 0.5
    return [
        other for other, one in zip(others, estimates, strict=True) if one >= threshold - margin
    ]


def _runs(
    bands: npt.NDArray[np.uint64], groups: Sequence[Hashable] | None
) -> npt.NDArray[np.int64]:
    """Texts that share a band share a run's number there; -1 where a text is alone.

    Three texts in two bands, the first two share one: ``[[0, -1], [0, -1], [-1, -1]]``.
    """
    runs = np.full(bands.shape, -1, np.int64)
    if not len(bands):
        return runs
    salt = mix(_numbers(groups)) if groups is not None else np.uint64(0)
    next_run = 0
    for band in range(bands.shape[1]):
        keys = bands[:, band] ^ salt
        order = np.argsort(keys, kind="stable")
        same = keys[order][1:] == keys[order][:-1]
        numbers = np.concatenate([[0], np.cumsum(~same)]) + next_run
        is_shared = np.concatenate([[False], same]) | np.concatenate([same, [False]])
        runs[order[is_shared], band] = numbers[is_shared]
        next_run = int(numbers[-1]) + 1
    return runs


def _numbers(groups: Sequence[Hashable]) -> npt.NDArray[np.uint64]:
    """1, 2, 3, ... for groups in the order in which they first come."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(one, len(numbers) + 1) for one in groups], np.uint64)
