"""Attention over rows of any length that share one packed row of new tokens.

Transformers calls ``row_attention`` with the keys and values of the new tokens alone; the step that
travels along as the model's keyword argument ``row_step`` knows where they go and what they
attend to. So the model needs no cache of its own and no mask.

    Reading   some prompts, one after the other: each attends to itself
    Writing   one token of each row: it attends to all that its row holds, lane by lane

This module knows tensors and lanes, nothing of when a row starts or ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from engine.lanes import Lane
from engine.latent import LatentTap, absorbed

ROWS = "engine_rows"


@dataclass(slots=True)
class Reading:
    """A step that reads prompts; each may be that of several rows."""

    lengths: list[int]
    places: list[tuple[Lane, slice]]
    latents: LatentTap | None = None

    def attend(
        self,
        module: Any,  # noqa: ANN401 - an attention layer of transformers
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        """Store keys and values, and attend within each prompt; ``[1, N, heads, width]``."""
        layer, states = module.layer_idx, [key[0], value[0]]
        if self.latents is not None:
            states = [self.latents.states(layer)]
        width = value.shape[-1]
        value = functional.pad(value, (0, key.shape[-1] - width))
        output = torch.zeros_like(query)
        start = 0
        for length, (lane, slots) in zip(self.lengths, self.places, strict=True):
            tokens = slice(start, start + length)
            start += length
            output[:, :, tokens] = functional.scaled_dot_product_attention(
                query[:, :, tokens],
                key[:, :, tokens],
                value[:, :, tokens],
                scale=scale,
                is_causal=True,
                enable_gqa=query.shape[1] != key.shape[1],
            )
            for buffer, new in zip(lane.buffers(layer, states), states, strict=True):
                buffer[slots, :, :length] = new[:, tokens]
        return output[..., :width].transpose(1, 2)


@dataclass(slots=True)
class Part:
    """The rows of one lane in a step that writes."""

    lane: Lane
    rows: slice
    places: torch.Tensor
    tokens: int
    masks: dict[tuple[int, torch.device], torch.Tensor] = field(default_factory=dict)

    def mask(self, heads: int, like: torch.Tensor) -> torch.Tensor:
        """Zero where a row has a token, minus infinity elsewhere, ``[rows x heads, 1, T]``."""
        found = self.masks.get((heads, like.device))  # layers may lie on several devices
        if found is None:
            places = self.places.to(like.device).repeat_interleave(heads)[:, None, None]
            is_beyond = torch.arange(self.tokens, device=like.device) > places
            found = is_beyond.to(like.dtype).masked_fill_(is_beyond, -torch.inf)
            self.masks[heads, like.device] = found
        return found


@dataclass(slots=True)
class Writing:
    """A step that reads one token of each row, and gives the scores of the next."""

    parts: list[Part]
    latents: LatentTap | None = None

    def attend(
        self,
        module: Any,  # noqa: ANN401 - an attention layer of transformers
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        """Store keys and values, and attend to all of each row; ``[1, N, heads, width]``."""
        layer = module.layer_idx
        queries_N = query[0].transpose(0, 1)
        if self.latents is not None:
            states = [self.latents.states(layer)]
            queries_N, expand = absorbed(module, queries_N)
        else:
            states, expand = [key[0], value[0]], None
        output_N = queries_N.new_zeros(*queries_N.shape[:2], value.shape[-1])
        for part in self.parts:
            attended = _attend(part, layer, queries_N[part.rows], states, scale)
            output_N[part.rows] = attended if expand is None else expand(attended)
        return output_N[None]


def _attend(
    part: Part, layer: int, queries_B: torch.Tensor, states: Sequence[torch.Tensor], scale: float
) -> torch.Tensor:
    """Queries ``[B, heads, width]`` of a lane's rows over all that they hold."""
    rows, heads = queries_B.shape[0], states[0].shape[0]
    group = queries_B.shape[1] // heads
    everyone = torch.arange(rows, device=queries_B.device)
    places = part.places.to(queries_B.device)
    buffers = part.lane.buffers(layer, states)
    for buffer, new in zip(buffers, states, strict=True):
        buffer[everyone, :, places] = new[:, part.rows].transpose(0, 1)
    flat = [buffer[:rows].flatten(0, 1)[:, : part.tokens] for buffer in buffers]
    grouped = queries_B.reshape(rows * heads, group, -1)
    mask = part.mask(heads, grouped)
    scores = torch.baddbmm(mask, grouped, flat[0].transpose(1, 2), alpha=scale)
    weights = scores.softmax(dim=-1, dtype=torch.float32).to(grouped.dtype)
    return torch.bmm(weights, flat[-1]).view(rows, heads * group, -1)


def row_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    row_step: Reading | Writing | None = None,
    **kwargs: Any,  # noqa: ANN401 - whatever else transformers hands over
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Attention of a step; plain sdpa where somebody else calls the model.

    Args:
        module: The attention layer that calls.
        query: ``[1, heads, N, width]``.
        key: ``[1, key_value_heads, N, width]``, of the new tokens.
        value: As ``key``; its width may be another.
        attention_mask: As sdpa takes it; not looked at in a step.
        scaling: Factor on the scores; ``None`` is one over the root of the width.
        row_step: The step.
        kwargs: What else sdpa takes.

    Returns:
        ``[1, N, heads, width of values]`` and no attention weights.
    """
    if row_step is None:
        width = value.shape[-1]
        value = functional.pad(value, (0, key.shape[-1] - width))
        output, weights = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **kwargs
        )
        return output[..., :width], weights
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    return row_step.attend(module, query, key, value, scale), None


AttentionInterface.register(ROWS, row_attention)
AttentionMaskInterface.register(ROWS, sdpa_mask)
