"""``plan_local``: what a large model takes in main memory when our own engine runs it there.

A server on GPUs has memory of its own kind (``teachers.shard_plan``); here one process holds the
weights, the places of its rows and what a step needs, and the libraries count as well. The plan is
the highest of three moments:

    loading   weights, the files that they are read from, one layer's experts while they are joined
    reading   weights, places of the prompts, the widest moment of a layer
    writing   weights, places of full rows, scores of a token over all of them

Files are mapped: routed experts are copied out of theirs, and those pages stay in memory until
something else needs them, so they count in the process's size and not in what must be free.
"""

import math
from dataclasses import dataclass
from typing import Final, Literal

from engine import footprint
from engine.footprint import Widths
from teachers.moe_config import FORMATS, Architecture, Latent
from teachers.shard_weights import all_matrices, file_bytes, layer, parameters

Moment = Literal["loading", "reading", "writing"]
_JOINED_SHARE: Final = 2 / 3
"""Of a layer's experts: gates and ups are stacked before they become one matrix."""
_MOST_ROWS: Final = 4096


@dataclass(frozen=True, slots=True)
class LocalWish:
    """What shall run at once.

    Attributes:
        context_tokens: Prompt and answer of one row.
        rows: How many.
        prompt_tokens: The prompt of each; all are read together at the start.
        number_bytes: Of a weight in memory: 2 for bfloat16, 4 for fp32.
    """

    context_tokens: int
    rows: int
    prompt_tokens: int
    number_bytes: int = 2


@dataclass(frozen=True, slots=True)
class LocalPlan:
    """What the process holds at its highest moment, in bytes.

    Attributes:
        moment: When that is.
        weights: Of the model.
        cache: Places for keys and values.
        work: What a step, or joining experts, takes besides.
        runtime: Python, torch, and freed memory that is kept.
        mapped: Pages of files that are in memory a second time; the system takes them back.
    """

    moment: Moment
    weights: int
    cache: int
    work: int
    runtime: int
    mapped: int

    @property
    def total(self) -> int:
        """What must be free."""
        return self.weights + self.cache + self.work + self.runtime

    @property
    def resident(self) -> int:
        """What the system shows as the process's size."""
        return self.total + self.mapped


def plan_local(facts: Architecture, wish: LocalWish) -> LocalPlan:
    """The highest moment of a process that loads a model and fills all its rows."""
    return max(_moments(facts, wish), key=lambda plan: plan.resident)


def most_rows(facts: Architecture, wish: LocalWish, free_bytes: int) -> int:
    """Rows that fit; 0 if not even one does.

    Args:
        facts: The model.
        wish: What shall run; its rows are not looked at.
        free_bytes: Memory that may be taken.
    """
    few, many = 0, _MOST_ROWS + 1
    while many - few > 1:
        rows = (few + many) // 2
        asked = LocalWish(wish.context_tokens, rows, wish.prompt_tokens, wish.number_bytes)
        fits = max(plan.total for plan in _moments(facts, asked)) <= free_bytes
        few, many = (rows, many) if fits else (few, rows)
    return few


def needed_bytes(facts: Architecture, wish: LocalWish) -> int:
    """What must be free at the moment that needs most."""
    return max(plan.total for plan in _moments(facts, wish))


def _moments(facts: Architecture, wish: LocalWish) -> list[LocalPlan]:
    number = wish.number_bytes
    weights = parameters(facts) * number
    parts = file_bytes(facts)
    stored = sum(parts.values()) - parts["draft"]
    is_as_stored = facts.format in (FORMATS["bf16"], FORMATS["fp32"]) and (
        facts.format.bits == 8 * number
    )
    loaded, kept = (parts["routed"], parts["routed"]) if is_as_stored else (stored, 0)
    start, runtime = footprint.RUNTIME_BYTES, footprint.RUNTIME_BYTES + footprint.KEPT_BYTES
    reading = max(_reading(facts, wish), _drawing(facts, wish))
    writing = max(_writing(facts, wish), _drawing(facts, wish))
    begun = _cache(facts, wish, wish.prompt_tokens + 1)
    full = _cache(facts, wish, wish.context_tokens)
    return [
        LocalPlan("loading", weights, 0, _joining(facts, number), start, loaded),
        LocalPlan("reading", weights, begun, reading, runtime, kept),
        LocalPlan("writing", weights, full, writing, runtime, kept),
    ]


def _joining(facts: Architecture, number: int) -> int:
    """While a layer is loaded: its experts' matrices, before they are one."""
    last = layer(facts, facts.layers - 1)
    routed = sum(matrix.parameters for matrix in last if matrix.part == "routed")
    if routed:
        return math.ceil(_JOINED_SHARE * routed * number)
    return max(matrix.parameters // matrix.count for matrix in all_matrices(facts)) * number


def _cache(facts: Architecture, wish: LocalWish, tokens: int) -> int:
    longest = max(facts.context_tokens, wish.context_tokens)
    places = footprint.held_places(wish.rows, min(tokens, longest), longest)
    return places * facts.cache_bytes_per_token * wish.number_bytes // 2


def _reading(facts: Architecture, wish: LocalWish) -> int:
    at_once = max(footprint.READ_AT_ONCE_TOKENS, wish.prompt_tokens)
    tokens = min(wish.rows * wish.prompt_tokens, at_once)
    # Latents of all layers are caught on their way (``engine.latent``) and go when the step ends.
    latents = facts.cache_bytes_per_token * wish.number_bytes // 2
    caught = latents if isinstance(facts.attention, Latent) else 0
    work = footprint.reading_bytes(widths_of(facts), tokens, wish.number_bytes)
    return work + tokens * caught


def _writing(facts: Architecture, wish: LocalWish) -> int:
    places = footprint.whole_steps(wish.context_tokens)
    return footprint.writing_bytes(facts.attention.heads, wish.rows, places, wish.number_bytes)


def _drawing(facts: Architecture, wish: LocalWish) -> int:
    return footprint.drawing_bytes(wish.rows, facts.vocabulary, wish.number_bytes)


def widths_of(facts: Architecture) -> Widths:
    """Numbers of one token in one layer, for our engine."""
    attention, experts = facts.attention, facts.experts
    mlp = facts.dense_width if facts.dense_layers else 0
    chosen = 0 if experts is None else experts.chosen
    if experts is not None:
        mlp = max(mlp, experts.shared_width)
    if isinstance(attention, Latent):
        heads, width = attention.heads, attention.nope_dim + attention.rope_dim
        queries, values = heads * width, heads * attention.value_dim
        return Widths(facts.hidden, queries, queries, values, mlp, chosen, is_latent=True)
    queries, keys = attention.heads * attention.head_dim, attention.kv_heads * attention.head_dim
    return Widths(facts.hidden, queries, keys, keys, mlp, chosen, has_norms=attention.has_norms)
