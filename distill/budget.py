"""``Budget``: what a run may still spend, as the sampling loop asks before each request.

Spending stays within the limit but for what is under way: the cost of requests in flight is taken
to be the mean of those answered so far, and nothing more is asked once both together reach the
limit. What earlier tries spent counts, because their samples are counted again from the journal.
So does what may have been billed for nothing, at the same mean. When an endpoint never says what
its answers took, a limit cannot be kept: the run stops after a few answers.

This module knows limits and prices, nothing of requests or files.
"""

import math
import re
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass, field
from datetime import UTC, datetime
from typing import Final

from distill.allowance import Limits, Stop, Wait
from distill.errors import RecipeError
from distill.pricing import PriceList
from distill.types import Usage

_MOST_SILENT: Final = 8
"""Answers of unknown cost, and none of a known one, at which a limit is given up."""
_AMOUNT: Final = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)([kKmMgGbB]?)")
_FACTORS: Final = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9}
_SPAN: Final = re.compile(r"(?:(\d{1,5})d)?(?:(\d{1,7})h)?(?:(\d{1,9})m(?:in)?)?(?:(\d{1,9})s)?")
_SPAN_SECONDS: Final = (86_400, 3_600, 60, 1)


@dataclass(slots=True)
class Meter:
    """One kind of spending: what is known of it, and how often it is not known."""

    known: float = 0.0
    paid: int = 0
    silent: int = 0
    unanswered: int = 0
    elsewhere: float = 0.0
    dearest: float = 0.0

    def __add__(self, other: "Meter") -> "Meter":
        pairs = zip(astuple(self), astuple(other), strict=True)
        total = Meter(*(mine + theirs for mine, theirs in pairs))
        total.dearest = max(self.dearest, other.dearest)
        return total

    def add(self, amount: float | None, unanswered: int) -> None:
        """Count a sample; one that cost nothing says nothing about what the others cost."""
        self.unanswered += unanswered
        if amount is None:
            self.silent += 1
        elif amount:
            self.known += amount
            self.paid += 1
            self.dearest = max(self.dearest, amount)

    @property
    def mean(self) -> float:
        """Of the samples that cost something."""
        return self.known / self.paid if self.paid else 0.0

    @property
    def usual(self) -> float:
        """The mean without the dearest: by the hour, the first answer pays for a server's start."""
        return (self.known - self.dearest) / (self.paid - 1) if self.paid > 1 else 0.0

    @property
    def spent(self) -> float:
        """What is known, and the mean for each time that nothing is."""
        return self.elsewhere + self.known + (self.silent + self.unanswered) * self.mean

    @property
    def is_blind(self) -> bool:
        """Whether nothing can be said of what was spent."""
        return not self.paid and self.silent >= _MOST_SILENT


@dataclass(slots=True)
class Account:
    """What was spent, in money and in tokens."""

    usd: Meter = field(default_factory=Meter)
    tokens: Meter = field(default_factory=Meter)

    def __add__(self, other: "Account") -> "Account":
        return Account(self.usd + other.usd, self.tokens + other.tokens)

    def add(self, usage: Usage, usd: float | None, *, unanswered: int = 0) -> None:
        """Count a stored sample, see ``Budget.add``."""
        tokens = usage.input_tokens + usage.output_tokens
        self.usd.add(usd, unanswered)
        self.tokens.add(None if usd is None and not tokens else tokens, unanswered)


