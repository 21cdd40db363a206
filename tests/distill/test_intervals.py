"""Intervals agree with published tables and cover in simulated benchmarks."""

import math
import random
from statistics import NormalDist, fmean

import pytest

from distill.intervals import (
    difference_estimate,
    mean_estimate,
    ratio_estimate,
    t_quantile_975,
)


@pytest.mark.parametrize(
    ("degrees", "expected"),
    [
        (1, 12.7062047),
        (2, 4.3026527),
        (3, 3.1824463),
        (4, 2.7764451),
        (10, 2.2281389),
        (29, 2.0452296),
        (100, 1.9839715),
        (200, 1.9718962),
        (1000, 1.9623391),
    ],
)
def test_t_quantile_agrees_with_published_tables(degrees: int, expected: float) -> None:
    assert t_quantile_975(degrees) == pytest.approx(expected, abs=5e-8)


def test_t_quantile_has_no_step_where_the_formula_changes() -> None:
    steps = [t_quantile_975(d) - t_quantile_975(d + 1) for d in range(198, 203)]
    assert all(1e-5 < step < 1e-4 for step in steps)


def test_interval_of_one_sample_each_is_wilsons() -> None:
    count, right = 2000, 1400
    z = NormalDist().inv_cdf(0.975)
    p = right / count
    centre = (p + z * z / 2 / count) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(p * (1 - p) / count + z * z / 4 / count**2)
    estimate = mean_estimate([1.0] * right + [0.0] * (count - right))
    assert estimate.value == p
    # t instead of z and n - 1 instead of n: both differ by less than 0.1 % at n = 2000
    assert (estimate.low, estimate.high) == pytest.approx((centre - half, centre + half), rel=1e-4)


def test_interval_at_the_ends_has_a_width_and_stays_inside() -> None:
    for count in (1, 2, 30):
        none, every = mean_estimate([0.0] * count), mean_estimate([1.0] * count)
        assert none.low == none.value == 0.0 < none.high < 1.0
        assert every.high == every.value == 1.0 > every.low > 0.0


def test_more_samples_of_the_same_problems_do_not_feign_certainty() -> None:
    few = mean_estimate([1.0] * 15 + [0.0] * 15)
    assert few.high - few.low > 0.3  # 30 problems, however many samples each


def _simulated_scores(rng: random.Random, problems: int, samples: int) -> list[list[float]]:
    """Scores of two models that have the same chance per problem, drawn from Beta(0.8, 0.5)."""
    chances = [rng.betavariate(0.8, 0.5) for _ in range(problems)]
    return [
        [fmean(rng.random() < chance for _ in range(samples)) for chance in chances] for _ in "ab"
    ]


@pytest.mark.parametrize(("problems", "samples"), [(30, 8), (100, 1)])
def test_intervals_cover_in_19_of_20_simulated_benchmarks(problems: int, samples: int) -> None:
    rng = random.Random(1)
    tries = 400
    covered = paired_covered = 0
    for _ in range(tries):
        scores, others = _simulated_scores(rng, problems, samples)
        mean, difference = mean_estimate(scores), difference_estimate(scores, others)
        covered += mean.low <= 0.8 / 1.3 <= mean.high
        paired_covered += difference.low <= 0 <= difference.high
    # three standard errors of a share of 0.95 in 400 tries are 0.033
    assert covered / tries == pytest.approx(0.95, abs=0.033)
    assert paired_covered / tries == pytest.approx(0.95, abs=0.033)


def test_pairing_is_narrower_than_two_separate_intervals() -> None:
    scores, others = _simulated_scores(random.Random(2), 100, 4)
    paired = difference_estimate(scores, others)
    alone = mean_estimate(scores)
    assert paired.high - paired.low < alone.high - alone.low


def test_two_models_that_agree_everywhere_still_get_a_width() -> None:
    same = difference_estimate([1.0, 0.0, 1.0], [1.0, 0.0, 1.0])
    assert same.low < same.value == 0.0 < same.high


def test_a_difference_changes_sign_with_its_sides() -> None:
    left, right = [0.5, 1.0, 0.25, 0.0], [0.0, 1.0, 0.5, 0.25]
    forth, back = difference_estimate(left, right), difference_estimate(right, left)
    assert (forth.value, forth.low, forth.high) == (-back.value, -back.high, -back.low)


def test_recovery_is_the_ratio_of_means_and_its_interval_covers() -> None:
    recovery = ratio_estimate([0.4, 0.4], [0.5, 0.5])
    assert recovery is not None
    assert recovery.low < recovery.value == 0.8 < recovery.high
    assert ratio_estimate([0.5], [0.0]) is None
    rng = random.Random(3)
    tries = 400
    covered = 0
    for _ in range(tries):
        scores, others = _simulated_scores(rng, 100, 4)
        estimate = ratio_estimate(scores, others)
        assert estimate is not None
        covered += estimate.low <= 1.0 <= estimate.high
    assert covered / tries == pytest.approx(0.95, abs=0.033)


def test_comparisons_need_the_same_problems() -> None:
    with pytest.raises(ValueError, match=r"longer|shorter"):
        difference_estimate([1.0, 0.0], [1.0])
    with pytest.raises(ValueError, match=r"longer|shorter"):
        ratio_estimate([1.0, 0.0], [1.0])


def test_empty_input_is_a_programmers_mistake() -> None:
    for call in (
        lambda: mean_estimate([]),
        lambda: difference_estimate([], []),
        lambda: ratio_estimate([], []),
        lambda: t_quantile_975(0),
    ):
        with pytest.raises(ValueError):  # noqa: PT011 - each has its own words
            call()
