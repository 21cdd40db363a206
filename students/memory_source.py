"""What a student is built like, from whatever the user names: the facts that a plan starts from.

A folder with a ``config.json``, that file itself, a run or its recipe, or a name of the catalogue.
No weights are read and nothing is fetched; loads neither torch nor transformers.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from distill.errors import DataError, ModelError
from students.catalog import Architecture, ModelType, close_names, known_student

if TYPE_CHECKING:
    from distill.recipe import Recipe
    from distill.train_sections import TrainSection

_KINDS: tuple[str, ...] = get_args(ModelType)
_EMBEDDED = Path(__file__).parent / "embedded" / "config.json"
_HINT = (
    "give a model folder, its config.json, a run folder, a recipe, or a name of `distill students`"
)


@dataclass(frozen=True, slots=True)
class Named:
    """A student that the user named.

    Attributes:
        name: For people.
        facts: What it is built like.
        section: How its recipe trains it; ``None`` if there is no recipe.
    """

    name: str
    facts: Architecture
    section: "TrainSection | None" = None


def find_facts(name: str) -> Named:
    """The student that the user named.

    Raises:
        ModelError: If nothing of that name is known, or its architecture is not ours.
        DataError: If a config cannot be read.
        RecipeError: If a recipe cannot be read.
    """
    path = Path(name).expanduser()
    if path.suffix == ".toml" and path.is_file():
        return _of_recipe(path)
    if path.is_dir():
        return _of_folder(path)
    if path.is_file():
        return Named(path.parent.name or str(path), read_facts(path))
    if name == "embedded":
        return Named(name, read_facts(_EMBEDDED))
    if (known := known_student(name)) is not None:
        return Named(known.name, known.architecture)
    if name.count("/") == 1 and (cached := _cached_config(name)) is not None:
        return Named(name, read_facts(cached))
    close = close_names(name)
    meant = f"; did you mean {' or '.join(close)}?" if close else ""
    raise ModelError(
        f"{name}: no such file or folder, and no model of the catalogue{meant}", hint=_HINT
    )


def read_facts(config_path: Path) -> Architecture:
    """The facts in a ``config.json``.

    Raises:
        DataError: If the file cannot be read, or lacks a key.
        ModelError: If the architecture is not one of ours.
    """
    try:
        config = json.loads(config_path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{config_path}: not a model's config: {error}", hint=_HINT) from error
    if not isinstance(config, dict):
        raise DataError(f"{config_path}: not a model's config: no JSON object", hint=_HINT)
    kind = config.get("model_type")
    if kind not in _KINDS:
        raise ModelError(
            f"{config_path}: model_type is {kind!r}; a plan can be made for {', '.join(_KINDS)}",
            hint="a student is a dense Qwen2, Qwen3 or Llama model",
        )
    try:
        return _facts(config)
    except KeyError as error:
        raise DataError(f"{config_path}: the key {error} is missing", hint=_HINT) from error
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise DataError(f"{config_path}: not a model's config: {error}", hint=_HINT) from error


def _facts(config: Mapping[str, Any]) -> Architecture:
    heads = int(config["num_attention_heads"])
    hidden = int(config["hidden_size"])
    return Architecture(
        model_type=config["model_type"],
        layers=int(config["num_hidden_layers"]),
        hidden=hidden,
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads") or heads),
        head_dim=int(config.get("head_dim") or hidden // heads),
        intermediate=int(config["intermediate_size"]),
        vocabulary=int(config["vocab_size"]),
        is_tied=bool(config.get("tie_word_embeddings", False)),
        context_tokens=int(config.get("max_position_embeddings") or 0),
    )


def _of_folder(folder: Path) -> Named:
    if (folder / "config.json").is_file():
        return Named(str(folder), read_facts(folder / "config.json"))
    if (folder / "student" / "config.json").is_file():
        return Named(str(folder), read_facts(folder / "student" / "config.json"))
    if (folder / "adapter_config.json").is_file():
        return _of_adapter(folder)
    raise ModelError(f"{folder}: no config.json in it", hint=_HINT)


def _of_adapter(folder: Path) -> Named:
    """An adapter's size is that of its base: the folder that it names."""
    try:
        adapter = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        base = str(adapter["base_model_name_or_path"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder}: not an adapter: {error}", hint=_HINT) from error
    if Path(base).resolve() == folder.resolve():
        raise DataError(f"{folder}: the adapter names itself as its base", hint=_HINT)
    return find_facts(base)


def _of_recipe(path: Path) -> Named:
    from distill.overrides import load_recipe

    recipe = load_recipe(path)
    return Named(recipe.name, _student_of(recipe), recipe.train)


def _student_of(recipe: "Recipe") -> Architecture:
    student = recipe.student
    if student.kind == "embedded":
        return read_facts(_EMBEDDED)
    return find_facts(str(student.path) if student.kind == "local" else student.model).facts


def _cached_config(name: str) -> Path | None:
    """The config of a model in the Hub's cache on this machine."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    found = try_to_load_from_cache(name, "config.json")
    return Path(found) if isinstance(found, str) else None
