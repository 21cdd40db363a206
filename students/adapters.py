"""LoRA: attach an adapter to all linear layers, save it, merge it into the base.

All linear layers, those of the MLP included, as "LoRA Without Regret" (2025) found necessary; the
output layer is left alone.
"""

from pathlib import Path
from typing import cast

from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel

from distill.recipe import LoraSection
from engine.folder import quiet_transformers


def attach_adapter(model: PreTrainedModel, section: LoraSection) -> PeftModel:
    """Freeze the model and put a fresh adapter on it; its weights come from torch's seed."""
    config = LoraConfig(
        r=section.r,
        lora_alpha=section.alpha,
        lora_dropout=section.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    with quiet_transformers():
        return cast("PeftModel", get_peft_model(model, config))


def save_adapter(model: PeftModel, folder: Path) -> None:
    """Write the adapter as peft reads it, without peft's empty model card."""
    with quiet_transformers():
        model.save_pretrained(str(folder))
    (folder / "README.md").unlink(missing_ok=True)


def merge_adapter(model: PeftModel) -> PreTrainedModel:
    """Fold the adapter into the base and return the base; the adapter is gone from memory."""
    return cast("PreTrainedModel", model.merge_and_unload())
