"""LLaMA-Factory on the documents, neat packing; started by ``train_peers.py`` where that is."""

import sys
from pathlib import Path
from typing import Any

import torch
from documents import LEARNING_RATE, ROW_TOKENS, ROWS_PER_STEP
from llamafactory.train.sft import workflow
from llamafactory.train.tuner import run_exp
from timing import StepClock


def main(folder: Path, *, keeps_activations: bool) -> None:
    """Train one epoch and print the figures."""
    torch.set_num_threads(1)
    clock = StepClock()
    seen: dict[str, Any] = {}

    class Trainer(workflow.CustomSeq2SeqTrainer):  # type: ignore[misc]
        """Theirs, remembered: ``run_exp`` gives nothing back."""

        def __init__(self, **kwargs: object) -> None:
            super().__init__(**kwargs)
            seen["trainer"] = self

    workflow.CustomSeq2SeqTrainer = Trainer
    settings = {
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "full",
        "model_name_or_path": str(folder / "base"),
        "dataset_dir": str(folder),
        "dataset": "documents",
        "template": "empty",
        "cutoff_len": ROW_TOKENS,
        "packing": True,
        "neat_packing": True,
        "flash_attn": "sdpa",
        "disable_gradient_checkpointing": keeps_activations,
        "output_dir": "llama_factory",
        "num_train_epochs": 1,
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": ROWS_PER_STEP,
        "learning_rate": LEARNING_RATE,
        "lr_scheduler_type": "cosine",
        "use_cpu": True,
        "save_strategy": "no",
        "report_to": "none",
        "logging_steps": 1,
        "disable_tqdm": True,
        "overwrite_cache": True,
    }
    run_exp(settings, callbacks=[clock])
    trainer = seen["trainer"]
    # In a packed row of theirs the mask numbers the documents from 1; 0 is padding.
    tokens = sum(sum(part > 0 for part in row) for row in trainer.train_dataset["attention_mask"])
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    clock.print_figures(tokens, losses[-1])


if __name__ == "__main__":
    main(Path(sys.argv[1]), keeps_activations=sys.argv[2:] == ["--keep-activations"])
