"""Fast decoding for models with latent attention (DeepSeek-V2 and later).

Transformers caches the latents and expands all of them into keys and values again for every new
token, and PyTorch's fused attention refuses values that are narrower than the keys. For a small
model both cost far more than they save. Here the expanded keys and values are cached instead, the
values padded with zeros to the width of the keys: zeros in, zeros out, and cut off the result.

    past_key_values.update(latents)   passes the new latents through, stores nothing
    the model expands them            keys and values of the new tokens only
    expanded_attention                appends them to the cache and attends to all of it

The cache travels to the attention function as the model's keyword argument ``expanded_cache``.
"""

from typing import Any

import torch
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.cache_utils import Cache
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from engine.cache import GrowingLayer

EXPANDED = "expanded_latents"

# Above this the expanded cache outgrows the latents so far that memory decides, not time.
_MOST_BYTES_PER_TOKEN = 64 * 1024


class LatentLayer(GrowingLayer):
    """Keys and values of one layer, expanded; ``update`` lets the latents through."""

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        *_args: object,
        **_kwargs: object,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the new latents as they are: ``append`` stores what the model makes of them."""
        return key_states, value_states

    def append(self, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Store keys and widened values of the new tokens and return all so far."""
        widened = functional.pad(value, (0, key.shape[-1] - value.shape[-1]))
        return super().update(key, widened)


def expands_latents(model: PreTrainedModel) -> bool:
    """Whether a model has latent attention and is small enough to cache what it expands to."""
    config = model.config
    if getattr(config, "kv_lora_rank", None) is None or not hasattr(config, "qk_head_dim"):
        return False
    widths = 2 * config.qk_head_dim * config.num_attention_heads * config.num_hidden_layers
    return bool(widths * torch.finfo(model.dtype).bits // 8 <= _MOST_BYTES_PER_TOKEN)


def expanded_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    expanded_cache: Cache | None = None,
    **kwargs: Any,  # noqa: ANN401 - whatever else transformers hands over
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Scaled dot-product attention over the expanded cache; plain where there is none.

    Args:
        module: The attention layer that calls.
        query: ``[B, heads, T, qk_head_dim]``.
        key: ``[B, heads, T, qk_head_dim]``, of the new tokens.
        value: ``[B, heads, T, v_head_dim]``, of the new tokens.
        attention_mask: As sdpa takes it, over all tokens.
        expanded_cache: Where to append; its layers are ``LatentLayer``.
        kwargs: What else sdpa takes.

    Returns:
        ``[B, T, heads, v_head_dim]`` and no attention weights.
    """
    width = value.shape[-1]
    if expanded_cache is not None:
        layer_idx: Any = module.layer_idx
        layer: Any = _layer(expanded_cache, layer_idx)
        key, value = layer.append(key, value)
    output, weights = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    return output[..., :width], weights


def _layer(cache: Cache, index: int) -> LatentLayer:
    layer = cache.layers[index]
    if not isinstance(layer, LatentLayer):
        raise TypeError(f"layer {index} of the cache is a {type(layer).__name__}")
    return layer


AttentionInterface.register(EXPANDED, expanded_attention)
AttentionMaskInterface.register(EXPANDED, sdpa_mask)
