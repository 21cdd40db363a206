"""Running totals of a sampling run: what is known of a sample once it is stored.

This module knows traces and verdicts, nothing of journals, completers or what is asked next.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Final

from distill.early_stop import expected_samples, pass_rates
from distill.schedule import SamplingPlan
from distill.types import Completion, JudgedTrace, Prompt, Usage

FaultFinder = Callable[[Completion], str]


_LISTED_FAILURES: Final = 20


@dataclass(frozen=True, slots=True)
class Failure:
    """Samples that got no answer, for one reason.

    Attributes:
        reason: In the words of the server, or why it could not be reached.
        count: How many.
        example: Id of one such trace.
    """

    reason: str
    count: int
    example: str


@dataclass(frozen=True, slots=True)
class Sample:
    """What is remembered of a stored sample."""

    is_accepted: bool
    is_unknown: bool
    is_truncated: bool
    is_failed: bool
    is_malformed: bool
    usage: Usage
    usd: float | None
    unanswered: int
    trace_id: str
    """Of a failed one; empty for the others."""
    error: str

    @classmethod
    def of(cls, judged: JudgedTrace, find_fault: FaultFinder) -> "Sample":
        """Look at a trace; ``find_fault`` says what is wrong with the form of a finished one."""
        completion, receipt = judged.trace.completion, judged.trace.receipt
        return cls(
            is_accepted=judged.verdict.is_accepted is True,
            is_unknown=judged.verdict.is_accepted is None,
            is_truncated=completion.is_truncated,
            is_failed=completion.finish == "error",
            is_malformed=completion.finish == "stop" and bool(find_fault(completion)),
            usage=completion.usage,
            usd=receipt.usd if receipt is not None else None,
            unanswered=receipt.unanswered if receipt is not None else 0,
            trace_id=judged.trace.id if completion.finish == "error" else "",
            error=completion.error or "",
        )


@dataclass(slots=True)
class Tally:
    """Totals of the samples that count.

    Attributes:
        usd: Of the samples whose price is known.
        unpriced: Samples without a known price.
        unanswered: Attempts that came to nothing and may have been billed.
        usage: Tokens of all samples, those of earlier tries included.
        new_tokens: Output tokens of this try.
        first: Samples that are the first of their prompt.
        first_accepted: How many of those the verifier accepted.
    """

    samples: int = 0
    accepted: int = 0
    unknown: int = 0
    truncated: int = 0
    malformed: int = 0
    failed: int = 0
    resumed: int = 0
    unpriced: int = 0
    unanswered: int = 0
    usd: float = 0.0
    usage: Usage = field(default_factory=Usage)
    new_tokens: int = 0
    first: int = 0
    first_accepted: int = 0
    failures: dict[str, Failure] = field(default_factory=dict)

    def add(self, sample: Sample, *, is_first: bool, is_resumed: bool) -> None:
        """Count a sample that is stored for good."""
        self.samples += 1
        self.first += is_first
        self.first_accepted += is_first and sample.is_accepted
        self.accepted += sample.is_accepted
        self.unknown += sample.is_unknown
        self.truncated += sample.is_truncated
        self.malformed += sample.is_malformed
        if sample.is_failed:
            self._add_failure(sample)
        self.resumed += is_resumed
        self.unanswered += sample.unanswered
        self.usage += sample.usage
        self.new_tokens += 0 if is_resumed else sample.usage.output_tokens
        if sample.usd is None:
            self.unpriced += 1
        else:
            self.usd += sample.usd

    def merge(self, other: "Tally") -> None:
        """Count what another tally has counted: other prompts of the same run."""
        for one in fields(self):
            if one.name != "failures":
                total = getattr(self, one.name) + getattr(other, one.name)
                setattr(self, one.name, total)
        for failure in other.failures.values():
            self._count_failure(failure)

    @property
    def last_error(self) -> str:
        """One of the reasons for which samples failed."""
        return next(reversed(self.failures), "")

    def _add_failure(self, sample: Sample) -> None:
        self.failed += 1
        self._count_failure(Failure(sample.error or "no reason given", 1, sample.trace_id))

    def _count_failure(self, failure: Failure) -> None:
        reason = failure.reason
        if reason not in self.failures and len(self.failures) >= _LISTED_FAILURES:
            reason = "other reasons"
        known = self.failures.get(reason, Failure(reason, 0, failure.example))
        self.failures[reason] = replace(known, count=known.count + failure.count)

    @property
    def known_usd(self) -> float | None:
        """What all samples cost; ``None`` when the price of any is unknown."""
        return None if self.unpriced else self.usd

    def figures(self, *, seconds: float, total: int, is_billed: bool) -> dict[str, str]:
        """What to show beside the progress, after so many seconds and of so many samples."""
        samples, seconds = max(self.samples, 1), max(seconds, 1e-9)
        figures = {
            "accepted": f"{self.accepted / samples:.0%}",
            "traces/s": f"{(self.samples - self.resumed) / seconds:,.1f}",
            "tokens": f"{self.usage.output_tokens:,}",
            "tokens/s": f"{self.new_tokens / seconds:,.0f}",
        }
        if is_billed and self.samples and self.known_usd is not None:
            expected = self.usd / self.samples * total
            figures["USD"] = f"{self.usd:,.2f} of ~{expected:,.2f}"
        if self.failed:
            figures["failed"] = f"{self.failed:,}"
        return figures

    def expected_samples(self, prompts: int, plan: SamplingPlan) -> int | None:
        """Samples of so many prompts, from the first of each; ``None`` if they say nothing."""
        if plan.until_correct is None or not self.first:
            return None
        alpha, beta = pass_rates(self.first, self.first_accepted)
        return round(prompts * expected_samples(plan.samples, plan.until_correct, alpha, beta))


@dataclass(frozen=True, slots=True)
class KindFigures:
    """What came out for one kind of prompt.

    Attributes:
        kind: As the prompts say; ``""`` where they say nothing.
        prompts: How many there are.
        covered: How many of them have at least one accepted trace.
        samples: Traces that were drawn.
        accepted: Traces that the verifier accepted.
    """

    kind: str
    prompts: int
    covered: int
    samples: int
    accepted: int

    def __add__(self, other: "KindFigures") -> "KindFigures":
        return KindFigures(
            self.kind,
            self.prompts + other.prompts,
            self.covered + other.covered,
            self.samples + other.samples,
            self.accepted + other.accepted,
        )


@dataclass(frozen=True, slots=True)
class SamplingOutcome:
    """What a sampling run did.

    Attributes:
        samples: Samples that were drawn, those of earlier tries included.
        accepted: How many the verifier accepted.
        unknown: How many it could not judge.
        truncated: How many the token limit cut.
        malformed: How many ended by themselves but are not whole.
        failed: How many got no answer.
        failures: Why, most frequent reasons first.
        output_tokens: Tokens of all samples.
        usage: Tokens read and written by all samples.
        usd: What all samples cost; ``None`` when the price of any is unknown.
        unanswered: Requests that may have been billed and whose answer is not stored: under way
            when an earlier try was killed, or cut off by the server.
        resumed: Samples that an earlier try had stored.
        kinds: Figures by kind of prompt, in the order of the prompts.
        seconds: Of this try.
        tokens_per_second: New tokens of this try by its seconds.
    """

    samples: int
    accepted: int
    unknown: int
    truncated: int
    malformed: int
    failed: int
    failures: tuple[Failure, ...]
    output_tokens: int
    usage: Usage
    usd: float | None
    unanswered: int
    resumed: int
    kinds: tuple[KindFigures, ...]
    seconds: float
    tokens_per_second: float

    @classmethod
    def of(
        cls,
        tally: Tally,
        kinds: tuple[KindFigures, ...],
        *,
        unanswered: int,
        seconds: float,
        is_billed: bool,
    ) -> "SamplingOutcome":
        """The totals at the end; ``unanswered`` are those that no stored sample knows of."""
        return cls(
            samples=tally.samples,
            accepted=tally.accepted,
            unknown=tally.unknown,
            truncated=tally.truncated,
            malformed=tally.malformed,
            failed=tally.failed,
            failures=tuple(sorted(tally.failures.values(), key=lambda one: -one.count)),
            output_tokens=tally.usage.output_tokens,
            usage=tally.usage,
            usd=tally.known_usd if is_billed else None,
            unanswered=tally.unanswered + unanswered,
            resumed=tally.resumed,
            kinds=kinds,
            seconds=seconds,
            tokens_per_second=tally.new_tokens / max(seconds, 1e-9),
        )


def figures_by_kind(
    prompts: Sequence[Prompt], samples: Sequence[int], accepted: Sequence[int]
) -> tuple[KindFigures, ...]:
    """Figures per kind of prompt, in the order of the prompts.

    Args:
        prompts: What was sampled.
        samples: Traces of each prompt.
        accepted: How many of them the verifier accepted.
    """
    totals: dict[str, list[int]] = {}
    for prompt, drawn, right in zip(prompts, samples, accepted, strict=True):
        total = totals.setdefault(prompt.kind, [0, 0, 0, 0])
        for place, amount in enumerate((1, right > 0, drawn, right)):
            total[place] += amount
    return tuple(KindFigures(kind, *total) for kind, total in totals.items())
