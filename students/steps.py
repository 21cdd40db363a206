"""What happens after each optimizer step: count it, tell the caller, ask for a checkpoint."""

import time
from collections.abc import Callable

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from distill.types import Progress
from students.trainer import StudentTrainer

# Saving may take this share of the time at most, however large the model.
_SAVING_SHARE = 0.05


class StepReporter(TrainerCallback):
    """Watches a trainer; holds the figures of this try when it is done.

    Attributes:
        losses: Mean loss of each step, those of earlier tries included.
        tokens: Read in this try.
        seconds: That this try has taken.
    """

    def __init__(
        self,
        on_progress: Callable[[Progress], None],
        *,
        every_steps: int,
        every_seconds: float,
    ) -> None:
        """Take whom to tell, and how far apart checkpoints may lie."""
        self._on_progress = on_progress
        self._every_steps = every_steps
        self._every_seconds = every_seconds
        self.losses: tuple[float, ...] = ()
        self.tokens = 0
        self.seconds = 0.0
        self._resumed = 0
        self._started = self._saved = time.monotonic()
        self._saving_seconds = 0.0

    def watch(self, trainer: StudentTrainer) -> None:
        """Follow this trainer's steps."""
        self._trainer = trainer
        trainer.add_callback(self)

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """Start the clock."""
        self._resumed = state.global_step
        self._started = self._saved = time.monotonic()

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """Keep the loss, tell the caller, ask for a checkpoint if one is due."""
        step = self._trainer.take_step()
        now = time.monotonic()
        self.tokens += step.tokens
        self.seconds = now - self._started
        # The log is part of a checkpoint, so a resumed run has the losses of all tries.
        state.log_history.append({"step": state.global_step, "loss": step.loss})
        self._on_progress(
            Progress(
                stage="train",
                done=state.global_step,
                total=state.max_steps,
                resumed=self._resumed,
                figures={
                    "loss": f"{step.loss:.3f}",
                    "tokens/s": f"{self.tokens / max(self.seconds, 1e-9):,.0f}",
                },
            )
        )
        wait = max(self._every_seconds, self._saving_seconds / _SAVING_SHARE)
        is_due = state.global_step % self._every_steps == 0 or now - self._saved >= wait
        if is_due or state.global_step == state.max_steps:
            self._saved = time.monotonic()
            control.should_save = True

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """Note how long saving took."""
        self._saving_seconds = time.monotonic() - self._saved

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """Collect the losses of all tries."""
        self.losses = tuple(entry["loss"] for entry in state.log_history if "loss" in entry)