class Budget:
    """An ``Allowance`` with limits in money, tokens and time."""

    def __init__(
        self,
        limits: Limits,
        prices: PriceList,
        *,
        is_timed: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Begin with nothing spent.

        Args:
            limits: What is allowed.
            prices: Of the model that is asked.
            is_timed: Whether it is paid for by the hour, so that its answers say what they cost.
            clock: Seconds since the epoch.

        Raises:
            RecipeError: If the limit in USD is no amount or no price is known for it, or the run
                shall keep to the off-peak hours of an endpoint that is not known to have any.
        """
        entry = prices.entry(clock())
        if limits.usd is not None and not (math.isfinite(limits.usd) and limits.usd >= 0):
            raise RecipeError(
                f"--budget-usd {limits.usd}: this is no amount", hint="Write it as 25 or 2.50."
            )
        if limits.usd is not None and entry is None and not is_timed:
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
        self._is_timed = is_timed
        self._clock = clock
        self.account = Account()

    @property
    def spent_usd(self) -> float:
        """Money so far, what is not known taken to be as the rest."""
        return self.account.usd.spent

    @property
    def spent_tokens(self) -> int:
        """The same for tokens."""
        return round(self.account.tokens.spent)

    def add(self, usage: Usage, usd: float | None, *, unanswered: int = 0) -> None:
        """Count a stored sample.

        Args:
            usage: Its tokens; none at all, and no amount, when the endpoint did not say.
            usd: What it cost; ``None`` if that is not known: as the mean of the others.
            unanswered: Further attempts that may have been billed: as the mean, each. By the hour
                they are paid for by the answer that came after them.
        """
        self.account.add(usage, usd, unanswered=0 if self._is_timed else unanswered)

    def add_elsewhere(self, usage: Usage, usd: float) -> None:
        """Count what other stages of the run spent; it says nothing about what is asked here."""
        self.account.usd.elsewhere += usd
        self.account.tokens.elsewhere += usage.input_tokens + usage.output_tokens

    def room(self, *, in_flight: int) -> int | None:
        """Requests that may be sent beside those in flight; ``None`` if nothing says how many.

        At least 1 where `refusal` is ``None``: the last one may pass the limit by part of itself.
        """
        rooms = [
            math.ceil((limit - meter.spent) / self._each(meter)) - in_flight
            for meter, limit in (
                (self.account.usd, self._limits.usd),
                (self.account.tokens, self._limits.tokens),
            )
            if limit is not None and self._each(meter)
        ]
        return max(min(rooms), 0) if rooms else None

    def _each(self, meter: Meter) -> float:
        """What one more sample is taken to cost."""
        return meter.usual if self._is_timed and meter is self.account.usd else meter.mean

    def refusal(self, *, in_flight: int) -> Wait | Stop | None:
        """See ``Allowance``."""
        limits, now = self._limits, self._clock()
        for meter, limit, unit in (
            (self.account.usd, limits.usd, "USD"),
            (self.account.tokens, limits.tokens, "tokens"),
        ):
            if limit is None:
                continue
            if meter.is_blind:
                return Stop(
                    f"the endpoint does not say what its answers take, so a limit in {unit} cannot"
                    " be kept (leave it out, or set a deadline)"
                )
            spent = meter.spent if unit == "USD" else round(meter.spent)
            if spent + in_flight * self._each(meter) >= limit:
                return Stop(f"{_amount(spent)} of {_amount(limit)} {unit} are spent")
        if limits.deadline is not None and now >= limits.deadline:
            moment = datetime.fromtimestamp(limits.deadline, UTC)
            return Stop(f"the deadline has come ({moment:%Y-%m-%d %H:%M} UTC)")
        if limits.off_peak_only and (left := self._prices.peak_seconds_left(now)):
            end = datetime.fromtimestamp(now + left, UTC)
            return Wait(left, f"for the off-peak price, from {end:%H:%M} UTC")
        return None


def _amount(amount: float) -> str:
    """Money or tokens, with the digits that matter."""
    return f"{amount:,.0f}" if amount == round(amount) else f"{amount:,.4g}"


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
    except (ValueError, OverflowError, OSError):
        raise RecipeError(
            f"--deadline {text}: this is neither a span nor a moment",
            hint="Write it as 6h, 90m, 1h30m, or 2026-11-25T06:00.",
        ) from None
    if moment <= present:
        raise RecipeError(f"--deadline {text}: that is over", hint="Name a moment to come.")
    return moment
