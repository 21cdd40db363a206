"""TRL's SFTTrainer on the documents of ``train_gpu.py``, which starts it in TRL's environment."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from step_times import StepTimes
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback, TrainerState
from trl import SFTConfig, SFTTrainer


class _Clock(TrainerCallback):  # type: ignore[misc]
    """Counts the tokens of documents, as TRL has packed them."""

    def __init__(self, tokens_per_step: float) -> None:
        self.times = StepTimes()
        self._tokens_per_step = tokens_per_step

    def on_step_end(
        self, args: object, state: TrainerState, control: object, **kwargs: object
    ) -> None:
        """Note it."""
        self.times.add(int(self._tokens_per_step * state.global_step))


def main(folder: Path, settings: dict[str, Any]) -> None:
    """Train some steps and print the figures."""
    on_gpu = torch.cuda.is_available()
    is_full = settings["method"] == "full"
    is_fine = not on_gpu or (is_full and settings.get("precision") != "bf16")
    has_flash = on_gpu and importlib.util.find_spec("flash_attn") is not None
    model = AutoModelForCausalLM.from_pretrained(
        folder / "base",
        dtype=torch.float32 if is_fine else torch.bfloat16,
        attn_implementation="flash_attention_2" if has_flash else "sdpa",
    )
    lines = (folder / "documents.jsonl").read_text(encoding="utf-8").splitlines()
    is_8bit = settings.get("optimizer") == "adamw_8bit" and on_gpu
    trainer = SFTTrainer(
        model=model,
        processing_class=AutoTokenizer.from_pretrained(folder / "base"),
        train_dataset=Dataset.from_list([json.loads(line) for line in lines]),
        peft_config=None if is_full else _adapter(settings),
        args=SFTConfig(
            output_dir=str(folder / "trl"),
            packing=True,
            max_length=settings["length"],
            max_steps=settings["steps"],
            per_device_train_batch_size=1,
            gradient_checkpointing=True,
            optim="adamw_bnb_8bit" if is_8bit else "adamw_torch_fused",
            use_cpu=not on_gpu,
            bf16=on_gpu,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
    )
    packed = trainer.train_dataset["input_ids"]
    clock = _Clock(sum(len(row) for row in packed) / len(packed))
    trainer.add_callback(clock)
    trainer.train()
    print(f"FIGURES {json.dumps(clock.times.figures())}")


def _adapter(settings: dict[str, Any]) -> object:
    from peft import LoraConfig

    return LoraConfig(r=settings["r"], lora_alpha=settings["alpha"], target_modules="all-linear")


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
