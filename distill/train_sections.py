"""The section of stage ``train``: how the student learns."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from distill.section import Section

Method = Literal["full", "lora"]
Optimizer = Literal["adamw", "muon"]

# Full: the published runs of 1.5B to 7B lie at 4e-5 to 1e-4, larger ones lower. LoRA: ten times as
# much ("LoRA Without Regret", 2025).
_LEARNING_RATES: Final[Mapping[Method, float]] = {"full": 5e-5, "lora": 5e-4}


class LoraSection(Section):
    """The adapter, when `train.method` is `lora`; it sits on all linear layers."""

    r: int = Field(default=32, ge=1, le=1024)
    """Rank."""

    alpha: int = Field(default=64, ge=1)
    """The update is scaled by alpha / r."""

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the adapter's inputs that is dropped in training."""


def _default_learning_rate(values: dict[str, Any]) -> float:
    return _LEARNING_RATES[values["method"]]


class TrainSection(Section):
    """Stage `train`: supervised fine-tuning of the student on the kept traces."""

    method: Method = "full"
    """Train all weights, or a LoRA adapter that is merged at the end."""

    learning_rate: float = Field(default_factory=_default_learning_rate, gt=0, le=1)
    """Peak learning rate; 5e-5 for `full` and 5e-4 for `lora` unless given."""

    optimizer: Optimizer = "adamw"
    """`muon` orthogonalises updates of matrices: a small student learns more per step."""

    epochs: int = Field(default=3, ge=1)
    """Passes over the examples."""

    order: Literal["shuffled", "as_given"] = "shuffled"
    """Order of the examples in each pass; `as_given` keeps a cold start or a curriculum."""

    warmup_share: float = Field(default=0.03, ge=0, lt=1)
    """Share of the steps in which the learning rate rises to its peak."""

    final_lr_share: float = Field(default=0.1, ge=0, le=1)
    """Share of the peak that the learning rate falls to by the end, along a cosine."""

    weight_decay: float = Field(default=0.0, ge=0, le=1)
    """Decay of matrices; norms and biases have none."""

    batch_tokens: int = Field(default=65_536, ge=1)
    """Tokens per step, about."""

    seq_len: int = Field(default=16_384, ge=8)
    """Tokens of a packed row; the longest example that can be trained on."""

    too_long: Literal["drop", "error"] = "drop"
    """What to do with an example of more than `seq_len` tokens; it is never cut."""

    lora: LoraSection = LoraSection()
    """Shape of the adapter."""

    checkpoint_every_steps: int = Field(default=50, ge=1)
    """A run that was stopped goes on from its last checkpoint."""

    @model_validator(mode="after")
    def _a_step_holds_a_row(self) -> "TrainSection":
        if self.batch_tokens < self.seq_len:
            raise PydanticCustomError(
                "contradiction",
                "batch_tokens = {batch_tokens} is less than one row of seq_len = {seq_len}",
                {"batch_tokens": self.batch_tokens, "seq_len": self.seq_len},
            )
        return self
