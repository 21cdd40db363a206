"""``TrainingSettings``: what of a recipe decides how much memory training takes.

Kept apart from the recipe so that a plan loads neither pydantic nor torch: a listing makes hundreds
of plans.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from distill.train_sections import TrainSection

Method = Literal["full", "lora", "qlora"]
Precision = Literal["fp32", "mixed", "bf16"]
Activations = Literal["kept", "recomputed", "offloaded"]
Optimizer = Literal["adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit", "muon"]

# As in students.methods: from here on `activations = "auto"` recomputes. A test compares.
RECOMPUTED_PARAMETERS = 100_000_000


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How a student is trained, as far as memory goes.

    Attributes:
        method: What is trained: all weights, an adapter, or one over a base of four bits.
        length_tokens: Of a packed row; the longest example.
        batch_tokens: Of an optimizer step, over all GPUs.
        precision: ``"mixed"`` multiplies in bf16 whatever the weights are stored in.
        activations: What happens to them between forward and backward.
        optimizer: ``"paged"`` ones wait in main memory when the GPU is full.
        lora_r: Rank of an adapter.
        dora: Whether an adapter also learns the length of rows.
        gpus: Over which weights, gradients and optimizer are shared out (FSDP).
        supervised_share: Of a row's tokens that carry loss; 1 is the worst case.
    """

    method: Method = "full"
    length_tokens: int = 16_384
    batch_tokens: int = 65_536
    precision: Precision = "mixed"
    activations: Activations = "recomputed"
    optimizer: Optimizer = "adamw"
    lora_r: int = 32
    dora: bool = False
    gpus: int = 1
    supervised_share: float = 1.0

    @property
    def is_full(self) -> bool:
        """Whether all weights are trained."""
        return self.method == "full"

    @property
    def accumulates(self) -> bool:
        """Whether gradients of one row wait for the next before the optimizer's step."""
        return self.batch_tokens // (self.length_tokens * self.gpus) > 1

    @property
    def stored_bytes(self) -> int:
        """Of a weight that is not quantised, and of a number between the layers."""
        is_fine = self.precision == "fp32" or (self.precision == "mixed" and self.is_full)
        return 4 if is_fine else 2

    @property
    def compute_bytes(self) -> int:
        """Of a number that comes out of a matrix product."""
        return 4 if self.precision == "fp32" else 2


def settings_of(
    section: "TrainSection", parameters: int, *, gpus: int = 1, on_gpu: bool = True
) -> TrainingSettings:
    """What a recipe's section comes to for a student of so many parameters.

    Args:
        section: ``[train]``.
        parameters: Of the student; large ones recompute unless told otherwise.
        gpus: Over which the model is shared out.
        on_gpu: Where ``precision = "auto"`` means ``"mixed"``.
    """
    automatic: Precision = "mixed" if on_gpu else "fp32"
    is_large = parameters >= RECOMPUTED_PARAMETERS
    activations: Activations = "recomputed" if is_large else "kept"
    return TrainingSettings(
        method=section.method,
        length_tokens=section.seq_len,
        batch_tokens=section.batch_tokens,
        precision=automatic if section.precision == "auto" else section.precision,
        activations=activations if section.activations == "auto" else section.activations,
        optimizer=section.optimizer,
        lora_r=section.lora.r,
        dora=section.lora.dora,
        gpus=gpus,
    )
