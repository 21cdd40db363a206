"""Routed experts on a CPU, so that a token's result does not depend on the tokens beside it.

Each expert gets its tokens in one product, never fewer than ``LEAST_ROWS`` of them: below that
CPU libraries add in another order. A token's experts are summed in the order of its own choice.
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
    sources = order // top_k_index_N_K.shape[1]
    results = []
    for expert, tokens in enumerate(sources.split(counts)[: module.num_experts]):
        if count := counts[expert]:
            padded = functional.pad(tokens, (0, max(_LEAST_ROWS - count, 0)))
            gate, up = functional.linear(hidden_N_H[padded], module.gate_up_proj[expert]).chunk(
                2, -1
            )
            result = functional.linear(module.act_fn(gate) * up, module.down_proj[expert])
            results.append(result[:count])
    by_choice = hidden_N_H.new_zeros(len(chosen), hidden_N_H.shape[1])
    if results:
        by_choice[order[: sum(counts[: module.num_experts])]] = torch.cat(results)
    weighted = by_choice.view(*top_k_index_N_K.shape, -1) * top_k_weights_N_K[..., None]
    return weighted.sum(dim=1).to(hidden_N_H.dtype)


def _is_usual(module: torch.nn.Module) -> bool:
    """Whether a module is no experts layer, or one of the layout that ``row_experts`` reads."""
    if not hasattr(module, "_is_expert_parallel"):
        return True
    flags = {"has_gate": True, "has_bias": False, "is_transposed": False, "is_concatenated": True}
    flags |= {"has_post_expert_norm": False}
    return all(getattr(module, name, wanted) == wanted for name, wanted in flags.items())


ALL_EXPERTS_FUNCTIONS.register(EXPERTS, row_experts)
