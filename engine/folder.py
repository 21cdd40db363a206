"""Loading a model folder, without a network.

What must be in one stands in ``engine.model_files``. Code from a folder is never run and pickled
weights are never read.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.utils import logging as transformers_logging

from distill.errors import ModelError
from engine.lean_loading import lean_loading
from engine.model_files import check_folder as check_folder  # noqa: PLC0414 - known from here
from engine.model_files import folder_fingerprint as folder_fingerprint  # noqa: PLC0414

# It says on import that a faster kernel could be fetched from a model hub.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A causal language model with its tokenizer, and where they came from.

    Attributes:
        model: In evaluation mode.
        tokenizer: Its tokenizer.
        folder: Where both were read.
        stored_dtype: Precision of the weights in the folder.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    folder: Path
    stored_dtype: torch.dtype


def load_folder(
    folder: Path,
    *,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    quantization: BitsAndBytesConfig | None = None,
) -> LoadedModel:
    """Load a model in evaluation mode, and its tokenizer.

    Args:
        folder: As transformers' ``save_pretrained`` writes it.
        dtype: What the weights are converted to.
        device: Where the model goes.
        quantization: How the linear layers are held in fewer bits, if they are.

    Raises:
        ModelError: If a file is missing or broken, or the architecture is unknown.
    """
    tokenizer = load_tokenizer(folder)
    # Even None would stand in for what a quantised folder says of itself.
    chosen = {} if quantization is None else {"quantization_config": quantization}
    with _explained(folder):
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
    with lean_loading():
        model: Any = read_weights(folder, dtype=dtype, **chosen)
    stored_dtype = config.dtype or torch.float32
    return LoadedModel(model.to(device), tokenizer, folder, stored_dtype)


def read_weights(folder: Path, **chosen: Any) -> PreTrainedModel:  # noqa: ANN401
    """Read a model's weights, in evaluation mode.

    Args:
        folder: Of the model.
        chosen: Precision, places and the like, as ``from_pretrained`` takes them.

    Raises:
        ModelError: If some are missing or broken, or the architecture is unknown.
    """
    with _explained(folder), quiet_transformers():
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            **chosen,
        )
    model: PreTrainedModel = loaded[0]
    model.eval()
    if missing := sorted(map(str, loaded[1]["missing_keys"])):
        raise ModelError(
            f"{folder}: the weights lack {len(missing)} tensors, such as {missing[0]}",
            hint="copy the folder again, whole",
        )
    return model


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"{folder}: the model cannot be loaded: {error}",
            hint="the folder may be damaged, or need a newer transformers",
        ) from error


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model folder, exactly as its ``tokenizer.json`` says.

    ``AutoTokenizer`` goes by the architecture in places: for Qwen2 it splits text by Qwen2's own
    rules whatever the file says, so another tokenizer in such a folder would give other tokens.

    Raises:
        ModelError: If a file of the folder is missing or broken.
    """
    check_folder(folder)
    try:
        with quiet_transformers():
            tokenizer: PreTrainedTokenizerBase = PreTrainedTokenizerFast.from_pretrained(
                folder, local_files_only=True
            )
    # tokenizers raises bare exceptions for a file that it cannot read
    except Exception as error:
        raise ModelError(
            f"{folder}: the tokenizer cannot be loaded: {error}",
            hint="the folder may be damaged, or need a newer transformers",
        ) from error
    return tokenizer


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers' and peft's warnings and progress bars off the terminal."""
    verbosity = transformers_logging.get_verbosity()
    had_bar = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.ERROR)
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            # peft still asks models for names that transformers has deprecated
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if had_bar:
            transformers_logging.enable_progress_bar()
