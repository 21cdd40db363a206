"""pass@k and cons@k agree with enumeration over all subsets of samples."""

import itertools
import random
from collections import Counter
from statistics import fmean

import pytest

from distill.metrics import Vote, cons_at_k, pass_at_k, shown_ks


def test_pass_at_k_is_the_share_of_subsets_with_a_right_sample() -> None:
    for n in range(1, 8):
        for correct in range(n + 1):
            samples = [index < correct for index in range(n)]
            for k in range(1, n + 1):
                subsets = list(itertools.combinations(samples, k))
                expected = sum(map(any, subsets)) / len(subsets)
                assert pass_at_k(n, correct, k) == expected


def test_pass_at_k_does_not_lose_digits_with_many_samples() -> None:
    assert pass_at_k(n=10_000, correct=1, k=1) == 1 / 10_000
    assert pass_at_k(n=10_000, correct=9_999, k=2) == 1.0


@pytest.mark.parametrize(("n", "correct", "k"), [(4, 1, 0), (4, 1, 5), (4, -1, 1), (4, 5, 1)])
def test_pass_at_k_refuses_what_cannot_be(n: int, correct: int, k: int) -> None:
    with pytest.raises(ValueError, match="must be in"):
        pass_at_k(n, correct, k)


def _votes(answers: str, gold: str) -> list[Vote]:
    return [Vote(None if a == "-" else a, a == gold) for a in answers]


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ("aab", 1.0),
        ("abb", 0.0),
        ("ab", 0.5),
        ("abc", 1 / 3),
        ("aabbc", 0.5),
        ("a---", 1.0),
        ("---", 0.0),
        ("bbcc", 0.0),
    ],
)
def test_cons_at_k_is_the_expected_majority_over_ties(answers: str, expected: float) -> None:
    assert cons_at_k(_votes(answers, "a")) == expected


def test_cons_at_k_does_not_depend_on_the_order_of_samples() -> None:
    for order in itertools.permutations("aabbc-"):
        assert cons_at_k(_votes("".join(order), "a")) == 0.5


def test_cons_at_k_equals_a_draw_among_the_most_frequent() -> None:
    rng = random.Random(0)
    for _ in range(200):
        answers = "".join(rng.choices("abcd", k=rng.randint(1, 9)))
        ranking = Counter(answers).most_common()
        tied = [answer for answer, count in ranking if count == ranking[0][1]]
        assert cons_at_k(_votes(answers, "a")) == tied.count("a") / len(tied)


def test_cons_at_k_is_the_mean_over_all_subsets() -> None:
    rng = random.Random(3)
    for _ in range(60):
        votes = _votes("".join(rng.choices("aabcd-", k=rng.randint(1, 8))), "a")
        for k in range(1, len(votes) + 1):
            subsets = itertools.combinations(votes, k)
            expected = fmean(cons_at_k(subset) for subset in subsets)
            assert cons_at_k(votes, k) == pytest.approx(expected, abs=1e-12)


def test_cons_at_1_is_the_mean_accuracy() -> None:
    assert cons_at_k(_votes("aab-", "a"), 1) == 0.5


def test_accepted_answers_are_one_answer_however_they_are_written() -> None:
    votes = [Vote("1/2", True), Vote("0.5", True), *_votes("xx", "a"), Vote("y", False)]
    assert cons_at_k(votes) == 0.5


def test_cons_at_k_of_many_samples_needs_no_enumeration() -> None:
    votes = _votes("a" * 20 + "b" * 19 + "".join(map(chr, range(200, 225))), "a")
    assert 0.5 < cons_at_k(votes, 32) < 1.0


@pytest.mark.parametrize("k", [0, 4])
def test_cons_at_k_refuses_more_samples_than_there_are(k: int) -> None:
    with pytest.raises(ValueError, match="k must be in"):
        cons_at_k(_votes("aab", "a"), k)
    with pytest.raises(ValueError, match="k must be in"):
        cons_at_k([])


def test_figures_are_given_for_powers_of_two_and_all_samples() -> None:
    assert [shown_ks(n) for n in (1, 4, 6)] == [(1,), (1, 2, 4), (1, 2, 4, 6)]
