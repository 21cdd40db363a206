"""``Budget``: what a run may still spend, as the sampling loop asks before each request.

Spending stays within the limit but for what is under way: the cost of requests in flight is taken
to be the mean of those answered so far, and nothing more is asked once both together reach the
limit. What earlier tries spent counts, because their samples are counted again from the journal.

This module knows limits and prices, nothing of requests or files.
"""

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from distill.allowance import Limits, Stop, Wait
from distill.errors import RecipeError
from distill.pricing import PriceList
from distill.types import Usage

_AMOUNT: Final = re.compile(r"(\d+(?:\.\d+)?)([kKmMgGbB]?)")
_FACTORS: Final = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9}
_SPAN: Final = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?:in)?)?(?:(\d+)s)?")
_SPAN_SECONDS: Final = (86_400, 3_600, 60, 1)


class Budget:
    """An ``Allowance`` with limits in money, tokens and time."""

    def __init__(
        self, limits: Limits, prices: PriceList, *, clock: Callable[[], float] = time.time
    ) -> None:
        """Begin with nothing spent.

        Args:
            limits: What is allowed.
            prices: Of the model that is asked.
            clock: Seconds since the epoch.

        Raises:
            RecipeError: If there is a limit in USD and no price is known, or the run shall keep
                to the off-peak hours of an endpoint that is not known to have any.
        """
        entry = prices.entry(clock())
        if limits.usd is not None and entry is None:
            raise RecipeError(
                "--budget-usd needs a price, and none is known for this teacher",
                hint="Give it one: [teacher.price] input_usd = ... output_usd = ...,"
                " or limit the tokens: --budget-tokens 3M",
            )
        if limits.off_peak_only and (entry is None or entry.peak_hours is None):
            raise RecipeError(
                "--off-peak-only: no peak hours are known for this teacher",
                hint="Leave it out; `distill teachers` shows which endpoints have peak hours.",
            )
        self._limits = limits
        self._prices = prices
        self._clock = clock
        self._samples = 0
        self.spent_usd = 0.0
        self.spent_tokens = 0

    def add(self, usage: Usage, usd: float | None) -> None:
        """Count a stored sample; one without a price counts as the mean of the others."""
        self._samples += 1
        mean = self.spent_usd / (self._samples - 1) if self._samples > 1 else 0.0
        self.spent_usd += mean if usd is None else usd
        self.spent_tokens += usage.input_tokens + usage.output_tokens

    def refusal(self, *, in_flight: int) -> Wait | Stop | None:
        """See ``Allowance``."""
        limits, now = self._limits, self._clock()
        share = in_flight / self._samples if self._samples else 0.0
        if limits.usd is not None and self.spent_usd * (1 + share) >= limits.usd:
            return Stop(f"{self.spent_usd:,.4g} of {limits.usd:,.4g} USD are spent")
        if limits.tokens is not None and self.spent_tokens * (1 + share) >= limits.tokens:
            return Stop(f"{self.spent_tokens:,} of {limits.tokens:,} tokens are spent")
        if limits.deadline is not None and now >= limits.deadline:
            moment = datetime.fromtimestamp(limits.deadline, UTC)
            return Stop(f"the deadline has come ({moment:%Y-%m-%d %H:%M} UTC)")
        if limits.off_peak_only and (left := self._prices.peak_seconds_left(now)):
            end = datetime.fromtimestamp(now + left, UTC)
            return Wait(left, f"for the off-peak price, from {end:%H:%M} UTC")
        return None


def read_tokens(text: str) -> int:
    """A number of tokens as people write it.

    Raises:
        RecipeError: If it is none.

    Example:
        >>> read_tokens("500000"), read_tokens("1.5M"), read_tokens("800K")
        (500000, 1500000, 800000)
    """
    match = _AMOUNT.fullmatch(text.replace(",", "").replace("_", ""))
    if match is None:
        raise RecipeError(
            f"--budget-tokens {text}: this is no number of tokens",
            hint="Write it as 500000, 800K or 3M.",
        )
    return round(float(match[1]) * _FACTORS[match[2].lower()])


def read_deadline(text: str, *, now: float | None = None) -> float:
    """A deadline as people write it, in seconds since the epoch.

    Args:
        text: A span such as ``6h`` or ``1h30m``, or a moment such as ``2026-11-25T06:00``, in
            local time unless it says otherwise.
        now: The present; the clock's unless given.

    Raises:
        RecipeError: If it is neither, or over.

    Example:
        >>> read_deadline("1h30m", now=0.0), read_deadline("1970-01-02T00:00Z", now=0.0)
        (5400.0, 86400.0)
    """
    present = time.time() if now is None else now
    span = _SPAN.fullmatch(text)
    if span is not None and any(span.groups()):
        parts = zip(span.groups(), _SPAN_SECONDS, strict=True)
        return present + sum(int(part) * unit for part, unit in parts if part)
    try:
        moment = datetime.fromisoformat(text).astimezone().timestamp()
    except ValueError:
        raise RecipeError(
            f"--deadline {text}: this is neither a span nor a moment",
            hint="Write it as 6h, 90m, 1h30m, or 2026-11-25T06:00.",
        ) from None
    if moment <= present:
        raise RecipeError(f"--deadline {text}: that is over", hint="Name a moment to come.")
    return moment
