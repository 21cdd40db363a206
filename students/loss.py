"""Cross entropy at supervised positions only, with the head applied there and nowhere else.

The logits of a long row are its largest tensor by far, and most of a prompt's are never used. Here
they exist only for a chunk of supervised positions at a time, and each chunk's gradient is worked
out at once, so that no logits wait for the backward pass.

This module knows hidden states, a head and target tokens, nothing of models or examples.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import cross_entropy

# One chunk's logits hold about this many numbers. Small chunks cost: each one adds to the
# head's gradient as a whole (256-token chunks were 13 % slower than full logits at 152k words).
_CHUNK_NUMBERS = 1 << 24


def supervised_loss(
    hidden_S_D: torch.Tensor,
    head_V_D: torch.Tensor,
    targets_S: torch.Tensor,
    weights_S: torch.Tensor,
    *,
    chunk_tokens: int | None = None,
) -> torch.Tensor:
    """Weighted *sum* of the cross entropies; divide the weights by the step's total for a mean.

    Args:
        hidden_S_D: Final hidden states at the positions before each target.
        head_V_D: Weight of the output layer; may be frozen.
        targets_S: Token ids to predict.
        weights_S: Weight of each target.
        chunk_tokens: Positions whose logits exist at the same time; by default about 64 MB of them.

    Returns:
        A scalar, in fp32.
    """
    loss: torch.Tensor = _ChunkedCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden_S_D, head_V_D, targets_S, weights_S, chunk_tokens
    )
    return loss


@dataclass(frozen=True, slots=True)
class Predictions:
    """How well some targets were predicted.

    Attributes:
        loss: Weighted sum of the cross entropies.
        weight: Sum of the weights.
        correct: Targets that were the likeliest token.
        targets: How many there were.
    """

    loss: float
    weight: float
    correct: int
    targets: int


@torch.no_grad()
def judge_predictions(
    hidden_S_D: torch.Tensor,
    head_V_D: torch.Tensor,
    targets_S: torch.Tensor,
    weights_S: torch.Tensor,
) -> Predictions:
    """The same loss without gradients, and how often the target came first."""
    loss, correct = 0.0, 0
    for part in _chunks(len(targets_S), head_V_D.shape[0]):
        logits_C_V = torch.mm(hidden_S_D[part], head_V_D.t()).float()
        losses_C = cross_entropy(logits_C_V, targets_S[part], reduction="none")
        loss += float((losses_C * weights_S[part]).sum())
        correct += int((logits_C_V.argmax(dim=1) == targets_S[part]).sum())
    return Predictions(loss, float(weights_S.sum()), correct, len(targets_S))


def _chunks(positions: int, words: int, chunk_tokens: int | None = None) -> list[slice]:
    """Positions whose logits exist at the same time."""
    size = chunk_tokens or max(1, _CHUNK_NUMBERS // words)
    return [slice(start, start + size) for start in range(0, positions, size)]


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Loss and both gradients in the forward pass; backward only scales them."""

    @staticmethod
    def forward(  # noqa: PLR0917 - torch hands them over by position
        ctx: Any,  # noqa: ANN401 - torch's context takes any attribute
        hidden_S_D: torch.Tensor,
        head_V_D: torch.Tensor,
        targets_S: torch.Tensor,
        weights_S: torch.Tensor,
        chunk_tokens: int | None,
    ) -> torch.Tensor:
        needs_hidden, needs_head = ctx.needs_input_grad[:2]
        hidden_grad_S_D = torch.empty_like(hidden_S_D) if needs_hidden else None
        head_grad_V_D = torch.zeros_like(head_V_D) if needs_head else None
        loss = torch.zeros((), dtype=torch.float32, device=hidden_S_D.device)
        for part in _chunks(len(targets_S), head_V_D.shape[0], chunk_tokens):
            hidden_C_D, targets_C_1 = hidden_S_D[part], targets_S[part, None]
            weights_C_1 = weights_S[part, None].float()
            logits_C_V = torch.mm(hidden_C_D, head_V_D.t()).float()
            log_total_C_1 = logits_C_V.logsumexp(dim=1, keepdim=True)
            losses_C_1 = log_total_C_1 - logits_C_V.gather(1, targets_C_1)
            loss += (losses_C_1 * weights_C_1).sum()
            if hidden_grad_S_D is None and head_grad_V_D is None:
                continue
            # d loss / d logits = weight * (softmax - one at the target), in the logits' memory
            grad_C_V = logits_C_V.sub_(log_total_C_1).exp_().mul_(weights_C_1)
            grad_C_V.scatter_add_(1, targets_C_1, -weights_C_1)
            grad_C_V = grad_C_V.to(hidden_S_D.dtype)
            if hidden_grad_S_D is not None:
                torch.mm(grad_C_V, head_V_D, out=hidden_grad_S_D[part])
            if head_grad_V_D is not None:
                head_grad_V_D.addmm_(grad_C_V.t(), hidden_C_D)
            del logits_C_V, grad_C_V  # or they would still be there beside the next chunk's
        ctx.gradients = (hidden_grad_S_D, head_grad_V_D)
        return loss

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401 - torch's context takes any attribute
        grad: torch.Tensor,
    ) -> tuple[torch.Tensor | None, ...]:
        gradients = ctx.gradients
        ctx.gradients = None
        scaled = [None if each is None else each.mul_(grad.to(each.dtype)) for each in gradients]
        return (*scaled, None, None, None)
