"""Cross entropy at supervised positions only, with the head applied there and nowhere else.

The logits of a long row are its largest tensor by far, and most of a prompt's are never used. Here
they exist only for a chunk of supervised positions at a time, and each chunk's gradient is worked
out at once, so that no logits wait for the backward pass.

This module knows hidden states, a head and target tokens, nothing of models or examples.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch.nn.functional import cross_entropy

# Each chunk adds to the head's gradient as a whole, which small ones pay for too often (110 tokens
# at 152k words: slower than full logits); larger ones take memory. docs/log.md has the figures.
CHUNK_TOKENS = 512
# Smaller probabilities lose digits, then become 0.
_SMALLEST = torch.finfo(torch.float32).tiny


def supervised_loss(
    hidden_S_D: torch.Tensor,
    head_V_D: torch.Tensor,
    targets_S: torch.Tensor,
    weights_S: torch.Tensor,
    *,
    chunk_tokens: int = CHUNK_TOKENS,
) -> torch.Tensor:
    """Weighted *sum* of the cross entropies; divide the weights by the step's total for a mean.

    Args:
        hidden_S_D: Final hidden states at the positions before each target.
        head_V_D: Weight of the output layer; may be frozen.
        targets_S: Token ids to predict.
        weights_S: Weight of each target.
        chunk_tokens: Positions whose logits exist at the same time.

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
    for part in _chunks(len(targets_S), CHUNK_TOKENS):
        logits_C_V = torch.mm(hidden_S_D[part], head_V_D.t()).float()
        losses_C = cross_entropy(logits_C_V, targets_S[part], reduction="none")
        loss += float((losses_C * weights_S[part]).sum())
        correct += int((logits_C_V.argmax(dim=1) == targets_S[part]).sum())
    return Predictions(loss, float(weights_S.sum()), correct, len(targets_S))


def _chunks(positions: int, largest: int) -> list[slice]:
    """Positions whose logits exist at the same time; as even as can be, for small ones are slow."""
    count = math.ceil(positions / largest)
    ends = [positions * each // count for each in range(count + 1)] if count else []
    return [slice(start, end) for start, end in pairwise(ends)]


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Loss and both gradients in the forward pass; backward only scales them."""

    @staticmethod
    def forward(  # noqa: PLR0917 - torch hands them over by position
        ctx: Any,  # noqa: ANN401 - torch's context takes any attribute
        hidden_S_D: torch.Tensor,
        head_V_D: torch.Tensor,
        targets_S: torch.Tensor,
        weights_S: torch.Tensor,
        chunk_tokens: int,
    ) -> torch.Tensor:
        needs_hidden, needs_head = ctx.needs_input_grad[:2]
        dtype = _multiplied_in(hidden_S_D)
        head_in_V_D = head_V_D.to(dtype)
        hidden_grad_S_D = torch.empty_like(hidden_S_D) if needs_hidden else None
        head_grad_V_D = torch.zeros_like(head_V_D) if needs_head else None
        loss = torch.zeros((), dtype=torch.float32, device=hidden_S_D.device)
        parts = _chunks(len(targets_S), chunk_tokens)
        # Made once: fresh memory of this size for each chunk costs a quarter of its product's time.
        size = (max((part.stop - part.start for part in parts), default=0), len(head_V_D))
        room_C_V = torch.empty(size, dtype=dtype, device=hidden_S_D.device)
        for part in parts:
            hidden_C_D, targets_C = hidden_S_D[part], targets_S[part]
            weights_C_1 = weights_S[part, None].float()
            # Logits, then probabilities, then their gradient, all in the same memory.
            room = room_C_V[: len(targets_C)]
            logits_C_V = torch.mm(hidden_C_D.to(dtype), head_in_V_D.t(), out=room).float()
            chances_C_V = torch.softmax(logits_C_V, dim=1, out=logits_C_V)
            losses_C_1 = _losses(chances_C_V, targets_C, hidden_C_D, head_V_D)[:, None]
            loss += (losses_C_1 * weights_C_1).sum()
            if not (needs_hidden or needs_head):
                continue
            # d loss / d logits = weight * (softmax - one at the target); the weight is multiplied
            # into the states, which are few beside the logits.
            grad_C_V = chances_C_V.scatter_add_(1, targets_C[:, None], -torch.ones_like(losses_C_1))
            grad_C_V = room.copy_(grad_C_V)  # in fp32 it is there already
            if hidden_grad_S_D is not None:
                hidden_grad_S_D[part] = torch.mm(grad_C_V, head_in_V_D) * weights_C_1
            if head_grad_V_D is not None:
                weighted_C_D = (hidden_C_D * weights_C_1).to(dtype)
                if head_grad_V_D.dtype == dtype:
                    head_grad_V_D.addmm_(grad_C_V.t(), weighted_C_D)
                else:
                    head_grad_V_D.add_(torch.mm(grad_C_V.t(), weighted_C_D))
            del logits_C_V, chances_C_V, grad_C_V  # or they would be there beside the next chunk's
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


def _losses(
    chances_C_V: torch.Tensor,
    targets_C: torch.Tensor,
    hidden_C_D: torch.Tensor,
    head_V_D: torch.Tensor,
) -> torch.Tensor:
    """Cross entropies ``[C]`` from the probabilities, even where one is too small for fp32."""
    chances_C = chances_C_V.gather(1, targets_C[:, None])[:, 0]
    losses_C = -chances_C.log()
    lost = chances_C < _SMALLEST
    if bool(lost.any()):
        logits_L_V = (hidden_C_D[lost] @ head_V_D.t()).float()
        losses_C[lost] = cross_entropy(logits_L_V, targets_C[lost], reduction="none")
    return losses_C


def _multiplied_in(hidden: torch.Tensor) -> torch.dtype:
    """The precision that autocast would choose, which does not reach into our own backward."""
    kind = hidden.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
