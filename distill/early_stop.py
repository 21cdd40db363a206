"""How many samples a prompt takes when sampling stops at enough right ones: expected values.

This module knows arithmetic only.
"""

import math
from typing import Final

PASS_ALPHA: Final = 0.8
PASS_BETA: Final = 0.5
"""Pass rates of prompts are taken to be spread as Beta(0.8, 0.5) until traces say otherwise."""


def expected_samples(samples: int, until_correct: int | None, alpha: float, beta: float) -> float:
    """Samples of a prompt when its pass rate is drawn from Beta(alpha, beta).

    The i-th sample is drawn when fewer than ``until_correct`` of those before it were right, which
    has the probability of a beta-binomial distribution.

    Example:
        >>> round(expected_samples(8, 1, 0.8, 0.5), 2), expected_samples(8, None, 0.8, 0.5)
        (2.33, 8.0)
    """
    if until_correct is None:
        return float(samples)
    return sum(
        _beta_binomial(right, drawn, alpha, beta)
        for drawn in range(samples)
        for right in range(min(until_correct, drawn + 1))
    )


def pass_rates(first: int, right: int) -> tuple[float, float]:
    """Parameters of the spread of pass rates, from how many first samples were right.

    They give the mean; how widely the rates are spread is taken to be as before.

    Args:
        first: Prompts whose first sample is judged.
        right: How many of those are right.

    Example:
        >>> [round(parameter, 2) for parameter in pass_rates(99, 49)]
        [0.64, 0.66]
    """
    mean, strength = (right + 0.5) / (first + 1), PASS_ALPHA + PASS_BETA
    return mean * strength, (1 - mean) * strength


def _beta_binomial(right: int, drawn: int, alpha: float, beta: float) -> float:
    def log_beta(a: float, b: float) -> float:
        return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)

    ways = math.comb(drawn, right)
    return ways * math.exp(log_beta(right + alpha, drawn - right + beta) - log_beta(alpha, beta))
