"""What is asked depends on verdicts only, and a resumed schedule asks the same."""

import random

import pytest

from distill.schedule import SampleKey, SamplingPlan, Schedule
from distill.types import Prompt

PROMPTS = [Prompt(f"p{rank}", "?") for rank in range(4)]


def _schedule(
    plan: SamplingPlan,
    stored: dict[SampleKey, bool] | None = None,
    *,
    passed: list[SampleKey] | None = None,
) -> Schedule:
    note = passed.append if passed is not None else lambda key: None
    return Schedule(PROMPTS, plan, stored or {}, on_stored=note)


def _take(schedule: Schedule, n: int) -> list[tuple[int, int]]:
    return [(r.sample_index, int(r.prompt.id[1:])) for r in schedule.take(n)]


def _is_right(key: SampleKey) -> bool:
    """A fixed world: whether each sample is right never depends on the order of arrival."""
    return random.Random(f"{key.sample_index}/{key.rank}").random() < 0.4


def _run(schedule: Schedule, n: int, rng: random.Random) -> list[SampleKey]:
    """Answer everything in random order; returns what was asked, as asked."""
    asked: list[SampleKey] = []
    waiting: list[SampleKey] = []
    while True:
        taken = [SampleKey(i, rank) for i, rank in _take(schedule, rng.randint(1, n))]
        asked += taken
        waiting += taken
        if not waiting:
            return asked
        for _ in range(rng.randint(1, len(waiting))):
            key = waiting.pop(rng.randrange(len(waiting)))
            schedule.settle(key, is_accepted=_is_right(key))


def test_every_prompt_gets_its_first_sample_before_any_gets_its_second() -> None:
    schedule = _schedule(SamplingPlan(2))
    assert _take(schedule, 3) == [(0, 0), (0, 1), (0, 2)]
    assert _take(schedule, 9) == [(0, 3), (1, 0), (1, 1), (1, 2), (1, 3)]
    assert _take(schedule, 9) == []


def test_a_fixed_plan_draws_all_samples() -> None:
    schedule = _schedule(SamplingPlan(3))
    assert len(_run(schedule, 5, random.Random(0))) == schedule.total == 12
    assert schedule.samples_per_prompt == (3, 3, 3, 3)


def test_a_prompt_stops_when_enough_are_accepted() -> None:
    schedule = _schedule(SamplingPlan(4, until_correct=1))
    assert _take(schedule, 9) == [(0, 0), (0, 1), (0, 2), (0, 3)]
    schedule.settle(SampleKey(0, 0), is_accepted=True)
    schedule.settle(SampleKey(0, 1), is_accepted=False)
    assert _take(schedule, 9) == [(1, 1)]
    assert schedule.total == 13


def test_no_more_are_in_flight_than_are_needed_if_all_are_accepted() -> None:
    schedule = _schedule(SamplingPlan(4, until_correct=2))
    assert len(_take(schedule, 99)) == 8
    schedule.settle(SampleKey(1, 3), is_accepted=False)
    assert _take(schedule, 99) == [(2, 3)]


def test_a_prompt_gives_up_after_its_last_sample() -> None:
    schedule = _schedule(SamplingPlan(3, until_correct=1))
    for index in range(3):
        for key in _take(schedule, 99):
            schedule.settle(SampleKey(*key), is_accepted=False)
        assert schedule.samples_per_prompt == (index + 1,) * 4
    assert _take(schedule, 99) == []
    assert schedule.total == 12


@pytest.mark.parametrize("until_correct", [None, 1, 2])
def test_what_is_asked_does_not_depend_on_the_order_of_arrival(
    until_correct: int | None,
) -> None:
    plan = SamplingPlan(5, until_correct)
    runs = [_run(_schedule(plan), 3, random.Random(seed)) for seed in range(20)]
    assert len({frozenset(run) for run in runs}) == 1


def test_stored_samples_are_not_asked_again() -> None:
    stored = {SampleKey(0, rank): rank % 2 == 0 for rank in range(3)}
    passed: list[SampleKey] = []
    schedule = _schedule(SamplingPlan(2, until_correct=1), stored, passed=passed)
    assert _take(schedule, 9) == [(0, 3), (1, 1)]
    assert passed == [SampleKey(0, 0), SampleKey(0, 1), SampleKey(0, 2)]
    assert schedule.total == 2 * 4 - 2


@pytest.mark.parametrize("until_correct", [None, 1, 2])
def test_after_a_kill_at_any_moment_only_the_rest_is_asked(until_correct: int | None) -> None:
    plan = SamplingPlan(5, until_correct)
    whole = _run(_schedule(plan), 3, random.Random(0))
    for finished in range(len(whole) + 1):
        stored = {key: _is_right(key) for key in whole[:finished]}
        rest = _run(_schedule(plan, stored), 3, random.Random(1))
        assert set(rest) == set(whole[finished:])


def test_an_answer_nobody_asked_for_is_a_programmers_mistake() -> None:
    schedule = _schedule(SamplingPlan(2))
    schedule.take(1)
    schedule.settle(SampleKey(0, 0), is_accepted=True)
    for key in (SampleKey(0, 0), SampleKey(0, 1)):
        with pytest.raises(ValueError, match="was not asked for"):
            schedule.settle(key, is_accepted=True)


@pytest.mark.parametrize(("samples", "until_correct"), [(0, None), (2, 0), (2, 3)])
def test_a_plan_that_asks_for_nothing_is_refused(samples: int, until_correct: int | None) -> None:
    with pytest.raises(ValueError, match="must be"):
        SamplingPlan(samples, until_correct)
