"""An adapter as a student: its base, with the adapter merged into the weights in memory."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from distill.errors import ModelError

if TYPE_CHECKING:
    from distill.types import Completer
    from engine.folder import LoadedModel

CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter and no whole model."""
    return (folder / CONFIG).is_file() and not (folder / "config.json").is_file()


def base_of(folder: Path, base: Path | None = None) -> Path:
    """The base that an adapter sits on: the one that is named, else the one that it names.

    Raises:
        ModelError: If neither is a folder here.
    """
    if base is not None:
        if not base.is_dir():
            raise ModelError(f"{base}: no such folder; it should hold the base of {folder}")
        return base
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        named = str(config.get("base_model_name_or_path") or "")
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"{folder / CONFIG}: cannot be read: {error}") from None
    for place in (Path(named), folder / named):
        if named and place.is_dir():
            return place
    told = f"it names '{named}', which is no folder here" if named else "it does not name it"
    raise ModelError(
        f"{folder}: this is an adapter, and its base is not known: {told}",
        hint="say where the base is: --base FOLDER",
    )


def load_adapted(folder: Path, base: Path | None = None) -> "LoadedModel":
    """Load an adapter's base with the adapter merged into its weights.

    Args:
        folder: As peft writes it; weights as safetensors.
        base: Folder of the base, if the adapter does not know it.

    Raises:
        ModelError: If the adapter or its base is missing, broken, or they do not fit.
    """
    from students.adapters import load_adapter, merge_adapter
    from students.load import load_student

    if not (folder / _WEIGHTS).is_file():  # without it, peft would read a pickle
        raise ModelError(f"{folder}: the adapter's weights are missing: {_WEIGHTS}")
    loaded = load_student(base_of(folder, base))
    return replace(loaded, model=merge_adapter(load_adapter(loaded, folder)).eval())


def build_adapted(
    folder: Path, *, base: Path | None = None, batch_size: int, name: str | None = None
) -> "Completer":
    """Load an adapter on its base as something that completes prompts.

    Args:
        folder: As peft writes it; weights as safetensors.
        base: Folder of the base, if the adapter does not know it.
        batch_size: Completions that are decoded at once.
        name: What traces call the model; by default the folder's name.

    Raises:
        ModelError: If the adapter or its base is missing, broken, or they do not fit.
    """
    from distill.digest import sha256_file
    from engine.completer import LocalCompleter
    from engine.folder import folder_fingerprint

    base = base_of(folder, base)
    loaded = load_adapted(folder, base)
    hashes = [sha256_file(folder / one) for one in (_WEIGHTS, CONFIG)]
    return LocalCompleter(
        loaded.model,
        loaded.tokenizer,
        name=name or folder.name,
        fingerprint="+".join(one[:16] for one in [*hashes, folder_fingerprint(base)]),
        batch_size=batch_size,
    )
