"""Which of a prompt's good traces are trained on: far apart, by length, at random, by divergence.

A prompt's choice depends on its own traces and the seed alone, so it is the same in any order and
for any number of workers.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from distill.errors import DataError
from distill.filter_sections import SelectSection
from distill.shingles import shingle, similarity

Shingled = npt.NDArray[np.uint64]

_COMPARED: Final = 64
"""Of more traces of a prompt so many are drawn first: all pairs of them are compared."""
_HOW: Final = {
    "farthest": "are farther apart",
    "shortest": "are shorter",
    "longest": "are longer",
    "random": "were drawn",
    "first": "came first",
    "divergent": "diverge more from the student",
}


@dataclass(frozen=True, slots=True)
class Choosable:
    """What a choice can go by.

    Attributes:
        id: Of the trace.
        tokens: Its length.
        text: What tells how far two traces are apart.
        divergence: See ``Candidate``.
    """

    id: str
    tokens: int
    text: str
    divergence: float | None = None


def choose(
    group: Sequence[Choosable], section: SelectSection, seed: int, prompt_id: str
) -> set[int]:
    """Places of the chosen traces of one prompt; all, if there are no more than wanted.

    Args:
        group: The prompt's good traces in order.
        section: How many, and by what.
        seed: Of the draws.
        prompt_id: So that each prompt has draws of its own.

    Raises:
        DataError: If divergence is asked for and was not kept.
    """
    wanted = min(section.per_prompt, len(group))
    if section.by == "divergent":
        _refuse_unknown(group)
    if wanted == len(group):
        return set(range(wanted))
    rng = random.Random(f"{seed}/select/{prompt_id}")
    if section.short_mix is not None:
        return _mixed(group, wanted, section.short_mix, rng)
    return _WAYS[section.by](group, wanted, rng)


def passed_over(section: SelectSection) -> str:
    """Why a good trace was not chosen."""
    how = "were drawn by length" if section.short_mix is not None else _HOW[section.by]
    return f"{section.per_prompt} others of the prompt {how}"


def _refuse_unknown(group: Sequence[Choosable]) -> None:
    for one in group:
        if one.divergence is None:
            raise DataError(
                f"select.by = 'divergent' needs log-probabilities, and trace {one.id} has none",
                hint="Journals do not keep them. Give a trace file with the columns"
                " teacher_logprobs and student_logprobs, or choose another way.",
            )


def _by(key: Callable[[Choosable], float]) -> Callable[..., set[int]]:
    def ordered(group: Sequence[Choosable], wanted: int, rng: random.Random) -> set[int]:
        del rng
        return set(sorted(range(len(group)), key=lambda place: key(group[place]))[:wanted])

    return ordered


def _drawn(group: Sequence[Choosable], wanted: int, rng: random.Random) -> set[int]:
    return set(rng.sample(range(len(group)), wanted))


def _mixed(
    group: Sequence[Choosable], wanted: int, short_mix: float, rng: random.Random
) -> set[int]:
    """Shortest left or longest left, as each draw says."""
    left = sorted(range(len(group)), key=lambda place: (group[place].tokens, place))
    return {left.pop(0 if rng.random() < short_mix else -1) for _ in range(wanted)}


def _farthest(group: Sequence[Choosable], wanted: int, rng: random.Random) -> set[int]:
    """The two that are farthest apart, then always the one whose nearest chosen one is farthest.

    One trace alone is the one that is nearest to all others: what most of them have in common.
    """
    places = range(len(group))
    if len(group) > max(_COMPARED, wanted):
        few = sorted(rng.sample(places, max(_COMPARED, wanted)))
        return {few[place] for place in _farthest([group[place] for place in few], wanted, rng)}
    shingles = shingle([one.text for one in group])
    sets = [shingles.of(place) for place in places]
    alike = np.array([[similarity(one, other) for other in sets] for one in sets])
    if wanted == 1:
        return {int(np.argmax(alike.sum(axis=1)))}
    start = np.unravel_index(np.argmin(alike), alike.shape)
    chosen = [int(start[0]), int(start[1])]
    while len(chosen) < wanted:
        nearest = alike[:, chosen].max(axis=1)
        nearest[chosen] = 2.0
        chosen.append(int(np.argmin(nearest)))
    return set(chosen)


_WAYS: Final[dict[str, Callable[..., set[int]]]] = {
    "farthest": _farthest,
    "shortest": _by(lambda one: one.tokens),
    "longest": _by(lambda one: -one.tokens),
    "first": _by(lambda one: 0),
    "divergent": _by(lambda one: -(one.divergence or 0.0)),
    "random": _drawn,
}
