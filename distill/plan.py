"""What sampling will take, before it is paid for: samples, tokens, money and hours.

Every figure that is not known is an assumption that is named with its source. Traces that are there
already, such as those of a pilot, replace assumptions by what they measured.

This module knows prices and counts, nothing of endpoints.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from distill.early_stop import PASS_ALPHA, PASS_BETA, expected_samples
from distill.pilot import PromptTotals
from distill.pricing import Price
from distill.spent import Spent
from distill.types import Prompt, Usage

_OUTPUT_TOKENS: Final = 6_000
_REASONING_SHARE: Final = 0.9
_TOKENS_PER_SECOND: Final = 20.0
_BYTES_PER_TOKEN: Final = 4.0
_FRAME_TOKENS: Final = 12
_LEAST_MEASURED: Final = 5
_MOST_UNFINISHED: Final = 0.1
"""Share of the prompts: those that are not finished yet are the hard ones."""


@dataclass(frozen=True, slots=True)
class Assumption:
    """One figure that the plan rests on.

    Attributes:
        name: What it is.
        value: As people write it.
        source: Where it comes from: published, measured, or the recipe.
        is_measured: Whether stored traces say so.
    """

    name: str
    value: str
    source: str
    is_measured: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What a generation is expected to take in all.

    Attributes:
        prompts: How many.
        samples: Expected, with early stopping.
        fixed_samples: Without it.
        usage: Expected tokens.
        usd: At the off-peak price; ``None`` when no price is known.
        peak_usd: At the peak price; ``None`` when there is none.
        low_usd: Where measured prompts say so: at least, in about 19 of 20 pilots.
        high_usd: The same for at most.
        hours: At the given concurrency and limits.
        spent_usd: What stored traces have cost already; ``None`` if unknown.
        stored: Samples that are stored already.
        assumptions: What all of this rests on.
    """

    prompts: int
    samples: float
    fixed_samples: int
    usage: Usage
    usd: float | None
    peak_usd: float | None
    low_usd: float | None
    high_usd: float | None
    hours: float
    spent_usd: float | None
    stored: int
    assumptions: tuple[Assumption, ...]


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast may be asked.

    Attributes:
        concurrency: Requests under way at once.
        requests_per_minute: Limit; ``None`` if there is none.
        tokens_per_minute: The same for tokens read and written.
    """

    concurrency: int
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


@dataclass(frozen=True, slots=True)
class PromptFigures:
    """What the plan needs to know of a prompt set."""

    count: int
    input_tokens: float
    """Mean, of one prompt."""


def measure_prompts(prompts: Iterable[Prompt], system: str = "") -> PromptFigures:
    """Count prompts, and estimate their tokens from their bytes, about four to a token."""
    count = size = 0
    for prompt in prompts:
        count += 1
        size += len(prompt.text.encode("utf-8", "replace")) + len(system)
    return PromptFigures(count, size / max(count, 1) / _BYTES_PER_TOKEN + _FRAME_TOKENS)


def make_plan(
    prompts: PromptFigures,
    *,
    samples: int,
    until_correct: int | None,
    max_tokens: int,
    pace: Pace,
    price: Price | None,
    peak_price: Price | None = None,
    spent: Spent | None = None,
    totals: PromptTotals | None = None,
) -> Plan:
    """Estimate a generation.

    Args:
        prompts: What is asked.
        samples: Of each prompt, at most.
        until_correct: Right ones at which a prompt is asked no more; ``None`` draws all.
        max_tokens: Of an answer, at most.
        pace: How fast may be asked.
        price: Off-peak, or always; ``None`` if unknown.
        peak_price: In the peak hours, if there are any.
        spent: What stored traces took, if there are any.
        totals: What their prompts took, under the same ``samples`` and ``until_correct``.
    """
    timed = spent if spent is not None and spent.answered >= _LEAST_MEASURED else None
    measured = timed if timed is not None and timed.usage.output_tokens else None
    whole = totals if measured and totals is not None and _is_representative(totals) else None
    each, drawing = _samples(whole, samples, until_correct)
    output, reasoning, answers = _output_tokens(measured, max_tokens)
    if whole is not None:
        finished = whole.output_tokens / each  # of an answer, where all of a prompt's are there
        output, reasoning = finished, reasoning * finished / output
    read, cached, reading = _input_tokens(measured, prompts)
    seconds, timing = _seconds(timed, output)
    total = each * prompts.count
    usage = Usage(*(round(one * total) for one in (read, output, reasoning, cached)))
    usd = price.cost(usage) if price else None
    assumptions = [answers, reading, timing, *_pace_rows(pace)]
    if until_correct is not None or whole is not None:
        assumptions.insert(0, drawing)
    return Plan(
        prompts=prompts.count,
        samples=total,
        fixed_samples=samples * prompts.count,
        usage=usage,
        usd=usd,
        peak_usd=peak_price.cost(usage) if peak_price else None,
        low_usd=None if usd is None or whole is None else usd * whole.low,
        high_usd=None if usd is None or whole is None else usd * whole.high,
        hours=_hours(total, usage, pace, seconds, in_turn=samples if until_correct else 1),
        spent_usd=spent.known_usd if spent else 0.0,
        stored=spent.samples if spent else 0,
        assumptions=tuple(assumptions),
    )


def _is_representative(totals: PromptTotals) -> bool:
    """Whether finished prompts are enough, and not only the easy ones."""
    known = totals.prompts + totals.unfinished
    return totals.prompts >= _LEAST_MEASURED and totals.unfinished <= _MOST_UNFINISHED * known


def _hours(samples: float, usage: Usage, pace: Pace, seconds: float, *, in_turn: int) -> float:
    """The slowest of what holds it up; a hard prompt's samples come one after the other."""
    bounds = [seconds * max(samples / pace.concurrency, float(in_turn)) / 3600]
    if pace.requests_per_minute:
        bounds.append(samples / pace.requests_per_minute / 60)
    if pace.tokens_per_minute:
        tokens = usage.input_tokens + usage.output_tokens
        bounds.append(tokens / pace.tokens_per_minute / 60)
    return max(bounds)


