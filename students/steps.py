"""What happens after each optimizer step: count it, tell the caller, ask for a checkpoint."""

import time
from collections.abc import Callable, Mapping

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from distill.types import Progress
from students.flops import peak_flops
from students.memory_errors import peak_memory_bytes
from students.trainer import StudentTrainer

# Saving may take this share of the time at most, however large the model.
_SAVING_SHARE = 0.05


class StepReporter(TrainerCallback):
    """Watches the trainers of all stages; holds the figures of this try when they are done.

    Attributes:
        histories: Of each stage, the figures of each step, those of earlier tries included.
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
        self.histories: list[tuple[Mapping[str, float], ...]] = []
        self.tokens = 0
        self.seconds = 0.0
        self._flops = 0.0
        self._peak_flops = peak_flops()
        self._stage = "train"
        self._resumed = 0
        self._seconds_before = 0.0
        self._started = self._saved = time.monotonic()
        self._saving_seconds = 0.0

    @property
    def mfu(self) -> float | None:
        """Share of the GPUs' speed that the model got in this try."""
        if self._peak_flops is None or not self.seconds:
            return None
        return self._flops / self.seconds / self._peak_flops / self._trainer.ranks.size

    def watch(self, trainer: StudentTrainer, stage: str = "") -> None:
        """Follow this trainer's steps; a stage of a curriculum is named in the progress."""
        self._trainer = trainer
        self._stage = f"train {stage}".rstrip()
        trainer.add_callback(self)

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """Start the clock."""
        self._trainer.check_sharding()
        self._resumed = state.global_step
        self._seconds_before = self.seconds
        self._started = self._saved = time.monotonic()

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """Keep the figures, tell the caller, ask for a checkpoint if one is due."""
        step = self._trainer.take_step()
        now = time.monotonic()
        self.tokens += step.tokens
        self._flops += step.flops
        self.seconds = self._seconds_before + now - self._started
        # The log is part of a checkpoint, so a resumed run has the figures of all tries.
        figures = {
            "loss": step.loss,
            "learning_rate": step.learning_rate,
            "gradient_norm": step.gradient_norm,
            "tokens": step.tokens,
        }
        state.log_history.append({"step": state.global_step, **figures})
        self._trainer.callback_handler.on_log(args, state, control, figures)
        self._on_progress(
            Progress(
                stage=self._stage,
                done=state.global_step,
                total=state.max_steps,
                resumed=self._resumed,
                figures=self._figures(step.loss),
            )
        )
        wait = max(self._every_seconds, self._saving_seconds / _SAVING_SHARE)
        is_due = state.global_step % self._every_steps == 0 or now - self._saved >= wait
        if self._trainer.ranks.agree(decision=is_due) or state.global_step == state.max_steps:
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
        """Collect the figures of all tries."""
        self.histories.append(tuple(entry for entry in state.log_history if "loss" in entry))

    def _figures(self, loss: float) -> dict[str, str]:
        figures = {
            "loss": f"{loss:.3f}",
            "tokens/s": f"{self.tokens / max(self.seconds, 1e-9):,.0f}",
            "memory": f"{peak_memory_bytes() / 2**30:.1f} GiB",
        }
        if self.mfu is not None:
            figures["MFU"] = f"{self.mfu * 100:.0f} %"
        return figures
