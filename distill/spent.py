"""What the samples in a journal took: tokens, money and time, read off the journal itself.

One record is held at a time, so a million traces take no more memory than a few.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from distill.journal import read_journal
from distill.traces import trace_from
from distill.types import JudgedTrace, Usage


@dataclass(slots=True)
class Spent:
    """Totals of one model's samples, or of several together.

    Attributes:
        samples: Those that are stored, failed ones included.
        answered: Those that got an answer.
        accepted: How many the verifier accepted.
        usage: Tokens.
        usd: Of the samples whose price is known.
        unpriced: Samples without a known price.
        broken: Attempts that came to nothing and may have been billed.
        seconds: Of all answers, added up.
        first: Answered samples that were the first of their prompt.
        first_accepted: How many of those were accepted.
        squared_tokens: Squares of the output tokens, added up, for their spread.
    """

    samples: int = 0
    answered: int = 0
    accepted: int = 0
    usage: Usage = field(default_factory=Usage)
    usd: float = 0.0
    unpriced: int = 0
    broken: int = 0
    seconds: float = 0.0
    first: int = 0
    first_accepted: int = 0
    squared_tokens: float = 0.0

    @property
    def known_usd(self) -> float | None:
        """What all samples cost; ``None`` when the price of any is unknown."""
        return None if self.unpriced else self.usd

    @property
    def mean_output_tokens(self) -> float:
        """Of an answer."""
        return self.usage.output_tokens / max(self.answered, 1)

    @property
    def output_error(self) -> float:
        """Standard error of that mean, as a share of it."""
        if self.answered < 2 or not self.usage.output_tokens:  # noqa: PLR2004 - one has no spread
            return 1.0
        mean = self.mean_output_tokens
        variance = max(self.squared_tokens / self.answered - mean**2, 0.0)
        return math.sqrt(variance / (self.answered - 1)) / mean

    def add(self, judged: JudgedTrace) -> None:
        """Count a stored sample."""
        completion, receipt = judged.trace.completion, judged.trace.receipt
        self.samples += 1
        is_answered = completion.finish != "error"
        self.answered += is_answered
        is_accepted = judged.verdict.is_accepted is True
        self.accepted += is_accepted
        if is_answered and judged.trace.sample_index == 0:
            self.first += 1
            self.first_accepted += is_accepted
        self.usage += completion.usage
        self.squared_tokens += completion.usage.output_tokens**2
        if receipt is None or receipt.usd is None:
            self.unpriced += 1
        else:
            self.usd += receipt.usd
        if receipt is not None:
            self.broken += receipt.unanswered
            self.seconds += receipt.seconds

    def merge(self, other: "Spent") -> None:
        """Count what another one counted."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


def read_spent(path: Path) -> dict[str, Spent]:
    """Totals by model, of a journal of judged traces; only what an endpoint answered is billed.

    Raises:
        DataError: If the journal is broken.
    """
    spent: dict[str, Spent] = {}
    for judged in _billed(path):
        spent.setdefault(judged.trace.model, Spent()).add(judged)
    return spent


def unanswered_requests(requests_path: Path, stored: int) -> int:
    """Requests that were noted and whose answer is not stored, see ``distill.asked``.

    Args:
        requests_path: The log; it may be missing.
        stored: Records in the journal beside it.
    """
    if not requests_path.exists():
        return 0
    asked = 0
    for record in read_journal(requests_path):
        asked += len(record["samples"]) if record["kind"] == "asked" else -record["count"]
    return max(asked - stored, 0)


def _billed(path: Path) -> Iterator[JudgedTrace]:
    for line, record in enumerate(read_journal(path)):
        if line:  # the first is the header
            judged = trace_from(record, f"{path}:{line + 1}")
            if judged.trace.receipt is not None:
                yield judged
