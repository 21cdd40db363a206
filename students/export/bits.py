"""bitsandbytes: a folder whose linear layers are held in 4 or 8 bits."""

from pathlib import Path

import torch
from transformers import BitsAndBytesConfig

from engine.folder import load_folder, quiet_transformers
from students.export.plan import Format
from students.export.safetensors_out import SHARD_BYTES


def write_quantised(whole: Path, folder: Path, format_: Format) -> None:
    """Load a model folder in fewer bits and save it so; the tokenizer is left to the caller.

    Args:
        whole: A model that is not quantised.
        folder: Exists; weights and configs are added.
        format_: ``"nf4"`` or ``"int8"``.

    Raises:
        ModelError: If the model cannot be loaded.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    loaded = load_folder(
        whole, dtype=torch.bfloat16, device=device, quantization=quantization(format_)
    )
    with quiet_transformers():
        loaded.model.save_pretrained(folder, max_shard_size=SHARD_BYTES)


def quantization(format_: Format) -> BitsAndBytesConfig:
    """What bitsandbytes is told; the output layer and norms stay whole."""
    if format_ == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
    )
