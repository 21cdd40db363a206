"""Whether two models differ on the same problems: an exact permutation test, paired by problem.

If the models are equally good, each problem's difference is as likely to point the other way. The
p-value is the share of all ``2^problems`` ways to point them whose sum is as far from 0 as the one
that was found. Scores are counts of right samples, so sums are whole numbers and their
distribution is exact: nothing is drawn, and the same results always give the same p-value.

Fisher 1935, *The Design of Experiments*, section 21, with counts in place of his heights.

This module knows no files and no models.
"""

import math
from collections.abc import Sequence

Counts = Sequence[tuple[int, int]]


def permutation_p_value(counts: Counts, others: Counts) -> float:
    """Two-sided p-value for "both are right equally often", paired by problem.

    Args:
        counts: Right samples and samples of the one model, by problem.
        others: The same of the other, on the same problems in the same order.

    Returns:
        A probability in (0, 1]; 1 if the two agree on every problem.

    Raises:
        ValueError: If the two differ in length, or there are no problems.

    Example:
        >>> permutation_p_value([(1, 1)] * 5, [(0, 1)] * 5)
        0.0625
    """
    import numpy as np  # who only shows a report does not wait for it

    pairs = list(zip(counts, others, strict=True))
    if not pairs:
        raise ValueError("a comparison needs at least one problem")
    scale = math.lcm(*(samples for pair in pairs for _, samples in pair))
    steps = [
        right * (scale // samples) - other_right * (scale // other_samples)
        for (right, samples), (other_right, other_samples) in pairs
    ]
    divisor = math.gcd(*steps)
    if divisor == 0:
        return 1.0
    steps = [step // divisor for step in steps]
    found, largest = abs(sum(steps)), sum(map(abs, steps))
    chances = np.zeros(2 * largest + 1)  # of each sum from -largest to largest
    chances[largest] = 1.0
    for step in steps:
        if step:
            size = abs(step)
            chances = (np.roll(chances, size) + np.roll(chances, -size)) / 2
    sums = np.abs(np.arange(-largest, largest + 1))
    return min(1.0, float(chances[sums >= found].sum()))
