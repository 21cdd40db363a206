"""The plan's arithmetic against enumeration, and measured figures in place of assumptions."""

import random

import pytest

from distill.early_stop import expected_samples
from distill.pilot import PromptTotals
from distill.plan import Pace, PromptFigures, make_plan, measure_prompts
from distill.pricing import Price
from distill.spent import Spent
from distill.types import Completion, JudgedTrace, Prompt, Receipt, Trace, Usage, Verdict


def simulated(samples: int, until_correct: int, alpha: float, beta: float) -> float:
    rng, drawn = random.Random(0), 0
    for _ in range(20_000):
        rate, right = rng.betavariate(alpha, beta), 0
        for _ in range(samples):
            drawn += 1
            right += rng.random() < rate
            if right == until_correct:
                break
    return drawn / 20_000


@pytest.mark.parametrize(("samples", "until_correct"), [(8, 1), (8, 2), (4, 4), (16, 3), (1, 1)])
def test_expected_samples_are_those_of_a_simulation(samples: int, until_correct: int) -> None:
    expected = expected_samples(samples, until_correct, 0.8, 0.5)
    assert expected == pytest.approx(simulated(samples, until_correct, 0.8, 0.5), rel=0.03)


def spent(count: int, tokens: int = 100) -> Spent:
    found = Spent()
    for number in range(count):
        completion = Completion("", "", usage=Usage(50, tokens, tokens // 2, 10))
        trace = Trace(f"p{number}", 0, "m", completion, Receipt("", 2.0, usd=0.5))
        found.add(JudgedTrace(trace, Verdict(number % 4 > 0, "", "v")))
    return found


def plan(**changes: object) -> object:
    settings: dict[str, object] = {
        "samples": 4,
        "until_correct": None,
        "max_tokens": 32_768,
        "pace": Pace(10),
        "price": Price(1, 1, 1),
    }
    return make_plan(PromptFigures(1000, 40.0), **{**settings, **changes})  # type: ignore[arg-type]


def test_a_plan_without_traces_rests_on_assumptions_that_are_named() -> None:
    made = plan()
    assert made.samples == made.fixed_samples == 4000  # type: ignore[attr-defined]
    assert made.usage == Usage(160_000, 24_000_000, 21_600_000)  # type: ignore[attr-defined]
    assert made.usd == pytest.approx(24.16)  # type: ignore[attr-defined]
    assert made.hours == pytest.approx(4000 / 10 * 300 / 3600)  # type: ignore[attr-defined]
    assert not any(one.is_measured for one in made.assumptions)  # type: ignore[attr-defined]
    assert all(one.source for one in made.assumptions)  # type: ignore[attr-defined]


def test_a_pilot_replaces_assumptions_by_what_it_measured() -> None:
    totals = PromptTotals(
        prompts=20, unfinished=1, samples=1.5, output_tokens=180.0, low=0.8, high=1.5
    )
    made = plan(spent=spent(20), totals=totals, until_correct=1)
    assert made.samples == 1500  # type: ignore[attr-defined]
    assert made.usage == Usage(75_000, 180_000, 90_000, 15_000)  # type: ignore[attr-defined]
    assert made.usd == pytest.approx(0.255)  # type: ignore[attr-defined]
    assert made.low_usd == pytest.approx(0.255 * 0.8)  # type: ignore[attr-defined]
    assert made.high_usd == pytest.approx(0.255 * 1.5)  # type: ignore[attr-defined]
    assert made.stored == 20  # type: ignore[attr-defined]
    assert made.spent_usd == 10.0  # type: ignore[attr-defined]
    shown = {one.name: one for one in made.assumptions}  # type: ignore[attr-defined]
    assert shown["samples"].value == "1.50 a prompt"
    assert [name for name, one in shown.items() if not one.is_measured] == ["at once"]


@pytest.mark.parametrize(("prompts", "unfinished"), [(4, 0), (20, 3)])
def test_few_prompts_or_only_the_easy_ones_say_nothing_about_samples(
    prompts: int, unfinished: int
) -> None:
    totals = PromptTotals(prompts, unfinished, samples=1.5, output_tokens=180.0, low=0.8, high=1.5)
    made = plan(spent=spent(20), totals=totals, until_correct=1)
    assert made.low_usd is made.high_usd is None  # type: ignore[attr-defined]
    shown = {one.name: one for one in made.assumptions}  # type: ignore[attr-defined]
    assert not shown["samples"].is_measured
    assert shown["answer"].is_measured


def test_answers_without_a_count_of_tokens_are_not_taken_to_be_empty() -> None:
    silent = spent(20, tokens=0)
    made = plan(spent=silent, totals=PromptTotals(20, 0, 1.5, 1.0, 1.0, 1.0), until_correct=1)
    assert made.usage.output_tokens > 1_000_000  # type: ignore[attr-defined]
    shown = {one.name: one for one in made.assumptions}  # type: ignore[attr-defined]
    assert shown["time"].is_measured
    assert not shown["answer"].is_measured


@pytest.mark.parametrize(
    ("pace", "hours"),
    [
        (Pace(4000), 300 / 3600),
        (Pace(4000, requests_per_minute=10), 4000 / 10 / 60),
        (Pace(4000, tokens_per_minute=24_160), 1000 / 60),
        (Pace(1, requests_per_minute=10_000), 4000 * 300 / 3600),
    ],
)
def test_the_slowest_limit_says_how_long_it_takes(pace: Pace, hours: float) -> None:
    assert plan(pace=pace).hours == pytest.approx(hours)  # type: ignore[attr-defined]


def test_too_few_traces_measure_nothing() -> None:
    made = plan(spent=spent(3))
    assert not any(one.is_measured for one in made.assumptions)  # type: ignore[attr-defined]


def test_an_unknown_price_stays_unknown() -> None:
    assert plan(price=None).usd is None  # type: ignore[attr-defined]


def test_a_short_limit_bounds_the_assumed_answer() -> None:
    made = plan(max_tokens=100)
    assert made.usage.output_tokens == 400_000  # type: ignore[attr-defined]


def test_prompt_tokens_are_estimated_from_bytes() -> None:
    figures = measure_prompts([Prompt("a", "x" * 400), Prompt("b", "")])
    assert figures == PromptFigures(2, 62.0)