def _pace_rows(pace: Pace) -> list[Assumption]:
    source = "recipe or catalogue"
    rows = [Assumption("at once", f"{pace.concurrency:,} requests", source)]
    if pace.requests_per_minute:
        limit = f"{pace.requests_per_minute:,} requests a minute"
        rows.append(Assumption("limit", limit, source))
    if pace.tokens_per_minute:
        limit = f"{pace.tokens_per_minute:,} tokens a minute"
        rows.append(Assumption("limit", limit, source))
    return rows


def _samples(
    totals: PromptTotals | None, samples: int, until_correct: int | None
) -> tuple[float, Assumption]:
    """How many answers a prompt gets."""
    name = "samples"
    if totals is not None:
        source = f"measured on {totals.prompts:,} prompts"
        shown = f"{totals.samples:.2f} a prompt"
        return totals.samples, Assumption(name, shown, source, is_measured=True)
    each = expected_samples(samples, until_correct, PASS_ALPHA, PASS_BETA)
    source = f"assumed: pass rates of prompts spread as Beta({PASS_ALPHA}, {PASS_BETA})"
    return each, Assumption(name, f"{each:.2f} a prompt", source)


def _output_tokens(spent: Spent | None, max_tokens: int) -> tuple[float, float, Assumption]:
    if spent is None:
        output = float(min(_OUTPUT_TOKENS, max_tokens))
        source = "assumed: the mean of DeepSeek-R1's published traces, about"
        return (
            output,
            output * _REASONING_SHARE,
            Assumption("answer", f"{output:,.0f} tokens", source),
        )
    output = spent.mean_output_tokens
    reasoning = spent.usage.reasoning_tokens / spent.answered
    source = f"measured on {spent.answered:,} answers"
    return (
        output,
        reasoning,
        Assumption("answer", f"{output:,.0f} tokens", source, is_measured=True),
    )


def _input_tokens(spent: Spent | None, prompts: PromptFigures) -> tuple[float, float, Assumption]:
    if spent is None or not spent.usage.input_tokens:
        source = "estimated from the prompts, four bytes a token; nothing from a cache"
        shown = Assumption("prompt", f"{prompts.input_tokens:,.0f} tokens", source)
        return prompts.input_tokens, 0.0, shown
    read = spent.usage.input_tokens / spent.answered
    cached = spent.usage.cached_tokens / spent.answered
    source = f"measured on {spent.answered:,} answers, {cached:,.0f} of them cached"
    return read, cached, Assumption("prompt", f"{read:,.0f} tokens", source, is_measured=True)


def _seconds(spent: Spent | None, output: float) -> tuple[float, Assumption]:
    if spent is None or not spent.seconds:
        seconds = output / _TOKENS_PER_SECOND
        source = f"assumed: {_TOKENS_PER_SECOND:.0f} tokens a second for each request"
        return seconds, Assumption("time", f"{seconds:,.0f} s an answer", source)
    seconds = spent.seconds / spent.answered
    source = f"measured on {spent.answered:,} answers"
    return seconds, Assumption("time", f"{seconds:,.1f} s an answer", source, is_measured=True)
