"""TRL's SFTTrainer on the documents, packed; started by ``train_peers.py`` in TRL's environment."""

import json
import sys
from pathlib import Path

import torch
from datasets import Dataset
from documents import LEARNING_RATE, ROW_TOKENS, ROWS_PER_STEP
from timing import StepClock
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer


def main(folder: Path, *, keeps_activations: bool) -> None:
    """Train one epoch and print the figures."""
    torch.set_num_threads(1)
    lines = (folder / "documents.jsonl").read_text(encoding="utf-8").splitlines()
    clock = StepClock()
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(folder / "base", dtype=torch.float32),
        processing_class=AutoTokenizer.from_pretrained(folder / "base"),
        train_dataset=Dataset.from_list([json.loads(line) for line in lines]),
        args=SFTConfig(
            output_dir="trl",
            packing=True,
            max_length=ROW_TOKENS,
            num_train_epochs=1,
            per_device_train_batch_size=1,
            gradient_accumulation_steps=ROWS_PER_STEP,
            gradient_checkpointing=not keeps_activations,
            learning_rate=LEARNING_RATE,
            lr_scheduler_type="cosine",
            use_cpu=True,
            bf16=False,
            save_strategy="no",
            report_to="none",
            logging_steps=1,
            disable_tqdm=True,
        ),
        callbacks=[clock],
    )
    tokens = sum(len(row) for row in trainer.train_dataset["input_ids"])
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    clock.print_figures(tokens, losses[-1])


if __name__ == "__main__":
    main(Path(sys.argv[1]), keeps_activations=sys.argv[2:] == ["--keep-activations"])
