"""A run spends what it may, plus what is in flight, and no more."""

from datetime import date

import pytest

from distill.allowance import Limits, Stop, Wait
from distill.budget import Budget, read_deadline, read_tokens
from distill.errors import RecipeError
from distill.pricing import PeakHours, Price, PriceEntry, PriceList
from distill.types import Usage

PRICED = PriceList((PriceEntry(date(2020, 1, 1), Price(1, 1, 1)),))
ONE = Usage(output_tokens=10)


@pytest.mark.parametrize("in_flight", [1, 7, 64])
def test_the_budget_is_exceeded_by_less_than_what_is_in_flight(in_flight: int) -> None:
    budget = Budget(Limits(usd=5.0), PRICED)
    under_way = answered = 0
    while True:
        while under_way < in_flight and budget.refusal(in_flight=under_way) is None:
            under_way += 1
        if not under_way:
            break
        under_way -= 1
        answered += 1
        budget.add(ONE, 0.3)
    assert isinstance(budget.refusal(in_flight=0), Stop)
    assert 5.0 <= budget.spent_usd <= max(5.0 + 0.3, in_flight * 0.3) + 1e-9
    assert answered * 0.3 == pytest.approx(budget.spent_usd)


@pytest.mark.parametrize("asked_at_once", [1, 8, 256])
def test_with_room_the_budget_is_passed_by_one_answer_at_most(asked_at_once: int) -> None:
    budget = Budget(Limits(usd=5.0, tokens=10_000), PRICED)
    assert budget.room(in_flight=0) is None
    budget.add(ONE, 0.3)
    under_way = 0
    while True:
        if budget.refusal(in_flight=under_way) is None:
            room = budget.room(in_flight=under_way)
            assert room
            under_way += min(room, asked_at_once)
        if not under_way:
            break
        under_way -= 1
        budget.add(ONE, 0.3)
    assert 5.0 <= budget.spent_usd < 5.3
    assert budget.room(in_flight=0) == 0


def test_what_earlier_tries_spent_counts() -> None:
    budget = Budget(Limits(tokens=100), PriceList())
    for _ in range(10):
        budget.add(ONE, None)
    refusal = budget.refusal(in_flight=0)
    assert isinstance(refusal, Stop)
    assert refusal.why == "100 of 100 tokens are spent"


def test_a_sample_without_a_price_counts_as_the_mean_of_the_others() -> None:
    budget = Budget(Limits(usd=10.0), PRICED)
    budget.add(ONE, 2.0)
    budget.add(ONE, None)
    assert budget.spent_usd == 4.0


def test_the_mean_is_that_of_all_that_is_known_whatever_came_first() -> None:
    budget = Budget(Limits(usd=10.0), PRICED)
    budget.add(ONE, None)
    budget.add(Usage(), 0.0)  # failed: it cost nothing
    budget.add(ONE, 2.0)
    assert budget.spent_usd == 4.0


def test_attempts_that_may_have_been_billed_count() -> None:
    budget = Budget(Limits(usd=10.0, tokens=1000), PRICED)
    for _ in range(3):
        budget.add(Usage(), 0.0, unanswered=1)
    assert budget.refusal(in_flight=2) is None
    budget.add(ONE, 2.0, unanswered=1)
    assert budget.spent_usd == 10.0  # one answer and four attempts
    assert budget.spent_tokens == 50
    assert isinstance(budget.refusal(in_flight=0), Stop)


@pytest.mark.parametrize("limits", [Limits(usd=5.0), Limits(tokens=500)])
def test_a_limit_is_not_kept_blindly(limits: Limits) -> None:
    budget = Budget(limits, PRICED)
    for _ in range(8):
        assert budget.refusal(in_flight=64) is None
        budget.add(Usage(), None)
    refusal = budget.refusal(in_flight=0)
    assert isinstance(refusal, Stop)
    assert "does not say what its answers take" in refusal.why
    budget.add(ONE, 1.0)  # an answer that says so makes an estimate of the others
    assert isinstance(budget.refusal(in_flight=0), Stop if limits.usd else type(None))


def test_what_other_stages_spent_counts_and_is_no_measure() -> None:
    budget = Budget(Limits(usd=10.0, tokens=1000), PRICED)
    budget.add_elsewhere(Usage(input_tokens=100, output_tokens=400), 9.0)
    assert budget.refusal(in_flight=64) is None
    budget.add(ONE, 0.25)
    assert (budget.spent_usd, budget.spent_tokens) == (9.25, 510)
    assert budget.room(in_flight=1) == 2
    assert isinstance(budget.refusal(in_flight=3), Stop)


def test_no_amount_is_no_limit() -> None:
    for usd in (float("nan"), float("inf"), -1.0):
        with pytest.raises(RecipeError, match="this is no amount"):
            Budget(Limits(usd=usd), PRICED)


def test_the_deadline_stops_and_the_peak_waits() -> None:
    hours = PeakHours(((0, 2),))
    prices = PriceList((PriceEntry(date(1970, 1, 1), Price(1, 1, 1), Price(2, 2, 2), hours),))
    now = [0.0]
    budget = Budget(Limits(deadline=9000.0, off_peak_only=True), prices, clock=lambda: now[0])
    refusal = budget.refusal(in_flight=0)
    assert isinstance(refusal, Wait)
    assert refusal.seconds == 7200
    assert refusal.why == "for the off-peak price, from 02:00 UTC"
    now[0] = 7200.0
    assert budget.refusal(in_flight=0) is None
    now[0] = 9000.0
    assert isinstance(budget.refusal(in_flight=0), Stop)


def test_a_limit_in_usd_needs_a_price_and_off_peak_needs_a_peak() -> None:
    with pytest.raises(RecipeError, match="needs a price") as caught:
        Budget(Limits(usd=3.0), PriceList())
    assert "[teacher.price]" in caught.value.hint
    with pytest.raises(RecipeError, match="no peak hours are known"):
        Budget(Limits(off_peak_only=True), PRICED)


@pytest.mark.parametrize("text", ["", "many", "3T", "-1", "1e6", "9" * 400])
def test_what_is_no_number_of_tokens_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="no number of tokens"):
        read_tokens(text)


@pytest.mark.parametrize(
    "text", ["", "soon", "6", "2026-13-01", "9" * 30 + "d", "9999-12-31T23:59-12:00"]
)
def test_what_is_no_deadline_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="neither a span nor a moment"):
        read_deadline(text)
