"""Which examples share a row: best-fit packing, repeated for each epoch.

Attention never crosses examples, so a row is only a budget of tokens that are computed together.
This module knows lengths, nothing of tokens or models.
"""

import random
from bisect import bisect_left, insort
from collections.abc import Sequence

# Longest-first fills rows best but would sort small examples by length into rows of their own, and
# a step would see one length only. So only examples that are hard to place go longest first.
_LARGE_SHARE = 1 / 8


def pack(lengths: Sequence[int], capacity: int, *, seed: str = "") -> list[list[int]]:
    """Put each example into the fullest row that still has room for it.

    Examples over an eighth of a row are placed longest first, the others in a random order.

    Args:
        lengths: Tokens of each example, at most ``capacity``.
        capacity: Tokens of a row at most.
        seed: Same seed, same rows.

    Returns:
        Rows of indices into ``lengths``; each index once.

    Raises:
        ValueError: If an example is empty or longer than a row.

    Example:
        >>> [sorted(row) for row in pack([6, 4, 9, 1], capacity=10)]
        [[2, 3], [0, 1]]
    """
    if lengths and (min(lengths) < 1 or max(lengths) > capacity):
        raise ValueError(f"lengths {min(lengths)}..{max(lengths)} do not fit into 1..{capacity}")
    order = list(range(len(lengths)))
    random.Random(seed).shuffle(order)
    large = capacity * _LARGE_SHARE
    order.sort(key=lambda index: -lengths[index] if lengths[index] > large else 0)

    rows: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (tokens left, row), sorted; full rows leave the list
    for index in order:
        place = bisect_left(room, (lengths[index], 0))
        if place == len(room):
            left, row = capacity, len(rows)
            rows.append([])
        else:
            left, row = room.pop(place)
        rows[row].append(index)
        if left > lengths[index]:
            insort(room, (left - lengths[index], row))
    return rows


def pack_in_order(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Fill one row after the other without changing the order; rows are less full for it.

    Example:
        >>> pack_in_order([6, 4, 9, 1, 3], capacity=10)
        [[0, 1], [2, 3], [4]]
    """
    rows: list[list[int]] = []
    left = 0
    for index, length in enumerate(lengths):
        if not rows or length > left:
            rows.append([])
            left = capacity
        rows[-1].append(index)
        left -= length
    return rows


def plan_rows(
    lengths: Sequence[int],
    *,
    row_tokens: int,
    epochs: int,
    seed: int,
    keeps_order: bool = False,
) -> list[list[int]]:
    """Rows of all epochs in the order in which they are trained on.

    Each epoch packs anew and shuffles its rows, from the seed and the epoch's number alone: where
    training stands is one number, the rows done.

    Args:
        lengths: Tokens of each example, at most ``row_tokens``.
        row_tokens: Tokens of a row at most.
        epochs: How often each example is seen.
        seed: Same seed, same plan.
        keeps_order: Take the examples as they come, in every epoch, instead: for a curriculum.
    """
    if keeps_order:
        return pack_in_order(lengths, row_tokens) * epochs
    plan: list[list[int]] = []
    for epoch in range(epochs):
        rows = pack(lengths, row_tokens, seed=f"{seed}/{epoch}/rows")
        random.Random(f"{seed}/{epoch}/order").shuffle(rows)
        plan += rows
    return plan
