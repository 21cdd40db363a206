"""``Muon``: orthogonalised momentum for the matrices inside the blocks, AdamW for the rest.

One optimizer, so that a checkpoint holds one state and a recipe one learning rate: Muon's updates
are scaled to the size of AdamW's (Liu et al. 2025, "Muon is scalable for LLM training",
arXiv:2502.16982, section 2.2). A small student learns more from the same number of steps;
docs/log.md has the figures.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from engine.making.optimizer import is_muon_matrix, orthogonalise

# Root mean square of an AdamW update, by which Muon's is scaled.
_ADAM_RMS = 0.2
_EPSILON = 1e-8


class Muon(torch.optim.Optimizer):
    """Two groups of parameters: ``is_matrix`` true and false."""

    def __init__(
        self,
        named_parameters: Iterable[tuple[str, nn.Parameter]],
        *,
        lr: float,
        weight_decay: float,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.95),
    ) -> None:
        """Share out the parameters.

        Args:
            named_parameters: Of the model; those that need no gradient are left out.
            lr: Peak learning rate of both groups.
            weight_decay: Decoupled, of every parameter with two dimensions.
            momentum: Of the matrices.
            betas: AdamW's, of the rest.
        """
        matrices: list[nn.Parameter] = []
        rest: list[nn.Parameter] = []
        for name, param in named_parameters:
            if param.requires_grad:
                (matrices if is_muon_matrix(name, param) else rest).append(param)
        groups = [
            {"params": params, "is_matrix": is_matrix}
            for params, is_matrix in ((matrices, True), (rest, False))
            if params
        ]
        defaults = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "betas": betas}
        super().__init__(groups, defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            update = self._muon if group["is_matrix"] else self._adamw
            for param in group["params"]:
                if param.grad is None:
                    continue
                if param.ndim > 1:
                    param.mul_(1 - group["lr"] * group["weight_decay"])
                update(param, param.grad, group)

    def _muon(self, param: nn.Parameter, grad: torch.Tensor, group: dict[str, Any]) -> None:
        lr, momentum = group["lr"], group["momentum"]
        state = self.state[param]
        if not state:
            state["momentum"] = torch.zeros_like(param)
        mean = state["momentum"].lerp_(grad, 1 - momentum)
        update = orthogonalise(grad.lerp(mean, momentum))
        param.add_(update, alpha=-lr * _ADAM_RMS * max(param.shape) ** 0.5)

    def _adamw(self, param: nn.Parameter, grad: torch.Tensor, group: dict[str, Any]) -> None:
        lr, betas = group["lr"], group["betas"]
        state = self.state[param]
        if not state:
            state["step"] = 0
            state["mean"], state["square"] = torch.zeros_like(param), torch.zeros_like(param)
        state["step"] += 1
        mean_share, square_share = (1 - beta ** state["step"] for beta in betas)
        mean = state["mean"].lerp_(grad, 1 - betas[0])
        square = state["square"].mul_(betas[1]).addcmul_(grad, grad, value=1 - betas[1])
        size = (square / square_share).sqrt_().add_(_EPSILON)
        param.addcdiv_(mean, size, value=-lr / mean_share)
