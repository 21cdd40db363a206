"""Base models that students start from, and the student folders that training leaves."""

import copy
from pathlib import Path
from typing import cast

import torch
from transformers import (
    BitsAndBytesConfig,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import CONFIG_NAME, GENERATION_CONFIG_NAME

from distill.errors import ModelError
from engine.folder import LoadedModel, load_folder, quiet_transformers
from students.base import EMBEDDED as EMBEDDED  # noqa: PLC0414 - known from here
from students.turn_end import end_ids, set_pad, turn_end, with_turn_end


def load_student(
    folder: Path,
    *,
    dtype: torch.dtype = torch.float32,
    device: str | None = None,
    quantization: BitsAndBytesConfig | None = None,
) -> LoadedModel:
    """Load a base or a trained student.

    Its generation config also stops at the token that ends a turn of its chat template.

    Args:
        folder: Of the model.
        dtype: What the weights are converted to.
        device: Where they go; by default the GPU if there is one.
        quantization: How the linear layers are held in fewer bits, if they are.

    Raises:
        ModelError: If the folder is not a whole model, or its chat template fails.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    loaded = load_folder(folder, dtype=dtype, device=device, quantization=quantization)
    _check_vocabulary(loaded)
    set_pad(loaded.tokenizer)
    config = loaded.model.generation_config or GenerationConfig()
    loaded.model.generation_config = with_turn_end(loaded.tokenizer, config)
    return loaded


def folder_end_ids(folder: Path, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Tokens that end a completion of a student in a folder, without loading its weights."""
    source = GENERATION_CONFIG_NAME if (folder / GENERATION_CONFIG_NAME).is_file() else CONFIG_NAME
    config = GenerationConfig.from_pretrained(folder, config_file_name=source)
    return end_ids(with_turn_end(tokenizer, config))


def save_student(model: PreTrainedModel, loaded: LoadedModel, folder: Path) -> None:
    """Write a model that any tool can load: safetensors, tokenizer, template, where to stop.

    Args:
        model: Trained weights; converted to the precision in which the base was stored.
        loaded: The base, whose tokenizer and generation config are the student's.
        folder: Exists; files are added.
    """
    tokenizer = copy.deepcopy(loaded.tokenizer)
    generation = loaded.model.generation_config
    assert generation is not None
    # Whoever asks the tokenizer or the model's config where to stop gets the same answer.
    if (end := turn_end(tokenizer)) is not None:
        tokenizer.eos_token = str(tokenizer.convert_ids_to_tokens(end))
    model.config.eos_token_id = generation.eos_token_id
    model.config.pad_token_id = generation.pad_token_id
    model.config.use_cache = True  # off while training
    model.generation_config = generation
    torch.nn.Module.to(model, loaded.stored_dtype)
    with quiet_transformers():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _check_vocabulary(loaded: LoadedModel) -> None:
    embedding = cast("torch.nn.Embedding", loaded.model.get_input_embeddings())
    rows, tokens = embedding.num_embeddings, len(loaded.tokenizer)
    if tokens > rows:
        raise ModelError(
            f"{loaded.folder}: the tokenizer has {tokens:,} tokens, the model's embedding {rows:,} "
            "rows",
            hint="the folder mixes files of two models, or tokens were added without resizing",
        )
