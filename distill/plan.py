"""What sampling will take, before it is paid for: samples, tokens, money and hours.

Every figure that is not known is an assumption that is named with its source. Traces that are there
already, such as those of a pilot, replace assumptions by what they measured.

This module knows prices and counts, nothing of endpoints.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from distill.early_stop import PASS_ALPHA, PASS_BETA, expected_samples, pass_rates
from distill.pricing import Price
from distill.spent import Spent
from distill.types import Prompt, Usage

_OUTPUT_TOKENS: Final = 6_000
_REASONING_SHARE: Final = 0.9
_TOKENS_PER_SECOND: Final = 30.0
_BYTES_PER_TOKEN: Final = 4.0
_FRAME_TOKENS: Final = 12
_LEAST_MEASURED: Final = 5


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
        error: Standard error of the money and tokens, as a share; 1 while nothing is measured.
        hours: At the given concurrency.
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
    error: float
    hours: float
    spent_usd: float | None
    stored: int
    assumptions: tuple[Assumption, ...]


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
    concurrency: int,
    price: Price | None,
    peak_price: Price | None = None,
    spent: Spent | None = None,
) -> Plan:
    """Estimate a generation.

    Args:
        prompts: What is asked.
        samples: Of each prompt, at most.
        until_correct: Right ones at which a prompt is asked no more; ``None`` draws all.
        max_tokens: Of an answer, at most.
        concurrency: Requests under way at once.
        price: Off-peak, or always; ``None`` if unknown.
        peak_price: In the peak hours, if there are any.
        spent: What stored traces took, if there are any.
    """
    is_measured = spent is not None and spent.answered >= _LEAST_MEASURED
    measured = spent if spent is not None and is_measured else None
    alpha, beta, pass_rate = _pass_rate(measured)
    each = expected_samples(samples, until_correct, alpha, beta)
    output, reasoning, answers = _output_tokens(measured, max_tokens)
    read, cached, reading = _input_tokens(measured, prompts)
    seconds, pace = _seconds(measured, output)
    total = each * prompts.count
    usage = Usage(*(round(one * total) for one in (read, output, reasoning, cached)))
    assumptions = [answers, reading, pace]
    if until_correct is not None:
        assumptions.insert(0, pass_rate)
    assumptions.append(Assumption("at once", f"{concurrency:,} requests", "recipe or catalogue"))
    return Plan(
        prompts=prompts.count,
        samples=total,
        fixed_samples=samples * prompts.count,
        usage=usage,
        usd=price.cost(usage) if price else None,
        peak_usd=peak_price.cost(usage) if peak_price else None,
        error=measured.output_error if measured else 1.0,
        hours=seconds * _rounds(total, concurrency, samples if until_correct else 1) / 3600,
        spent_usd=spent.known_usd if spent else 0.0,
        stored=spent.samples if spent else 0,
        assumptions=tuple(assumptions),
    )


def _rounds(samples: float, concurrency: int, in_turn: int) -> float:
    """How many answers long it takes; a hard prompt's samples come one after the other."""
    return max(samples / concurrency, float(in_turn))


def _pass_rate(spent: Spent | None) -> tuple[float, float, Assumption]:
    """Parameters of the distribution of pass rates; a pilot gives its mean, not its shape."""
    name = "right at first"
    if spent is None or spent.first < _LEAST_MEASURED:
        mean = PASS_ALPHA / (PASS_ALPHA + PASS_BETA)
        source = f"assumed: pass rates as Beta({PASS_ALPHA}, {PASS_BETA})"
        return PASS_ALPHA, PASS_BETA, Assumption(name, f"{mean:.0%} of the prompts", source)
    alpha, beta = pass_rates(spent.first, spent.first_accepted)
    source = f"measured on {spent.first:,} prompts; their spread is assumed"
    mean = alpha / (alpha + beta)
    return alpha, beta, Assumption(name, f"{mean:.0%} of the prompts", source, is_measured=True)


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
    source = f"measured on {spent.answered:,} answers, ± {spent.output_error:.0%}"
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
