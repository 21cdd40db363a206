"""The permutation test agrees with enumeration, is exact, and keeps its level."""

import itertools
import random

import pytest

from distill.permutation import permutation_p_value


def _enumerated(differences: list[float]) -> float:
    """Share of all signs whose sum is as far from 0."""
    found = abs(sum(differences))
    sums = [
        abs(sum(sign * one for sign, one in zip(signs, differences, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    return sum(one >= found - 1e-12 for one in sums) / len(sums)


def test_p_value_is_the_share_of_all_signs_as_far_from_zero() -> None:
    rng = random.Random(0)
    for _ in range(40):
        counts = [(rng.randint(0, 4), 4) for _ in range(rng.randint(1, 9))]
        others = [(rng.randint(0, 6), 6) for _ in counts]
        differences = [a / n - b / m for (a, n), (b, m) in zip(counts, others, strict=True)]
        assert permutation_p_value(counts, others) == pytest.approx(_enumerated(differences))


def test_one_sample_each_is_the_exact_test_of_mcnemar() -> None:
    """Nine problems won and one lost: twice the chance of at most one of ten coins."""
    counts = [(1, 1)] * 9 + [(0, 1)] + [(1, 1)] * 20
    others = [(0, 1)] * 9 + [(1, 1)] + [(1, 1)] * 20
    assert permutation_p_value(counts, others) == pytest.approx(2 * 11 / 1024)


def test_models_that_agree_everywhere_are_not_told_apart() -> None:
    assert permutation_p_value([(1, 2), (2, 2)], [(2, 4), (1, 1)]) == 1.0


def test_sides_make_no_difference_and_many_problems_are_no_trouble() -> None:
    rng = random.Random(1)
    counts = [(rng.randint(0, 64), 64) for _ in range(500)]
    others = [(rng.randint(0, 48), 48) for _ in counts]
    there, back = permutation_p_value(counts, others), permutation_p_value(others, counts)
    assert there == back
    assert 0 < there <= 1


def test_equal_models_are_called_different_in_one_of_twenty_benchmarks() -> None:
    rng = random.Random(2)
    found = 0
    for _ in range(300):
        chances = [rng.betavariate(0.8, 0.5) for _ in range(30)]
        left, right = (
            [(sum(rng.random() < chance for _ in range(8)), 8) for chance in chances] for _ in "ab"
        )
        found += permutation_p_value(left, right) <= 0.05
    assert found / 300 <= 0.05 + 3 * 0.0126  # three standard errors


def test_other_problems_are_a_programmers_mistake() -> None:
    with pytest.raises(ValueError, match=r"longer|shorter"):
        permutation_p_value([(1, 1)], [])
    with pytest.raises(ValueError, match="at least one problem"):
        permutation_p_value([], [])
