"""Routed experts on a CPU, so that a token's result does not depend on the tokens beside it.

Each expert gets its tokens in one product, never fewer than four of them: below that CPU libraries
add in another order. A token's experts are summed in the order of its own choice.
"""

from typing import Any

import torch
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

EXPERTS = "engine_experts"
_LEAST_ROWS = 4


def set_experts(model: PreTrainedModel) -> None:
    """Use these experts where a model's own lie in the usual layout, on a CPU."""
    if model.device.type == "cpu" and all(map(_is_usual, model.modules())):
        try:
            model.set_experts_implementation(EXPERTS)
        except (ValueError, AttributeError):  # a model without routed experts
            return


def row_experts(
    module: Any,  # noqa: ANN401 - an experts layer of transformers
    hidden_N_H: torch.Tensor,
    top_k_index_N_K: torch.Tensor,
    top_k_weights_N_K: torch.Tensor,
) -> torch.Tensor:
    """What the chosen experts of each token give, weighted and summed, ``[N, H]``.

    Over several ranks each has experts of its own, and only they count: the number after the last
    of them stands for any other.
    """
    chosen = top_k_index_N_K.reshape(-1)
    order = chosen.argsort(stable=True)
    counts = chosen.bincount(minlength=module.num_experts).tolist()
    by_choice = hidden_N_H.new_zeros(len(chosen), hidden_N_H.shape[1])
    for expert, places in enumerate(order.split(counts)[: module.num_experts]):
        if count := counts[expert]:
            rows = rows_for(count, hidden_N_H.dtype)
            tokens = functional.pad(places // top_k_index_N_K.shape[1], (0, rows - count))
            gate, up = functional.linear(hidden_N_H[tokens], module.gate_up_proj[expert]).chunk(
                2, -1
            )
            result = functional.linear(module.act_fn(gate) * up, module.down_proj[expert])
            by_choice[places] = result[:count]
    weighted = by_choice.view(*top_k_index_N_K.shape, -1) * top_k_weights_N_K[..., None]
    return weighted.sum(dim=1).to(hidden_N_H.dtype)


def rows_for(count: int, dtype: torch.dtype) -> int:
    """Rows of an expert's products for so many tokens; those beyond are thrown away.

    For 16-bit numbers oneDNN makes a kernel for each size that it meets, and keeps it: a prompt of
    4,000 tokens over 64 experts in 11 layers left 900 MB of them behind, and half of its time went
    there. So the sizes are few, each at most an eighth above the next, and steps of four below 32.
    """
    if dtype == torch.float32:
        return max(count, _LEAST_ROWS)
    step = max(_LEAST_ROWS, 1 << max((count - 1).bit_length() - 4, 0))
    return -(-count // step) * step


def _is_usual(module: torch.nn.Module) -> bool:
    """Whether a module is no experts layer, or one of the layout that ``row_experts`` reads."""
    if not hasattr(module, "_is_expert_parallel"):
        return True
    flags = {"has_gate": True, "has_bias": False, "is_transposed": False, "is_concatenated": True}
    flags |= {"has_post_expert_norm": False}
    return all(getattr(module, name, wanted) == wanted for name, wanted in flags.items())


ALL_EXPERTS_FUNCTIONS.register(EXPERTS, row_experts)
