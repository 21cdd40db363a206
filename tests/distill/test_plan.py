"""The plan's arithmetic against enumeration, and measured figures in place of assumptions."""

import random

import pytest

from distill.early_stop import expected_samples
from distill.plan import PromptFigures, make_plan, measure_prompts
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
        "concurrency": 10,
        "price": Price(1, 1, 1),
    }
    return make_plan(PromptFigures(1000, 40.0), **{**settings, **changes})  # type: ignore[arg-type]


def test_a_plan_without_traces_rests_on_assumptions_that_are_named() -> None:
    made = plan()
    assert made.samples == made.fixed_samples == 4000  # type: ignore[attr-defined]
    assert made.usage == Usage(160_000, 24_000_000, 21_600_000)  # type: ignore[attr-defined]
    assert made.usd == pytest.approx(24.16)  # type: ignore[attr-defined]
    assert made.hours == pytest.approx(4000 / 10 * 200 / 3600)  # type: ignore[attr-defined]
    assert not any(one.is_measured for one in made.assumptions)  # type: ignore[attr-defined]
    assert all(one.source for one in made.assumptions)  # type: ignore[attr-defined]


def test_a_pilot_replaces_assumptions_by_what_it_measured() -> None:
    made = plan(spent=spent(20), until_correct=1)
    assert made.usage.output_tokens == round(made.samples * 100)  # type: ignore[attr-defined]
    assert made.usage.cached_tokens == round(made.samples * 10)  # type: ignore[attr-defined]
    assert made.error == 0.0  # type: ignore[attr-defined]
    assert made.stored == 20  # type: ignore[attr-defined]
    assert made.spent_usd == 10.0  # type: ignore[attr-defined]
    shown = {one.name: one for one in made.assumptions}  # type: ignore[attr-defined]
    assert shown["right at first"].value == "74% of the prompts"
    assert [name for name, one in shown.items() if not one.is_measured] == ["at once"]


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
