"""Attention that stays inside each example of a packed row.

A packed row holds several examples one after the other, ``[1, T]``:

    tokens     [a a a b b c]
    positions  [0 1 2 0 1 0]
    cu_seq_lens_q  [0, 3, 5, 6]

Each example attends to itself alone, as if it were the only one in the row. No mask of ``T x T`` is
made and nothing is padded: queries, keys and values are split at the boundaries. Importing this
module registers the function with transformers under ``PER_EXAMPLE``; on a GPU with flash-attn,
``"flash_attention_2"`` takes the same keyword arguments from ``packed_inputs``.

This module knows nothing of tokens, loss or training.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from distill.errors import ModelError

PER_EXAMPLE = "per_example"


def packed_inputs(lengths: Sequence[int], device: torch.device | str = "cpu") -> dict[str, Any]:
    """Keyword arguments that tell a model where the examples of a row begin and end.

    The names are those of transformers' flash attention, so that either implementation works.

    Args:
        lengths: Tokens of each example, in the order of the row.
        device: Where the model is.

    Example:
        >>> packed_inputs([3, 1])["position_ids"]
        tensor([[0, 1, 2, 0]])
        >>> packed_inputs([3, 1])["cu_seq_lens_q"]
        tensor([0, 3, 4], dtype=torch.int32)
    """
    sizes = torch.tensor(lengths, device=device)
    ends = sizes.cumsum(0)
    starts = (ends - sizes).repeat_interleave(sizes)
    positions = torch.arange(starts.numel(), device=device) - starts
    boundaries = torch.cat([ends.new_zeros(1), ends]).to(torch.int32)
    return {
        "position_ids": positions[None],
        "cu_seq_lens_q": boundaries,
        "cu_seq_lens_k": boundaries,
        "max_length_q": max(lengths),
        "max_length_k": max(lengths),
    }


def per_example_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    position_ids: torch.Tensor | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    **_kwargs: object,
) -> tuple[torch.Tensor, None]:
    """Causal attention within each example of one packed row; plain sdpa for anything else.

    Args:
        module: The attention layer that calls.
        query: ``[1, heads, T, head_dim]``.
        key: ``[1, key_value_heads, T, head_dim]``; heads may be fewer than the query's.
        value: As ``key``.
        attention_mask: ``None`` for a packed row.
        dropout: Share of attention weights dropped in training.
        scaling: Factor on the scores; ``None`` is one over the root of ``head_dim``.
        sliding_window: How far the layer looks back; ``None`` is to the start.
        position_ids: Where an example starts (at 0), if ``cu_seq_lens_q`` does not tell.
        cu_seq_lens_q: Boundaries of the examples, as in ``packed_inputs``.

    Returns:
        ``[1, T, heads, head_dim]`` and no attention weights.

    Raises:
        ModelError: If the model's sliding window is shorter than an example.
    """
    rows, tokens = query.shape[0], query.shape[2]
    if attention_mask is not None or rows != 1 or key.shape[2] != tokens:
        output, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling
        )
        return output, None
    lengths = _example_lengths(tokens, position_ids, cu_seq_lens_q)
    if sliding_window is not None and max(lengths) > sliding_window:
        raise ModelError(
            f"the model looks back {sliding_window} tokens only, an example has {max(lengths)}",
            hint="set train.seq_len to the window at most, or choose a model without one",
        )
    # split and cat are each other's backward: no slice is padded back to the row with zeros.
    outputs = [
        scaled_dot_product_attention(
            query_part,
            key_part,
            value_part,
            dropout_p=dropout,
            scale=scaling,
            is_causal=True,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        for query_part, key_part, value_part in zip(
            torch.split(query, lengths, dim=2),
            torch.split(key, lengths, dim=2),
            torch.split(value, lengths, dim=2),
            strict=True,
        )
    ]
    return torch.cat(outputs, dim=2).transpose(1, 2), None


def _example_lengths(
    tokens: int, position_ids: torch.Tensor | None, boundaries: torch.Tensor | None
) -> list[int]:
    """Lengths of the examples in a row of ``tokens``: as told, else a position of 0 starts one."""
    if boundaries is None:
        if position_ids is None:
            return [tokens]
        starts = (position_ids.reshape(-1) == 0).nonzero().reshape(-1)
        boundaries = torch.cat([starts, starts.new_tensor([tokens])])
    lengths: list[int] = boundaries.diff().tolist()
    return lengths if sum(lengths) == tokens else [tokens]


def _per_example_mask(
    batch_size: int,
    *,
    q_length: int,
    kv_length: int,
    attention_mask: torch.Tensor | None = None,
    **kwargs: Any,  # noqa: ANN401 - whatever else transformers hands to a mask function
) -> torch.Tensor | None:
    """No mask for one row without padding, which is a packed row; else the mask of sdpa."""
    if batch_size == 1 and attention_mask is None and q_length == kv_length:
        return None
    mask: torch.Tensor | None = sdpa_mask(
        batch_size, q_length, kv_length, attention_mask=attention_mask, **kwargs
    )
    return mask


AttentionInterface.register(PER_EXAMPLE, per_example_attention)
AttentionMaskInterface.register(PER_EXAMPLE, _per_example_mask)
