"""Examples that are not trained on, to see what was learnt rather than remembered.

All examples of a prompt are held out together: another trace of the same prompt would give its
answer away. Which prompts are chosen depends on their ids and the seed alone, so a student and its
controls hold out the same ones.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from students.methods import Trainable
from students.packing import pack
from students.parallel import release
from students.rows import PackedRows
from students.template import TokenizedExample

_MOST_PROMPTS = 200


@dataclass(frozen=True, slots=True)
class HeldOut:
    """How well a model predicts what it was not trained on.

    Attributes:
        examples: How many.
        tokens: Of them, those with loss.
        loss: Mean over these tokens, weighted as in training.
        token_accuracy: Share of these tokens that the model puts first.
    """

    examples: int
    tokens: int
    loss: float
    token_accuracy: float


def held_out_owners(example_ids: Sequence[str], share: float, seed: int) -> frozenset[str]:
    """Prompts that are held out, of all that the examples belong to.

    Example:
        >>> ids = [f"p{n}#{k}" for n in range(10) for k in range(2)]
        >>> owners = held_out_owners(ids, 0.2, seed=0)
        >>> len(owners), all("#" not in owner for owner in owners)
        (2, True)
    """
    owners = {owner_of(each) for each in example_ids}
    count = min(_MOST_PROMPTS, round(share * len(owners)), len(owners) - 1)

    def place(owner: str) -> bytes:
        return hashlib.sha256(f"{seed}/held-out/{owner}".encode()).digest()

    return frozenset(sorted(owners, key=place)[: max(0, count)])


def owner_of(example_id: str) -> str:
    """The prompt that an example belongs to; an example from elsewhere is its own."""
    return example_id.rpartition("#")[0] or example_id


def measure(
    trainable: Trainable, examples: Sequence[TokenizedExample], row_tokens: int
) -> HeldOut | None:
    """How well the model as it is now predicts some examples; ``None`` if there are none."""
    if not examples:
        return None
    rows = PackedRows(examples, pack([len(each) for each in examples], row_tokens))
    model = trainable.loaded.model
    device = model.device
    trainable.module.eval()
    parts = []
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=trainable.autocast):
        for index in range(len(rows)):
            row = {
                key: value.to(device) if isinstance(value, torch.Tensor) else value
                for key, value in rows[index].items()
            }
            parts.append(trainable.row_loss.judge(row))
    release(trainable.row_loss)
    targets = sum(part.targets for part in parts)
    return HeldOut(
        examples=len(examples),
        tokens=targets,
        loss=sum(part.loss for part in parts) / sum(part.weight for part in parts),
        token_accuracy=sum(part.correct for part in parts) / targets,
    )
