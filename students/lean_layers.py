"""The norms and MLPs of a model as layers that keep less for the backward pass.

Each computes what transformers' own does, with the same weights under the same names. Theirs are
chains of operations, of which autograd keeps each result; these keep the inputs and work the rest
out again:

    RMSNorm    x, 1 / rms          not  x / rms
    MLP        gate, up            not  silu(gate)

Models with other norms or MLPs keep their own.
"""

from typing import Any

import torch
from torch import nn
from torch.nn.functional import silu
from transformers import PreTrainedModel
from transformers.activations import SiLUActivation
from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm
from transformers.models.qwen2.modeling_qwen2 import Qwen2MLP, Qwen2RMSNorm
from transformers.models.qwen3.modeling_qwen3 import Qwen3MLP, Qwen3RMSNorm

_NORMS = (LlamaRMSNorm, Qwen2RMSNorm, Qwen3RMSNorm)
_MLPS = (LlamaMLP, Qwen2MLP, Qwen3MLP)


def make_lean(model: PreTrainedModel) -> None:
    """Put lean layers in the place of those that compute the same."""
    layer: Any
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) in _NORMS:
                setattr(parent, name, LeanNorm(layer.weight, layer.variance_epsilon))
            elif type(layer) in _MLPS and isinstance(layer.act_fn, SiLUActivation):
                setattr(parent, name, LeanMlp(layer.gate_proj, layer.up_proj, layer.down_proj))


class LeanNorm(nn.Module):
    """RMSNorm: ``weight * x / rms(x)``, in fp32."""

    def __init__(self, weight: nn.Parameter, epsilon: float) -> None:
        """Take over a norm's weight."""
        super().__init__()
        self.weight = weight
        self.epsilon = epsilon

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise over the last dimension."""
        normed: torch.Tensor = _Norm.apply(x, self.weight, self.epsilon)  # type: ignore[no-untyped-call]
        return normed


class LeanMlp(nn.Module):
    """``down(silu(gate(x)) * up(x))``."""

    def __init__(self, gate_proj: nn.Module, up_proj: nn.Module, down_proj: nn.Module) -> None:
        """Take over an MLP's matrices."""
        super().__init__()
        self.gate_proj = gate_proj
        self.up_proj = up_proj
        self.down_proj = down_proj

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Widen, gate, narrow."""
        gated = _Gated.apply(self.gate_proj(x), self.up_proj(x))  # type: ignore[no-untyped-call]
        narrowed: torch.Tensor = self.down_proj(gated)
        return narrowed


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's context takes any attribute
        x: torch.Tensor,
        weight_D: torch.Tensor,
        epsilon: float,
    ) -> torch.Tensor:
        x_fp32 = x.float()
        inverse_rms = x_fp32.square().mean(-1, keepdim=True).add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, weight_D, inverse_rms)
        return weight_D * (x_fp32 * inverse_rms).to(x.dtype)

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401 - torch's context takes any attribute
        grad: torch.Tensor,
    ) -> tuple[torch.Tensor | None, ...]:
        x, weight_D, inverse_rms = ctx.saved_tensors
        normed = x.float() * inverse_rms
        weight_grad_D = None
        if ctx.needs_input_grad[1]:
            weight_grad_D = (grad * normed.to(x.dtype)).flatten(0, -2).sum(0).to(weight_D.dtype)
        scaled = (grad * weight_D).float()
        # The rms grows with x along x itself: that part of the gradient goes.
        along = (scaled * normed).mean(-1, keepdim=True)
        x_grad = scaled.addcmul_(normed, along, value=-1).mul_(inverse_rms)
        return x_grad.to(x.dtype), weight_grad_D, None


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's context takes any attribute
        gate: torch.Tensor,
        up: torch.Tensor,
    ) -> torch.Tensor:
        ctx.save_for_backward(gate, up)
        return silu(gate).mul_(up)

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401 - torch's context takes any attribute
        grad: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        gate, up = ctx.saved_tensors
        gate_grad = torch.ops.aten.silu_backward(grad * up, gate)
        return gate_grad, silu(gate).mul_(grad)
