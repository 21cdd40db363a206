"""What the user named as the student: the folder of a run, of a model, or of an adapter.

This module reads small files only.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.errors import ModelError
from distill.layout import RunLayout
from engine.model_files import EXPECTED, check_folder
from students.export.lora import CONFIG as ADAPTER_CONFIG
from students.export.lora import MergedTensor, merged, read_config
from students.export.weights import StoredTensor, open_weights


@dataclass(frozen=True, slots=True)
class Student:
    """What is exported.

    Attributes:
        name: For files and people.
        folder: Of the model, or of the base if there is an adapter.
        adapter: Folder of the adapter that is merged; ``None`` if there is none.
        run: The run that it came from; ``None`` if it is not known.
        config: The model's ``config.json``.
        generation: Its ``generation_config.json``; empty if there is none.
    """

    name: str
    folder: Path
    adapter: Path | None
    run: RunLayout | None
    config: dict[str, Any]
    generation: dict[str, Any]

    @property
    def model_type(self) -> str:
        """Architecture, such as ``"qwen2"``."""
        return str(self.config.get("model_type", "unknown"))

    @property
    def is_tied(self) -> bool:
        """Whether the output layer is the embedding."""
        return bool(self.config.get("tie_word_embeddings"))

    @property
    def tokenizer_folder(self) -> Path:
        """Where the tokenizer lies; an adapter that added tokens brings its own."""
        own = self.adapter
        return own if own is not None and (own / "tokenizer.json").is_file() else self.folder

    def tensors(self) -> dict[str, StoredTensor | MergedTensor]:
        """Its weights by name; a tied output layer is left out.

        Raises:
            ModelError: If a file is broken, or the adapter is of another base.
        """
        stored = open_weights(self.folder)
        found: dict[str, StoredTensor | MergedTensor] = {**stored}
        if self.adapter is not None:
            found = merged(stored, self.adapter)
        if self.is_tied:
            found.pop("lm_head.weight", None)
        return found


def find_student(path: Path, *, base: Path | None = None) -> Student:
    """Look at what the user named.

    Args:
        path: Folder of a run, of a model, or of an adapter.
        base: The adapter's base, where its own record of it is wrong.

    Raises:
        ModelError: If it is none of them, or a part is missing.
    """
    path = path.resolve()
    run = _run_around(path)
    folder = path / "student" if run is not None and run.root == path else path
    if folder != path and not folder.is_dir():
        raise ModelError(
            f"{path}: this run has no student yet", hint=f"train it first: distill train {path}"
        )
    adapter = None
    name = path.name
    if (folder / ADAPTER_CONFIG).is_file() and not (folder / "config.json").is_file():
        adapter, folder = folder, _base_of(folder, base)
    elif base is not None:
        raise ModelError(f"{path}: --base is for adapters, and this is a model of its own")
    check_folder(folder)
    config = _read(folder / "config.json")
    if "quantization_config" in config:
        raise ModelError(
            f"{folder}: these weights are quantised already",
            hint="export from the weights before they were quantised",
        )
    generation = folder / "generation_config.json"
    return Student(
        name=run.root.name if run is not None and folder.name == "student" else name,
        folder=folder,
        adapter=adapter,
        run=run,
        config=config,
        generation=_read(generation) if generation.is_file() else {},
    )


def _run_around(path: Path) -> RunLayout | None:
    """The run folder that this is, or that this is the student of."""
    for root in (path, path.parent, path.parent.parent):
        layout = RunLayout(root)
        is_inside = root == path or path.is_relative_to(root / "student")
        if is_inside and layout.manifest.is_file() and layout.recipe.is_file():
            return layout
    return None


def _base_of(adapter: Path, given: Path | None) -> Path:
    """The folder of an adapter's base: the given one, or that which the adapter names."""
    if given is not None:
        if not (given / "config.json").is_file():
            raise ModelError(
                f"--base {given}: not a model folder", hint=f"a model folder holds {EXPECTED}"
            )
        return given.resolve()
    named = str(read_config(adapter).get("base_model_name_or_path") or "")
    for candidate in (Path(named), adapter / named):
        if named and (candidate / "config.json").is_file():
            return candidate.resolve()
    raise ModelError(
        f"{adapter}: an adapter, and its base {named or '(not named)'} is no folder here",
        hint="name the folder of the base that it was trained on: --base FOLDER",
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path}: holds no JSON object")
    return value
