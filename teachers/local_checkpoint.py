"""``open_checkpoint``: all that can be wrong with a checkpoint, before one of its weights is read.

Files and headers, architecture, tokenizer, chat template. Code from a folder is never run.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from transformers import AutoConfig, PretrainedConfig, PreTrainedTokenizerBase
from transformers import __version__ as transformers_version
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from distill.errors import DataError, ModelError
from distill.local_section import LocalTeacher
from engine.folder import load_tokenizer, quiet_transformers
from teachers.fp8_blocks import BLOCKS, has_kernel
from teachers.local_folder import model_folder, model_name, read_config_file
from teachers.moe_config import Architecture, architecture_of

_DTYPES: Final = {
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float32": torch.float32,
}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that can be loaded.

    Attributes:
        name: What traces call the model.
        folder: Where it lies.
        tokenizer: With a chat template.
        config: As transformers has it; FP8 that has to be dequantised is marked so.
        dtype: Precision of the weights that are not kept in FP8.
        stored_dtype: Precision that the config names.
        is_fp8: Whether the weights are kept in FP8.
        facts: What it is built like; ``None`` if that cannot be told.
        notes: What a user should know.
    """

    name: str
    folder: Path
    tokenizer: PreTrainedTokenizerBase
    config: PretrainedConfig
    dtype: torch.dtype
    stored_dtype: torch.dtype
    is_fp8: bool
    facts: Architecture | None
    notes: tuple[str, ...]


def open_checkpoint(section: LocalTeacher) -> Checkpoint:
    """Look a local teacher's files over.

    Raises:
        ModelError: If a file is missing or broken, there is no chat template, or transformers does
            not know the architecture.
    """
    folder = model_folder(section)
    table = read_config_file(folder)
    _check_known(folder, table)
    tokenizer = load_tokenizer(folder)
    if tokenizer.chat_template is None:
        raise ModelError(
            f"{folder}: there is no chat template: how the teacher reads a prompt is unknown",
            hint="put the chat_template.jinja of the model's maker into this folder;"
            " a base model that never learnt to chat is no teacher",
        )
    config = _load_config(folder)
    is_fp8, notes = _settle_fp8(config)
    named = config.get_text_config().dtype
    stored = named if isinstance(named, torch.dtype) else torch.float32
    dtype = stored if section.dtype == "auto" else _DTYPES[section.dtype]
    facts = _facts(table, folder)
    if facts is not None and facts.experts is None:
        notes.append("not a mixture of experts: it works as a dense model")
    return Checkpoint(
        model_name(section), folder, tokenizer, config, dtype, stored, is_fp8, facts, tuple(notes)
    )


def _check_known(folder: Path, table: dict[str, Any]) -> None:
    """Refuse what transformers cannot build by itself."""
    kind = table["model_type"]
    if kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return
    if kind in CONFIG_MAPPING:
        raise ModelError(
            f"{folder}: model_type '{kind}' is no model that writes text",
            hint="a teacher must be a causal language model",
        )
    problem = f"{folder}: transformers {transformers_version} does not know model_type '{kind}'"
    if table.get("auto_map"):
        raise ModelError(
            f"{problem}, and code that comes with a model is never run here (trust_remote_code)",
            hint="serve it by a program that you trust with it, and name that as an endpoint:"
            ' teacher.kind = "api"',
        )
    raise ModelError(problem, hint="it may need a newer transformers: pip install -U transformers")


def _load_config(folder: Path) -> PretrainedConfig:
    try:
        with quiet_transformers():
            config: PretrainedConfig = AutoConfig.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{folder}/config.json: not a model's config: {error}") from error
    return config


def _settle_fp8(config: PretrainedConfig) -> tuple[bool, list[str]]:
    """Whether FP8 weights stay; where they cannot, our quantiser is put in their config."""
    settings = getattr(config, "quantization_config", None)
    if not isinstance(settings, dict) or settings.get("quant_method") != "fp8":
        return False, []
    if has_kernel():
        return True, []
    config.quantization_config = {**settings, "quant_method": BLOCKS}
    return False, ["FP8 weights are dequantised at load: nothing here multiplies in FP8"]


def _facts(table: dict[str, Any], folder: Path) -> Architecture | None:
    try:
        return architecture_of(table, folder.name, where=str(folder))
    except DataError:  # an architecture whose config has other keys
        return None
