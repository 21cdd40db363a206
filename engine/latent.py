"""Latent attention (DeepSeek-V2 and later) in the space of the latents.

Such a model writes one short vector per token, from which the keys and values of all heads are
expanded: ``key_h = [W_h latent | rope]``, ``value_h = V_h latent``. Transformers expands all of
them again for every new token. Here the latents alone are kept and the expansion moves to the
other side of the products (DeepSeek-V2 report, section 2.1.2):

    score = query_h . W_h latent + query_rope . rope = (W_h^T query_h) . latent + ...
    output = sum_t weight_t V_h latent_t = V_h (sum_t weight_t latent_t)

So all heads attend to one and the same sequence, and a token takes ``rank + rope`` numbers.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel


class LatentTap:
    """Stands where a model expects its cache, and catches the new latents on their way."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._states: dict[int, torch.Tensor] = {}

    def update(
        self, latents: torch.Tensor, rope: torch.Tensor, layer_idx: int, *_args: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Remember a layer's new latents ``[1, 1, N, width]`` and let them through."""
        self._states[layer_idx] = torch.cat([latents, rope], dim=-1)[0]
        return latents, rope

    def states(self, layer_idx: int) -> torch.Tensor:
        """Latents and rotated keys of a layer's new tokens, ``[1, N, rank + rope]``."""
        return self._states[layer_idx]


def is_latent(model: PreTrainedModel) -> bool:
    """Whether a model has latent attention."""
    return getattr(model.config, "kv_lora_rank", None) is not None


def has_plain_expansion(model: PreTrainedModel) -> bool:
    """Whether the expanding weights can be taken apart: not quantised, not spread over devices."""
    expansions = [module for name, module in model.named_modules() if name.endswith("kv_b_proj")]
    return all(
        type(module) is nn.Linear
        and type(module.weight) is nn.Parameter
        and module.weight.is_floating_point()
        and module.weight.device.type != "meta"
        for module in expansions
    )


def absorbed(
    module: Any,  # noqa: ANN401 - an attention layer of transformers
    queries_N: torch.Tensor,
) -> tuple[torch.Tensor, Callable[[torch.Tensor], torch.Tensor]]:
    """Queries in the space of the latents, and what brings an output back from there.

    Args:
        module: The attention layer.
        queries_N: ``[N, heads, key width]``.

    Returns:
        ``[N, heads, rank + rope]``, and a function from ``[B, heads, rank + rope]`` (of which
        the last ``rope`` numbers mean nothing) to ``[B, heads, value width]``.
    """
    rank, key_width = module.kv_lora_rank, module.qk_nope_head_dim
    weight = module.kv_b_proj.weight.view(-1, key_width + module.v_head_dim, rank)
    to_key, to_value = weight.split([key_width, module.v_head_dim], dim=1)
    plain, rope = queries_N.split([key_width, module.qk_rope_head_dim], dim=-1)
    in_latents = torch.bmm(plain.transpose(0, 1), to_key).transpose(0, 1)

    def expand(attended_B: torch.Tensor) -> torch.Tensor:
        latents = attended_B[..., :rank].transpose(0, 1)
        return torch.bmm(latents, to_value.transpose(1, 2)).transpose(0, 1)

    return torch.cat([in_latents, rope], dim=-1), expand
