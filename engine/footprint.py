"""What our engine takes in memory beside weights, before anything is loaded.

Arithmetic alone, no torch: the places of its lanes (``engine.lanes``), the widest moment of a layer
while prompts are read, scores, and what a process has in memory before it does anything. Plans for
students (``students.memory_run``) and for large models (``teachers.shard_local``) share it.
"""

from dataclasses import dataclass
from typing import Final

PLACES_STEP: Final = 16
"""Capacities are multiples of this."""
FIRST_CAPACITY: Final = 128
ROOM: Final = 1.25
"""Buffers are made a little larger than needed, so that each row is copied rarely."""
READ_AT_ONCE_TOKENS: Final = 16_384
"""Tokens of prompts in one step."""
RUNTIME_BYTES: Final = 357 * 1024**2
"""Measured: Python, torch 2.13 for CPUs, transformers 5.23 and their libraries after one answer."""
KEPT_BYTES: Final = 64 * 1024**2
"""Measured: freed memory that the C library keeps, and oneDNN's kernels: 4 to 120 MiB."""
_DRAWING_COPIES: Final = 3
"""Of the scores of a step in fp32: scaled, sorted, and their exponentials."""


@dataclass(frozen=True, slots=True)
class Widths:
    """Numbers of one token in one layer.

    Attributes:
        hidden: Of the stream between layers.
        queries: Of all query heads.
        keys: Of all key heads, as attention sees them.
        values: Of all value heads, as attention sees them.
        mlp: The widest dense MLP; 0 if there is none.
        chosen: Routed experts that a token passes through; 0 for a dense model.
        is_latent: Whether keys and values are expanded from a latent vector.
        has_norms: Whether queries and keys are normalised.
    """

    hidden: int
    queries: int
    keys: int
    values: int
    mlp: int
    chosen: int = 0
    is_latent: bool = False
    has_norms: bool = False


def reading_bytes(widths: Widths, tokens: int, number_bytes: int) -> int:
    """The widest moment of a layer while so many tokens are read.

    attention  queries before and after their rotation, its two summands, keys and values; latent:
               queries twice, keys, expanded keys and values, padded values, output
    norms      queries as stored, and twice in fp32
    experts    what each chosen expert gave, and the same weighed in fp32
    dense      gate after its activation, up, their product
    """
    stream = 2 * widths.hidden
    keys, values, queries = widths.keys, widths.values, widths.queries
    if widths.is_latent:
        attention = 2 * queries + keys + (keys + values) + keys + queries
    else:
        attention = 4 * queries + keys + values
    experts = widths.chosen * widths.hidden * (number_bytes + 4)
    most = number_bytes * stream + max(number_bytes * max(attention, 3 * widths.mlp), experts)
    if widths.has_norms:
        most = max(most, number_bytes * (stream + queries + keys + values) + 8 * queries)
    return tokens * most


def writing_bytes(heads: int, rows: int, places: int, number_bytes: int) -> int:
    """Scores of one token of each row over all that it holds, and their softmax in fp32."""
    return rows * heads * places * (2 * number_bytes + 4)


def drawing_bytes(rows: int, vocabulary: int, number_bytes: int) -> int:
    """Scores of the next token, handed on twice, and what drawing makes of them."""
    return rows * vocabulary * (2 * number_bytes + 4 * _DRAWING_COPIES)


def capacity_for(tokens: int, longest: int) -> int:
    """Places that a row of so many tokens gets.

    Example:
        >>> capacity_for(100, 4096), capacity_for(129, 4096), capacity_for(300, 320)
        (128, 256, 320)
    """
    capacity = FIRST_CAPACITY
    while capacity < tokens:
        capacity *= 2
    return min(capacity, whole_steps(longest))


def held_places(rows: int, tokens: int, longest: int) -> int:
    """Places of so many rows of so many tokens at their fullest moment.

    Buffers have some room to grow; a row that outgrows its lane is copied to one of twice the
    capacity, and both are there for a moment. Many rows leave their old lane layer by layer.
    """
    capacity = capacity_for(tokens, longest)
    earlier = 0 if capacity == FIRST_CAPACITY else capacity_for((capacity - 1) // 2, longest)
    return max(int(rows * ROOM), 1) * capacity + earlier


def whole_steps(tokens: int) -> int:
    """Tokens rounded up: a CPU library treats the rest of a division in another order."""
    return -(-tokens // PLACES_STEP) * PLACES_STEP
