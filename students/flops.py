"""How many floating point operations training needs, and how many a GPU could do.

Forward: 2 per weight of a matrix and token, and in attention 4 per pair of tokens that may see each
other and element of the heads (scores and mixing, 2 each). Backward: the same once for the gradient
of the inputs, and once for that of the weights where they are trained. Embeddings are looked up,
not multiplied. What is computed twice to save memory counts once: MFU is the share of a GPU's speed
that the *model* gets (Chowdhery et al. 2022, PaLM, appendix B).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

# Dense bf16 operations per second, without sparsity, from the maker's data sheets. The first entry
# whose words all stand in a GPU's name is the one.
_PEAK_FLOPS: Final[Mapping[str, float]] = {
    "B200": 2.25e15,
    "H200": 9.89e14,
    "H100 PCIe": 7.56e14,
    "H100 NVL": 8.35e14,
    "H100": 9.89e14,
    "A100": 3.12e14,
    "L40S": 3.62e14,
    "L40": 1.81e14,
    "L4": 1.21e14,
    "A10": 1.25e14,
    "RTX 5090": 2.095e14,
    "RTX 4090": 1.652e14,
    "RTX 3090": 7.1e13,
}


@dataclass(frozen=True, slots=True)
class TrainingFlops:
    """What one model costs to train.

    Attributes:
        matrix_weights: Of all matrices that every token is multiplied with, without the head.
        trained_weights: Of those, whose gradient is worked out, adapters included.
        head_weights: Of the output layer, which supervised positions alone are multiplied with.
        is_head_trained: Whether it gets a gradient.
        attention_width: Layers times heads times head size.
    """

    matrix_weights: int
    trained_weights: int
    head_weights: int
    is_head_trained: bool
    attention_width: int

    def of_row(self, lengths: Sequence[int], supervised: int) -> float:
        """Operations of forward and backward of one packed row.

        Args:
            lengths: Tokens of each example in it.
            supervised: Positions with loss.

        Example:
            >>> TrainingFlops(100, 100, 10, True, 8).of_row([3], supervised=2)
            2496.0
        """
        tokens = sum(lengths)
        pairs = sum(length * (length + 1) // 2 for length in lengths)
        matrices = (4 * self.matrix_weights + 2 * self.trained_weights) * tokens
        head = (4 + 2 * self.is_head_trained) * self.head_weights * supervised
        return float(matrices + head + 3 * 4 * self.attention_width * pairs)


def training_flops(module: torch.nn.Module, head: torch.nn.Linear, config: Any) -> TrainingFlops:  # noqa: ANN401 - a transformers config
    """Read off a model what its training costs.

    Args:
        module: What is trained.
        head: Its output layer.
        config: Of the language model.
    """
    embedding = {id(head.weight)}
    embedding |= {
        id(each.weight) for each in module.modules() if isinstance(each, torch.nn.Embedding)
    }
    matrices = [p for p in module.parameters() if p.ndim > 1 and id(p) not in embedding]
    heads = config.num_attention_heads
    head_size = getattr(config, "head_dim", None) or config.hidden_size // heads
    return TrainingFlops(
        matrix_weights=sum(map(weights_of, matrices)),
        trained_weights=sum(p.numel() for p in matrices if p.requires_grad),
        head_weights=head.weight.numel(),
        is_head_trained=head.weight.requires_grad,
        attention_width=config.num_hidden_layers * heads * head_size,
    )


def peak_flops() -> float | None:
    """Dense bf16 operations per second of the GPU; ``None`` without one, or if it is not known."""
    if not torch.cuda.is_available():
        return None
    return known_peak_flops(torch.cuda.get_device_name())


def known_peak_flops(name: str) -> float | None:
    """The same by a GPU's name.

    Example:
        >>> known_peak_flops("NVIDIA A100-SXM4-80GB"), known_peak_flops("NVIDIA A10G")
        (312000000000000.0, None)
    """
    words = set(re.findall(r"\w+", name))
    if "Laptop" in words:
        return None
    return next((flops for key, flops in _PEAK_FLOPS.items() if set(key.split()) <= words), None)


def weights_of(param: torch.nn.Parameter) -> int:
    """How many weights a parameter stands for; one of four bits holds two in a byte."""
    state = getattr(param, "quant_state", None)
    return param.numel() if state is None else int(torch.Size(state.shape).numel())
