"""Numbers about the sampled answers to one problem: pass@k and cons@k, both unbiased.

Means over problems and their intervals are ``distill.intervals``'.

This module knows no files, models or verifiers.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Vote:
    """One sample's part in a majority vote.

    Attributes:
        answer: Canonical final answer; ``None`` if there is none, then it casts no vote.
        is_accepted: What the verifier found.
    """

    answer: str | None
    is_accepted: bool


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Probability that at least one of ``k`` samples is correct.

    Unbiased estimator ``1 - C(n-c, k) / C(n, k)`` from Chen et al. 2021,
    *Evaluating Large Language Models Trained on Code*, section 2.1.

    Args:
        n: Samples drawn for the prompt.
        correct: How many of them the verifier accepted, ``0 <= correct <= n``.
        k: Samples a user would draw, ``1 <= k <= n``.

    Returns:
        A probability in [0, 1].

    Raises:
        ValueError: If ``k`` is not in ``1..n`` or ``correct`` not in ``0..n``.

    Example:
        >>> pass_at_k(n=4, correct=1, k=2)
        0.5
    """
    if not 1 <= k <= n:
        raise ValueError(f"k must be in 1..{n}, not {k}")
    if not 0 <= correct <= n:
        raise ValueError(f"correct must be in 0..{n}, not {correct}")
    total = math.comb(n, k)
    return (total - math.comb(n - correct, k)) / total


def cons_at_k(votes: Sequence[Vote], k: int | None = None) -> float:
    """Probability that the most frequent answer among ``k`` samples of one problem is right.

    The mean over all subsets of ``k`` samples, counted and not drawn, so it is unbiased as
    ``pass_at_k`` is. A sample without an answer casts no vote. All accepted answers are one
    answer, however they are written. If several answers share the first place, the value is the
    expectation over them, as if one were drawn: no order of samples is favoured.

    Args:
        votes: All samples of the problem.
        k: Samples that vote, ``1 <= k <= len(votes)``; all of them unless given.

    Raises:
        ValueError: If there are no samples, or fewer than ``k``.

    Example:
        >>> votes = [Vote("14", True), Vote("15", False), Vote("14", True), Vote(None, False)]
        >>> cons_at_k(votes), cons_at_k(votes, k=2)
        (1.0, 0.6666666666666666)
    """
    size = len(votes) if k is None else k
    if not 1 <= size <= len(votes):
        raise ValueError(f"k must be in 1..{len(votes)}, not {size}")
    right = sum(vote.is_accepted for vote in votes)
    wrong = Counter(
        vote.answer for vote in votes if vote.answer is not None and not vote.is_accepted
    )
    camps = list(wrong.values())
    if size == len(votes):  # there is one subset
        most = max([right, *camps], default=0)
        return 1 / (1 + camps.count(most)) if right == most > 0 else 0.0
    blank = len(votes) - right - sum(camps)
    won = Fraction(0)
    for lead in range(1, min(right, size) + 1):
        for ties, ways in _ways(camps, blank, size - lead, lead).items():
            won += Fraction(math.comb(right, lead) * ways, ties + 1)
    return float(won / math.comb(len(votes), size))


def _ways(camps: Sequence[int], blank: int, size: int, lead: int) -> dict[int, int]:
    """How many subsets of ``size`` other samples leave no camp above ``lead``, by camps at it.

    Args:
        camps: Samples of each wrong answer.
        blank: Samples without an answer.
        size: Samples that are taken of all of these.
        lead: Votes of the right answer.
    """
    ways = {(0, 0): 1}  # (samples taken, camps at the lead) -> subsets
    for camp in camps:
        more: dict[tuple[int, int], int] = {}
        for (taken, ties), count in ways.items():
            for votes in range(min(camp, lead, size - taken) + 1):
                key = (taken + votes, ties + (votes == lead))
                more[key] = more.get(key, 0) + count * math.comb(camp, votes)
        ways = more
    found: dict[int, int] = {}
    for (taken, ties), count in ways.items():
        found[ties] = found.get(ties, 0) + count * math.comb(blank, size - taken)
    return found


def shown_ks(samples: int) -> tuple[int, ...]:
    """The k that are worth a figure: powers of two, and all samples.

    Example:
        >>> shown_ks(6)
        (1, 2, 4, 6)
    """
    powers = [1 << power for power in range(samples.bit_length())]
    return tuple(sorted({*powers, samples}))
