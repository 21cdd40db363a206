"""Muon for matrices, AdamW for the rest: what trains very small models fastest on a CPU.

Muon (Keller Jordan et al. 2024, https://kellerjordan.github.io/posts/muon) replaces the momentum
of a matrix by the nearest semi-orthogonal one, found by a few Newton-Schulz steps. Embeddings,
output head, norms and routers are no such maps and keep AdamW.
"""

from collections.abc import Iterable

import torch
from torch import nn

# Coefficients of the quintic iteration, chosen by its author for speed near zero.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_NOT_FOR_MUON = ("embed_tokens", "lm_head", "gate.weight", "norm", "bias")


def orthogonalise(matrix_M_N: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Nearest semi-orthogonal matrix, roughly: all singular values near 1.

    Takes ``[M, N]`` or a stack ``[E, M, N]``, one per expert.
    """
    x: torch.Tensor = matrix_M_N / (matrix_M_N.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    is_tall = x.shape[-2] > x.shape[-1]
    if is_tall:
        x = x.mT
    for _ in range(steps):
        gram = x @ x.mT
        x = _A * x + (_B * gram + _C * gram @ gram) @ x
    return x.mT if is_tall else x


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised. One group of matrices ``[M, N]`` or stacks ``[E, M, N]``."""

    def __init__(
        self, params: Iterable[nn.Parameter], lr: float, momentum: float = 0.95, decay: float = 0.01
    ) -> None:
        """Take the matrices; ``decay`` is decoupled weight decay."""
        super().__init__(params, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient."""
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is None:
                    continue
                state = self.state[param]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(param)
                buffer = state["momentum"].lerp_(param.grad, 1 - group["momentum"])
                update = orthogonalise(param.grad.lerp(buffer, group["momentum"]))
                rows, columns = param.shape[-2:]
                param.mul_(1 - group["lr"] * group["decay"])
                param.add_(update, alpha=-group["lr"] * max(1.0, rows / columns) ** 0.5)


def is_muon_matrix(name: str, param: torch.Tensor) -> bool:
    """Whether a parameter maps one hidden space to another, the kind that Muon is for."""
    return param.ndim > 1 and not any(part in name for part in _NOT_FOR_MUON)


def make_optimizers(
    model: nn.Module, *, muon_lr: float, adam_lr: float
) -> tuple[Muon, torch.optim.AdamW]:
    """Share out the parameters: matrices inside the blocks to Muon, the rest to AdamW."""
    matrices: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, param in model.named_parameters():
        (matrices if is_muon_matrix(name, param) else rest).append(param)
    adam = torch.optim.AdamW(rest, lr=adam_lr, betas=(0.9, 0.95), weight_decay=0.0)
    return Muon(matrices, lr=muon_lr), adam
