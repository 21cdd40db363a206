"""What whole prompts took, read off a journal: the measure that a plan rests on after a pilot.

A prompt is the unit, not an answer: answers of one prompt resemble each other, and where sampling
stops at a right one, hard prompts take more of them. The totals of prompts hold all of that, so
their mean and its range need no assumption about pass rates. A small pilot may have met no prompt
that takes all its samples; the range reaches up to where the mean was, had it met one more.

This module knows journals, nothing of money.
"""

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from distill.journal import read_journal
from distill.traces import trace_from
from distill.types import JudgedTrace

_MOST_PROMPTS: Final = 20_000
"""More say no more; memory stays small."""


@dataclass(frozen=True, slots=True)
class PromptTotals:
    """Prompts that are sampled to the end.

    Attributes:
        prompts: How many.
        unfinished: How many others have answers, but not yet all they will get.
        samples: Answers of a prompt, mean.
        output_tokens: Of all answers of a prompt, mean.
        low: Share of that mean from which the true one may lie, in about 19 of 20 pilots.
        high: Share up to which it may.
    """

    prompts: int
    unfinished: int
    samples: float
    output_tokens: float
    low: float
    high: float


@dataclass(slots=True)
class _Prompt:
    answers: int = 0
    accepted: int = 0
    output_tokens: int = 0

    def is_finished(self, samples: int, until_correct: int | None) -> bool:
        has_enough = until_correct is not None and self.accepted >= until_correct
        return has_enough or self.answers >= samples


def read_totals(path: Path, *, samples: int, until_correct: int | None) -> PromptTotals | None:
    """Totals of the prompts in a journal of judged traces; ``None`` if too few say anything.

    Args:
        path: The journal.
        samples: That a prompt gets at most.
        until_correct: Right ones at which it gets no more.

    Raises:
        DataError: If the journal is broken.
    """
    found: dict[str, _Prompt] = {}
    for judged in _answered(path):
        name = judged.trace.prompt_id
        if name not in found and len(found) >= _MOST_PROMPTS:
            continue
        prompt = found.setdefault(name, _Prompt())
        prompt.answers += 1
        prompt.accepted += judged.verdict.is_accepted is True
        prompt.output_tokens += judged.trace.completion.usage.output_tokens
    finished = [one for one in found.values() if one.is_finished(samples, until_correct)]
    return _totals(finished, len(found) - len(finished), samples)


def _totals(finished: list[_Prompt], unfinished: int, samples: int) -> PromptTotals | None:
    count, answers = len(finished), sum(one.answers for one in finished)
    tokens = [float(one.output_tokens) for one in finished]
    if count < 2 or not any(tokens):  # noqa: PLR2004 - one has no spread
        return None
    mean, error = _mean_and_error(tokens)
    most = samples * sum(tokens) / answers  # of a prompt that takes all its samples
    upper, upper_error = _mean_and_error([*tokens, most])
    return PromptTotals(
        prompts=count,
        unfinished=unfinished,
        samples=answers / count,
        output_tokens=mean,
        low=max(1 - 2 * error / mean, 0.0),
        high=(upper + 2 * upper_error) / mean,
    )


def _mean_and_error(values: list[float]) -> tuple[float, float]:
    mean = statistics.fmean(values)
    return mean, statistics.stdev(values, mean) / math.sqrt(len(values))


def _answered(path: Path) -> Iterator[JudgedTrace]:
    for line, record in enumerate(read_journal(path)):
        if line:  # the first is the header
            judged = trace_from(record, f"{path}:{line + 1}")
            if judged.trace.receipt is not None and judged.trace.completion.finish != "error":
                yield judged
