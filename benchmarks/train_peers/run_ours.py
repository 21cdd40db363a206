"""Our stage of training on the documents; started by ``train_peers.py``."""

import sys
from pathlib import Path

import torch
from documents import LEARNING_RATE, ROW_TOKENS, ROWS_PER_STEP
from timing import StepClock
from transformers import TrainerControl, TrainerState, TrainingArguments

import students.sft
from distill.data_sections import FileData
from distill.train_sections import TrainSection
from distill.training_data import open_training_data
from students.steps import StepReporter


class _Reporter(StepReporter):
    """The stage's own watcher, with the clock beside it, which stops before anything is saved."""

    clock = StepClock()

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """Start both."""
        super().on_train_begin(args, state, control, **kwargs)
        self.clock.on_train_begin(args, state, control)

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """The clock first."""
        self.clock.on_step_end(args, state, control)
        super().on_step_end(args, state, control, **kwargs)


def main(folder: Path) -> None:
    """Train one epoch and print the figures."""
    torch.set_num_threads(1)
    students.sft.StepReporter = _Reporter
    section = TrainSection(
        epochs=1,
        learning_rate=LEARNING_RATE,
        seq_len=ROW_TOKENS,
        batch_tokens=ROW_TOKENS * ROWS_PER_STEP,
        held_out_share=0.0,
        checkpoint_every_steps=1_000_000,
    )
    report = students.sft.train(
        open_training_data(FileData(path=folder / "documents.jsonl")).read(),
        folder / "base",
        section,
        Path("student"),
        Path("checkpoints"),
        seed=0,
        on_progress=lambda _: None,
        checkpoint_seconds=1e9,
    )
    _Reporter.clock.print_figures(report.tokens, report.losses[-1])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
