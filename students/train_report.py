"""What training tells: its figures as a whole, of each stage, and of each step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from students.held_out import HeldOut


@dataclass(frozen=True, slots=True)
class StageReport:
    """One stage of a curriculum, or all of training if there is none.

    Attributes:
        name: As in the recipe; empty if there are no stages.
        examples: Trained on.
        tokens: Of one epoch, prompts included.
        trained_tokens: Of one epoch, those that carry loss.
        epochs: Passes over the examples.
        steps: Optimizer steps.
        fill_share: Of the rows' room that holds tokens.
        learning_rate: At its peak.
        final_loss: Mean over the last tenth of its steps.
        held_out: How well the model predicts what is held out, at its end.
    """

    name: str
    examples: int
    tokens: int
    trained_tokens: int
    epochs: int
    steps: int
    fill_share: float
    learning_rate: float
    final_loss: float
    held_out: HeldOut | None


@dataclass(frozen=True, slots=True)
class TrainReport:
    """What was trained and how it went.

    Attributes:
        method: ``"full"``, ``"lora"`` or ``"qlora"``.
        examples: Trained on; with several stages, the sum of theirs.
        too_long: Left out for their length.
        without_loss: Left out because all their tokens have weight 0.
        tokens: Of one epoch, prompts included; with several stages, the sum of theirs.
        trained_tokens: Of those, which carry loss.
        epochs: Passes over the examples, of the longest stage.
        steps: Optimizer steps.
        fill_share: Of the rows' room that holds tokens.
        parameters: Of the model, an adapter included.
        trained_parameters: Of those, what training changed.
        learning_rate: At its peak, the highest of all stages.
        losses: Mean over the supervised tokens of each step.
        held_out_before: How well the base predicts what is held out; ``None`` if nothing is.
        held_out_after: The same for the student.
        stages: In order; one if the recipe names none.
        seconds: Of the last try alone, if there were several.
        tokens_per_second: Useful ones, of the last try.
        mfu: Share of the GPU's speed that the model got, in the last try; ``None`` without a GPU.
        peak_memory_bytes: Of the GPU, or of the whole process without one.
    """

    method: str
    examples: int
    too_long: int
    without_loss: int
    tokens: int
    trained_tokens: int
    epochs: int
    steps: int
    fill_share: float
    parameters: int
    trained_parameters: int
    learning_rate: float
    losses: tuple[float, ...]
    held_out_before: HeldOut | None
    held_out_after: HeldOut | None
    stages: tuple[StageReport, ...]
    seconds: float
    tokens_per_second: float
    mfu: float | None
    peak_memory_bytes: int

    @property
    def final_loss(self) -> float:
        """Mean over the last tenth of the steps."""
        return tail_mean(self.losses)


def tail_mean(losses: Sequence[float]) -> float:
    """Mean of the last tenth.

    Example:
        >>> tail_mean([9.0] * 18 + [1.0, 3.0])
        2.0
    """
    last = losses[-max(1, len(losses) // 10) :]
    return sum(last) / len(last)


def step_losses(history: Sequence[Mapping[str, float]]) -> tuple[float, ...]:
    """The loss of each step of a history."""
    return tuple(entry["loss"] for entry in history)
