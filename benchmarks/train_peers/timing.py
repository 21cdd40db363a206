"""CPU seconds and memory of the training steps of any ``transformers.Trainer``.

The clock runs from the first step to the end of the last one: no imports, no loading, no
tokenizing, no saving.
"""

import json
import os
import resource
import time
from pathlib import Path

from transformers import TrainerCallback, TrainerState


class StepClock(TrainerCallback):  # type: ignore[misc]
    """Watches a trainer; ``figures`` when it is done."""

    def __init__(self) -> None:
        """Nothing has run yet."""
        self.began = self.ended = 0.0
        self.system_began = self.system_ended = 0.0
        self.bytes_before = 0
        self.steps = 0

    def on_train_begin(
        self, args: object, state: TrainerState, control: object, **kwargs: object
    ) -> None:
        """Start."""
        self.bytes_before = _held_bytes()
        self.began, self.system_began = time.process_time(), os.times().system

    def on_step_end(
        self, args: object, state: TrainerState, control: object, **kwargs: object
    ) -> None:
        """Until here, for now."""
        self.ended, self.system_ended = time.process_time(), os.times().system
        self.steps = state.global_step

    def print_figures(self, tokens: int, loss: float) -> None:
        """One line of JSON for whoever started this process."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        figures = {
            "tokens": tokens,
            "cpu_seconds": self.ended - self.began,
            "system_seconds": self.system_ended - self.system_began,
            "steps": self.steps,
            "loss": loss,
            "peak_bytes": peak,
            "training_bytes": peak - self.bytes_before,
        }
        print(f"FIGURES {json.dumps(figures)}")


def _held_bytes() -> int:
    """Resident now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * resource.getpagesize()
