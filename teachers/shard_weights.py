"""The weights of a model by their parts: how many, how many bytes, and how a cluster cuts them.

Every matrix of a layer is written down once, with its shape; files and devices are sums over them.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, get_args

from teachers.moe_config import Architecture, Experts, Format, Latent

Part = Literal["attention", "dense", "shared", "routed", "router", "embeddings", "draft"]
Split = Literal["tensor", "expert", "no"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True, slots=True)
class Matrix:
    """Matrices of one shape.

    Attributes:
        part: Whose they are.
        rows: Outputs.
        columns: Inputs; 1 for a vector.
        count: How many.
        split: Over what a cluster cuts them: heads and widths, experts, or nothing.
        is_large: Whether they are stored in the model's format; otherwise as the rest.
    """

    part: Part
    rows: int
    columns: int = 1
    count: int = 1
    split: Split = "tensor"
    is_large: bool = True

    @property
    def parameters(self) -> int:
        """Weights, scales left out."""
        return self.rows * self.columns * self.count

    def bytes_in(self, format_: Format) -> int:
        """Bytes, scales of blocks included."""
        if not self.is_large:
            return self.parameters * format_.other_bytes
        size = self.rows * self.columns * format_.bits / 8
        if format_.block is not None:
            rows, columns = format_.block
            scales = math.ceil(self.rows / rows) * math.ceil(self.columns / columns)
            size += scales * format_.scale_bytes
        return round(size * self.count)


def layer(facts: Architecture, number: int) -> Iterator[Matrix]:
    """All matrices of a decoder layer, counted from 0."""
    yield from _attention(facts)
    yield Matrix("attention", facts.hidden, count=2, split="no", is_large=False)  # norms
    if facts.experts is None or number < facts.dense_layers:
        yield from _mlp("dense", facts.hidden, facts.dense_width)
    else:
        yield from _experts(facts.experts, facts.hidden)


def table(facts: Architecture) -> Matrix:
    """The embedding; the head is another one of this shape unless it is tied."""
    return Matrix("embeddings", facts.vocabulary, facts.hidden, is_large=False)


def final_norm(facts: Architecture) -> Matrix:
    """What stands between the last layer and the head."""
    return Matrix("embeddings", facts.hidden, split="no", is_large=False)


def draft(facts: Architecture) -> Iterator[Matrix]:
    """The layers that guess ahead: files hold an embedding and a head of their own for each."""
    for _ in range(facts.draft_layers):
        yield from (replace(matrix, part="draft") for matrix in layer(facts, facts.layers))
        yield Matrix("draft", facts.hidden, 2 * facts.hidden, is_large=False)
        yield Matrix("draft", facts.hidden, count=3, is_large=False)
        yield Matrix("draft", facts.vocabulary, facts.hidden, count=2, is_large=False)


def all_matrices(facts: Architecture) -> Iterator[Matrix]:
    """Everything in the files of a checkpoint."""
    for number in range(facts.layers):
        yield from layer(facts, number)
    yield table(facts)
    if not facts.is_tied:
        yield table(facts)
    yield final_norm(facts)
    yield from draft(facts)


def file_bytes(facts: Architecture) -> dict[Part, int]:
    """Bytes of a checkpoint by part."""
    found: dict[Part, int] = dict.fromkeys(PARTS, 0)
    for matrix in all_matrices(facts):
        found[matrix.part] += matrix.bytes_in(facts.format)
    return found


def parameters(facts: Architecture) -> int:
    """Weights of the model itself, without the layers that guess ahead."""
    return sum(one.parameters for one in all_matrices(facts) if one.part != "draft")


def active_parameters(facts: Architecture) -> int:
    """Weights that serve one token: of the routed experts those that are chosen."""
    experts, total = facts.experts, 0
    for matrix in all_matrices(facts):
        if matrix.part == "routed" and experts is not None:
            total += matrix.parameters * experts.chosen // experts.count
        elif matrix.part != "draft":
            total += matrix.parameters
    return total


def _attention(facts: Architecture) -> Iterator[Matrix]:
    attention, hidden = facts.attention, facts.hidden
    if isinstance(attention, Latent):
        yield from _latent(attention, hidden)
        return
    queries, keys = (
        attention.heads * attention.head_dim,
        attention.kv_heads * attention.head_dim,
    )
    yield Matrix("attention", queries, hidden)
    yield Matrix("attention", keys, hidden, count=2)
    yield Matrix("attention", hidden, queries)
    if attention.has_bias:
        yield Matrix("attention", queries + 2 * keys, is_large=False)
    if attention.has_norms:
        yield Matrix("attention", attention.head_dim, count=2, split="no", is_large=False)


def _latent(attention: Latent, hidden: int) -> Iterator[Matrix]:
    heads, head_dim = attention.heads, attention.nope_dim + attention.rope_dim
    rank = attention.query_rank
    if rank:
        yield Matrix("attention", rank, hidden, split="no")
        yield Matrix("attention", rank, split="no", is_large=False)
    yield Matrix("attention", heads * head_dim, rank or hidden)
    yield Matrix("attention", attention.kv_rank + attention.rope_dim, hidden, split="no")
    yield Matrix("attention", attention.kv_rank, split="no", is_large=False)
    yield Matrix("attention", heads * (attention.nope_dim + attention.value_dim), attention.kv_rank)
    yield Matrix("attention", hidden, heads * attention.value_dim)


def _mlp(
    part: Part, hidden: int, width: int, *, count: int = 1, split: Split = "tensor"
) -> Iterator[Matrix]:
    yield Matrix(part, width, hidden, count=2 * count, split=split)
    yield Matrix(part, hidden, width, count=count, split=split)


def _experts(experts: Experts, hidden: int) -> Iterator[Matrix]:
    yield from _mlp("routed", hidden, experts.width, count=experts.count, split="expert")
    if experts.shared_width:
        yield from _mlp("shared", hidden, experts.shared_width)
    if experts.has_shared_gate:
        yield Matrix("shared", 1, hidden, split="no", is_large=False)
    yield Matrix("router", experts.count, hidden, split="no", is_large=False)
    if experts.has_router_bias:
        yield Matrix("router", experts.count, split="no", is_large=False)
