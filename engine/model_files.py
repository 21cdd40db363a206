"""The files of a model folder: which must be there, and a fingerprint of what they hold.

A folder is what transformers writes: weights as safetensors, config, tokenizer with a chat
template. This module loads no torch: it looks, it reads no weights.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from distill.errors import ModelError

_CONFIG = "config.json"
_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_TOKENIZER = "tokenizer.json"
EXPECTED = f"{_CONFIG}, {_WEIGHTS} (or its shards with {_INDEX}), {_TOKENIZER}"
# What an answer depends on; a model card may change without a new fingerprint.
_HASHED = (_CONFIG, "generation_config.json", _TOKENIZER, "tokenizer_config.json")
_HASHED_TEMPLATE = "chat_template.jinja"


def check_folder(folder: Path) -> None:
    """Check that all files of a model are there.

    Raises:
        ModelError: Naming what is missing and what is expected.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such folder", hint=f"a model folder holds {EXPECTED}")
    if not (folder / _CONFIG).is_file() and (folder / "adapter_config.json").is_file():
        raise ModelError(
            f"{folder}: this is an adapter, not a model",
            hint="give the folder of the merged model, which holds config.json",
        )
    missing = [name for name in (_CONFIG, _TOKENIZER) if not (folder / name).is_file()]
    missing += [name for name in weight_files(folder) if not (folder / name).is_file()]
    if missing:
        hint = f"a model folder holds {EXPECTED}"
        if pickled := next(folder.glob("*.bin"), None):
            hint += f"; {pickled.name} is a pickle, which could run code and is never read"
        raise ModelError(
            f"{folder}: not a whole model folder, missing: {', '.join(missing)}", hint=hint
        )


def folder_fingerprint(folder: Path) -> str:
    """Hash of everything in a model folder that an answer depends on."""
    return _fingerprint(folder, [*_HASHED, _HASHED_TEMPLATE, *weight_files(folder)])


def weights_fingerprint(folder: Path) -> str:
    """Hash of the weights alone, whatever template or tokenizer lies beside them."""
    return _fingerprint(folder, weight_files(folder))


def _fingerprint(folder: Path, names: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for name in sorted(names):
        path = folder / name
        if path.is_file():
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{name}:{content}\n".encode())
    return digest.hexdigest()[:16]


def weight_files(folder: Path) -> list[str]:
    """Names of the safetensors files that a model folder must hold.

    Raises:
        ModelError: If its index of them is broken.
    """
    index = folder / _INDEX
    if not index.is_file():
        return [_WEIGHTS]
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        return sorted(set(weight_map.values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModelError(f"{index}: not an index of weights: {error}") from error
