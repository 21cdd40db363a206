"""Prices hold on their days and in their hours; an unknown one is unknown."""

from datetime import UTC, date, datetime

import pytest

from distill.pricing import PeakHours, Price, PriceEntry, PriceList, entry_from
from distill.types import Usage

PEAK = PeakHours(((1, 4), (6, 10)), frozenset(range(5)), frozenset({date(2026, 10, 1)}))
MILLION = Usage(input_tokens=1_000_000, output_tokens=1_000_000)


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("moment", "is_peak"),
    [
        ("2026-11-24T01:00", True),  # a Tuesday
        ("2026-11-24T03:59:59", True),
        ("2026-11-24T04:00", False),
        ("2026-11-24T06:00", True),
        ("2026-11-24T10:00", False),
        ("2026-11-22T02:00", False),  # a Sunday
        ("2026-10-01T02:00", False),  # a holiday
        ("2026-11-24T00:59:59", False),
    ],
)
def test_peak_hours_hold_on_their_days(moment: str, is_peak: bool) -> None:
    assert PEAK.holds(at(moment)) is is_peak


def test_the_end_of_the_peak_is_known() -> None:
    assert PEAK.seconds_left(at("2026-11-24T01:30")) == 2.5 * 3600
    assert PEAK.seconds_left(at("2026-11-24T05:00")) == 0


def test_the_price_of_the_day_and_hour_counts() -> None:
    old = PriceEntry(date(2026, 1, 1), Price(1, 1, 1))
    new = PriceEntry(date(2026, 7, 24), Price(2, 2, 2), Price(4, 4, 4), PEAK)
    prices = PriceList((new, old))
    assert prices.cost(MILLION, at("2026-07-23T12:00")) == 2
    assert prices.cost(MILLION, at("2026-07-24T12:00")) == 4
    assert prices.cost(MILLION, at("2026-07-24T02:00")) == 8
    assert prices.cost(MILLION, at("2020-01-01T00:00")) == 2  # the earliest that is known


def test_cached_tokens_have_their_own_price() -> None:
    usage = Usage(input_tokens=1_000_000, cached_tokens=400_000)
    assert Price(1.0, 0.1, 9.0).cost(usage) == pytest.approx(0.64)


def test_more_cached_than_read_tokens_cost_no_less_than_the_cached_ones() -> None:
    usage = Usage(input_tokens=100_000, cached_tokens=1_000_000)
    assert Price(1.0, 0.1, 9.0).cost(usage) == pytest.approx(0.1)


@pytest.mark.parametrize("shift", [0, 1, -1])
def test_a_price_begins_at_midnight_utc(shift: int) -> None:
    new = PriceEntry(date(2026, 7, 24), Price(2, 2, 2))
    old = PriceEntry(date(2026, 1, 1), Price(1, 1, 1))
    moment = at("2026-07-24T00:00") + shift
    assert PriceList((old, new)).entry(moment) == (old if shift < 0 else new)


def test_an_unknown_price_is_none() -> None:
    assert PriceList().cost(MILLION, 0.0) is None
    assert PriceList().peak_seconds_left(0.0) == 0


def test_an_entry_of_the_catalogue_is_read_whole() -> None:
    entry = entry_from(
        {
            "since": date(2026, 7, 24),
            "input": 1,
            "output": 2.5,
            "peak": {"input": 2, "output": 5, "cached": 0.5},
            "peak_hours": [[1, 4]],
            "peak_weekdays": [0],
        }
    )
    assert entry.price == Price(1.0, 1.0, 2.5)
    assert entry.peak_price == Price(2.0, 0.5, 5.0)
    assert entry.peak_hours == PeakHours(((1, 4),), frozenset({0}))
