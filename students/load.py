"""Base models that students start from, and the student folders that training leaves."""

from pathlib import Path

import torch
from transformers import BitsAndBytesConfig, GenerationConfig, PreTrainedModel

from engine.folder import LoadedModel, load_folder, quiet_transformers
from students.base import EMBEDDED as EMBEDDED  # noqa: PLC0414 - known from here
from students.turn_end import set_pad, with_turn_end


def load_student(
    folder: Path,
    *,
    dtype: torch.dtype = torch.float32,
    quantization: BitsAndBytesConfig | None = None,
) -> LoadedModel:
    """Load a base or a trained student, on the GPU if there is one.

    Its generation config also stops at the token that ends a turn of its chat template.

    Args:
        folder: Of the model.
        dtype: What the weights are converted to.
        quantization: How the linear layers are held in fewer bits, if they are.

    Raises:
        ModelError: If the folder is not a whole model, or its chat template fails.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    loaded = load_folder(folder, dtype=dtype, device=device, quantization=quantization)
    set_pad(loaded.tokenizer)
    config = loaded.model.generation_config or GenerationConfig()
    loaded.model.generation_config = with_turn_end(loaded.tokenizer, config)
    return loaded


def save_student(model: PreTrainedModel, loaded: LoadedModel, folder: Path) -> None:
    """Write a model that any tool can load: safetensors, tokenizer, template, where to stop.

    Args:
        model: Trained weights; converted to the precision in which the base was stored.
        loaded: The base, whose tokenizer and generation config are the student's.
        folder: Exists; files are added.
    """
    model.config.use_cache = True  # off while training
    model.generation_config = loaded.model.generation_config
    torch.nn.Module.to(model, loaded.stored_dtype)
    with quiet_transformers():
        model.save_pretrained(folder)
        loaded.tokenizer.save_pretrained(folder)
