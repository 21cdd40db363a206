"""FP8 checkpoints where nothing can multiply in FP8: dequantised at load, tensor by tensor.

DeepSeek stores a matrix as e4m3 with one factor for each block of 128 x 128, the blocks at the
right and lower edge cut. Transformers keeps such weights where it has an FP8 kernel; elsewhere it
dequantises, but not matrices whose sides are no multiple of the block, as DeepSeek's own have. So
this module brings a quantiser of its own, by transformers' registry.

    weight  [e4m3 e4m3 | e4m3]      scale_inv  [s00 s01]      weight_ij = e4m3_ij * s_block(i, j)
            [e4m3 e4m3 | e4m3]
"""

import importlib.util
from typing import Any, Final

import torch
from transformers.core_model_loading import ConversionOps
from transformers.quantizers.auto import register_quantization_config, register_quantizer
from transformers.quantizers.quantizer_finegrained_fp8 import FineGrainedFP8HfQuantizer
from transformers.utils.quantization_config import FineGrainedFP8Config

BLOCKS: Final = "fp8_blocks"
_SCALE: Final = "_scale_inv"
_FP8_CAPABILITY: Final = (8, 9)


def has_kernel() -> bool:
    """Whether a GPU and a kernel are there that multiply in FP8."""
    return (
        torch.cuda.is_available()
        and torch.cuda.get_device_capability() >= _FP8_CAPABILITY
        and importlib.util.find_spec("kernels") is not None
    )


def dequantised(
    weight: torch.Tensor, scale_inv: torch.Tensor, block: tuple[int, int], dtype: torch.dtype
) -> torch.Tensor:
    """A stored matrix as numbers.

    Args:
        weight: ``[..., rows, columns]`` in FP8.
        scale_inv: Factor of each block, ``[..., ceil(rows / block), ceil(columns / block)]``.
        block: Rows and columns that share a factor.
        dtype: Of the result.

    Example:
        >>> eights = torch.full((3, 3), 8.0).to(torch.float8_e4m3fn)
        >>> scales = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> dequantised(eights, scales, (2, 2), torch.float32)
        tensor([[ 8.,  8., 16.],
                [ 8.,  8., 16.],
                [24., 24., 32.]])
    """
    rows, columns = weight.shape[-2:]
    factors = scale_inv.float().repeat_interleave(block[0], dim=-2)[..., :rows, :]
    factors = factors.repeat_interleave(block[1], dim=-1)[..., :columns]
    return (weight.float() * factors).to(dtype)


class DequantiseBlocks(ConversionOps):
    """A step of transformers' loader: weights and their scales become weights."""

    def __init__(self, hf_quantizer: "BlockQuantizer") -> None:
        """Take the quantiser, which knows the size of the blocks."""
        self.hf_quantizer = hf_quantizer

    def convert(
        self,
        input_dict: dict[str, Any],
        source_patterns: list[str] | None = None,
        target_patterns: list[str] | None = None,
        *,
        full_layer_name: str | None = None,
        model: torch.nn.Module | None = None,
        **_kwargs: object,
    ) -> dict[str, Any]:
        """Dequantise each weight that has scales; others pass.

        Args:
            input_dict: Tensors by the pattern of their names, one list each.
            source_patterns: Not looked at.
            target_patterns: Not looked at.
            full_layer_name: Parameter of the model that they become.
            model: On the meta device; its parameter says the precision.
        """
        del source_patterns, target_patterns
        assert model is not None
        assert full_layer_name is not None
        dtype = model.get_parameter(full_layer_name).dtype
        rows, columns = self.hf_quantizer.quantization_config.weight_block_size
        weights: dict[str, Any] = {}
        for name, tensors in input_dict.items():
            if name.endswith((_SCALE, "activation_scale")):
                continue
            scales = input_dict.get(name + _SCALE)
            if scales is not None:
                tensors = [  # noqa: PLW2901
                    dequantised(weight, scale, (rows, columns), dtype)
                    for weight, scale in zip(_listed(tensors), _listed(scales), strict=True)
                ]
            # A single weight goes by the parameter's name: what follows renames nothing.
            weights[full_layer_name if name == "weight" else name] = tensors
        return weights


@register_quantization_config(BLOCKS)
class BlockConfig(FineGrainedFP8Config):
    """As DeepSeek's checkpoints say it, to be dequantised."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - as the checkpoint has them
        """Take what the checkpoint's config says."""
        super().__init__(**{**settings, "dequantize": True, "quant_method": BLOCKS})


@register_quantizer(BLOCKS)
class BlockQuantizer(FineGrainedFP8HfQuantizer):
    """Loads such a checkpoint as a model in the chosen precision."""

    def validate_environment(self, *args: object, **kwargs: object) -> None:
        """Nothing is needed."""

    def get_load_operations(self) -> dict[str, type[ConversionOps]]:
        """Our step in place of theirs."""
        return {"dequantize": DequantiseBlocks}


def _listed(tensors: Any) -> list[torch.Tensor]:  # noqa: ANN401 - one or several
    return tensors if isinstance(tensors, list) else [tensors]
