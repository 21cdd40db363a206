"""What reads and writes the tokens of rows: a model in the engine.

``engine.slots`` for models whose attention is known, ``engine.padded`` for any other; over several
ranks ``engine.ranks_runner`` stands before either.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from transformers import PreTrainedModel

from engine.experts import set_experts
from engine.latent import has_plain_expansion, is_latent
from engine.padded import PaddedRunner
from engine.row import Row
from engine.slots import SlotRunner

_ROWS_KNOWN = frozenset(
    {
        "deepseek_v2",
        "deepseek_v3",
        "llama",
        "mistral",
        "mixtral",
        "olmoe",
        "qwen2",
        "qwen2_moe",
        "qwen3",
        "qwen3_moe",
    }
)

_MAY_SLIDE = frozenset({"mistral", "mixtral"})
"""Their window is not in ``layer_types``."""
_ROPE_KNOWN = frozenset({"default", "linear", "llama3", "yarn"})
"""Angles of a token by its place alone; others look at the longest row of the batch."""


class Runner(Protocol):
    """What reads and writes tokens."""

    @property
    def rows(self) -> list[Row]:
        """Those that are running, in the order of the scores that ``write`` gave."""
        ...

    @property
    def occupied_tokens(self) -> int:
        """Tokens that the running rows have places for."""
        ...

    def has_room_for(self, row: Row, others: Sequence[Row]) -> bool:
        """Whether a row can be started together with others; one alone always can."""
        ...

    def read(self, rows: Sequence[Row]) -> torch.Tensor:
        """Read the prompts of new rows; scores of the next token, ``[B, V]``."""
        ...

    def write(self) -> torch.Tensor:
        """Read the next token of every running row; scores of the one after, ``[B, V]``."""
        ...

    def remove(self, rows: Sequence[Row]) -> None:
        """Forget rows; their places are free."""
        ...

    def set_back(self) -> list[Row]:
        """Rows that were removed so that the others can grow: they start again."""
        ...


def make_runner(model: PreTrainedModel, budget_tokens: int) -> Runner:
    """What runs a model: rows that come and go where its attention is known, else batches.

    Args:
        model: In evaluation mode; its attention and experts may be set to ours.
        budget_tokens: Places for tokens, of all rows together.
    """
    if not has_row_attention(model):
        return PaddedRunner(model, budget_tokens=budget_tokens)
    set_experts(model)
    longest = longest_row(model, budget_tokens)
    return SlotRunner(model, budget_tokens=budget_tokens, longest=longest)


def longest_row(model: PreTrainedModel, budget_tokens: int) -> int:
    """Tokens of the longest row that can be held, its prompt included."""
    context = int(getattr(model.config, "max_position_embeddings", 0)) or 1 << 30
    return min(context, budget_tokens)


def has_row_attention(model: PreTrainedModel) -> bool:
    """Whether rows of a model can come and go; others are sampled in padded batches."""
    config = model.config
    if config.model_type not in _ROWS_KNOWN or (
        is_latent(model) and not has_plain_expansion(model)
    ):
        return False
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type", "default") not in _ROPE_KNOWN:
        return False
    layers = set(getattr(config, "layer_types", None) or ["full_attention"])
    if layers == {"full_attention"} and config.model_type not in _MAY_SLIDE:
        return True
    window = getattr(config, "sliding_window", None)
    return window is None or window >= config.max_position_embeddings
