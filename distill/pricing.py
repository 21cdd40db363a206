"""What tokens cost: dated prices, peak hours, and the cost of an answer.

Prices change several times a year, so they are data with a date (``teachers/catalog.toml``), never
code. A price that is not known is ``None``: never 0, and never an error.

This module knows no endpoint and no file. Times are seconds since the epoch; hours are UTC.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from distill.types import Usage

_MILLION: Final = 1e6
_DAY_SECONDS: Final = 86_400
_THURSDAY: Final = 3  # weekday of 1970-01-01
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_LOOK_AHEAD: Final = timedelta(days=31)


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens.

    Attributes:
        input_usd: Read, and not from the endpoint's cache.
        cached_usd: Read from the endpoint's cache.
        output_usd: Written, reasoning included.
    """

    input_usd: float
    cached_usd: float
    output_usd: float

    def cost(self, usage: Usage) -> float:
        """USD for some tokens.

        Example:
            >>> Price(0.15, 0.003, 0.6).cost(Usage(input_tokens=1_000_000, output_tokens=500_000))
            0.45
        """
        # An endpoint that counts what it read from its cache apart must not earn money by it.
        fresh = max(usage.input_tokens - usage.cached_tokens, 0)
        return (
            fresh * self.input_usd
            + usage.cached_tokens * self.cached_usd
            + usage.output_tokens * self.output_usd
        ) / _MILLION


@dataclass(frozen=True, slots=True)
class PeakHours:
    """When an endpoint charges more.

    Attributes:
        windows: Hours of the day, UTC, each ``(begin, end)`` with the end left out.
        weekdays: 0 is Monday.
        holidays: Days, as dates in UTC, on which the off-peak price holds.
    """

    windows: tuple[tuple[int, int], ...]
    weekdays: frozenset[int] = frozenset(range(7))
    holidays: frozenset[date] = frozenset()

    def holds(self, at: float) -> bool:
        """Whether a moment lies in them."""
        days, second = divmod(int(at), _DAY_SECONDS)
        if (days + _THURSDAY) % 7 not in self.weekdays:
            return False
        hour = second // 3600
        if not any(begin <= hour < end for begin, end in self.windows):
            return False
        return not self.holidays or date.fromordinal(days + _EPOCH_DAY) not in self.holidays

    def seconds_left(self, at: float) -> float:
        """Until they end; 0 outside of them."""
        if not self.holds(at):
            return 0.0
        moment = datetime.fromtimestamp(at, UTC).replace(minute=0, second=0, microsecond=0)
        end = moment + _LOOK_AHEAD
        while moment < end:
            moment += timedelta(hours=1)
            if not self.holds(moment.timestamp()):
                return moment.timestamp() - at
        return _LOOK_AHEAD.total_seconds()


@dataclass(frozen=True, slots=True)
class PriceEntry:
    """The prices of a model from one day on.

    Attributes:
        since: First day, UTC, on which they are known to hold.
        price: Off-peak, or always.
        peak_price: In the peak hours; ``None`` if there are none.
        peak_hours: When they are.
        source: Where the figures were read.
    """

    since: date
    price: Price
    peak_price: Price | None = None
    peak_hours: PeakHours | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class PriceList:
    """All known prices of a model, in any order; empty if none is known."""

    entries: tuple[PriceEntry, ...] = ()

    def entry(self, at: float) -> PriceEntry | None:
        """What is charged on the day of a moment; the earliest known before that."""
        if not self.entries:
            return None
        day = int(at) // _DAY_SECONDS + _EPOCH_DAY
        latest = None
        for entry in self.entries:  # called for each answer: no lists
            has_begun = entry.since.toordinal() <= day
            if has_begun and (latest is None or entry.since > latest.since):
                latest = entry
        return latest or min(self.entries, key=lambda entry: entry.since)

    def cost(self, usage: Usage, at: float) -> float | None:
        """USD for an answer that was complete at a moment; ``None`` if no price is known."""
        entry = self.entries[0] if len(self.entries) == 1 else self.entry(at)
        if entry is None:
            return None
        price = entry.price
        if entry.peak_price and entry.peak_hours and entry.peak_hours.holds(at):
            price = entry.peak_price
        return price.cost(usage)

    def peak_seconds_left(self, at: float) -> float:
        """Until the peak price ends; 0 when it does not hold."""
        entry = self.entry(at)
        if entry is None or entry.peak_price is None or entry.peak_hours is None:
            return 0.0
        return entry.peak_hours.seconds_left(at)


def price_from(table: Mapping[str, object]) -> Price:
    """A price from a table with ``input``, ``output`` and, if it differs, ``cached``."""
    read, written = table["input"], table["output"]
    cached = table.get("cached", read)
    return Price(float(str(read)), float(str(cached)), float(str(written)))


def entry_from(table: Mapping[str, object]) -> PriceEntry:
    """An entry of the catalogue, see ``teachers/catalog.toml``."""
    since = table["since"]
    if not isinstance(since, date):
        raise TypeError(f"since must be a date, not {since!r}")
    peak, hours = table.get("peak"), table.get("peak_hours")
    windows: Sequence[Sequence[int]] = hours if isinstance(hours, list) else ()
    weekdays, holidays = table.get("peak_weekdays"), table.get("peak_holidays")
    return PriceEntry(
        since=since,
        price=price_from(table),
        peak_price=price_from(peak) if isinstance(peak, Mapping) else None,
        peak_hours=PeakHours(
            tuple((begin, end) for begin, end in windows),
            frozenset(weekdays if isinstance(weekdays, list) else range(7)),
            frozenset(holidays if isinstance(holidays, list) else ()),
        )
        if windows
        else None,
        source=str(table.get("source", "")),
    )
