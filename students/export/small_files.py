"""What stands beside the weights: config, tokenizer, template, where to stop.

``transformers4`` rewrites what transformers 5 saves in ways that transformers 4 cannot read: the
tokenizer's class and its list of extra tokens, and the names of a few settings.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from distill.digest import digest_file
from distill.storage import write_json_atomically
from students.export.floats import FloatType
from students.export.gguf_vocabulary import chat_template, tokenizer_config
from students.export.where_from import Student

CONFIG: Final = "config.json"
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
)
_DTYPE: Final[Mapping[FloatType, str]] = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
# Of a tokenizer's config: where it was loaded from, which only its own process knows.
_OF_A_LOAD = ("backend", "is_local", "local_files_only")


def write_small_files(
    student: Student, folder: Path, dtype: FloatType, *, for_transformers4: bool
) -> dict[str, str]:
    """Write everything but the weights; returns the files' digests."""
    for name in _TOKENIZER_FILES:
        source = student.tokenizer_folder / name
        if source.is_file():
            shutil.copyfile(source, folder / name)
    if student.generation:
        write_json_atomically(folder / "generation_config.json", student.generation)
    config = {**student.config, "dtype": _DTYPE[dtype]}
    config.pop("torch_dtype", None)
    if for_transformers4:
        config = config_for_4(config)
        settings = tokenizer_for_4(tokenizer_config(folder), chat_template(folder))
        write_json_atomically(folder / "tokenizer_config.json", settings)
    write_json_atomically(folder / CONFIG, config)
    return {path.name: digest_file(path) for path in sorted(folder.iterdir()) if _is_small(path)}


def make_readable_by_4(folder: Path) -> None:
    """Rewrite a folder that transformers 5 has saved."""
    settings = tokenizer_for_4(tokenizer_config(folder), chat_template(folder))
    write_json_atomically(folder / "tokenizer_config.json", settings)
    path = folder / CONFIG
    write_json_atomically(path, config_for_4(json.loads(path.read_text(encoding="utf-8"))))


def config_for_4(config: Mapping[str, Any]) -> dict[str, Any]:
    """A model's config with the names that transformers 4 has for the same settings.

    Example:
        >>> config_for_4({"dtype": "bfloat16", "rope_parameters": {"rope_theta": 1e6}})
        {'torch_dtype': 'bfloat16', 'rope_theta': 1000000.0, 'rope_scaling': None}
    """
    old = dict(config)
    if "dtype" in old:
        old["torch_dtype"] = old.pop("dtype")
    if (rope := old.pop("rope_parameters", None)) is not None:
        scaling = {key: value for key, value in rope.items() if key != "rope_theta"}
        old["rope_theta"] = rope.get("rope_theta", 10_000.0)
        is_plain = scaling.get("rope_type", "default") == "default"
        old["rope_scaling"] = None if is_plain else scaling
    return old


def tokenizer_for_4(settings: Mapping[str, Any], template: str | None) -> dict[str, Any]:
    """A tokenizer's config that transformers 4 can load.

    Example:
        >>> tokenizer_for_4({"tokenizer_class": "TokenizersBackend"}, None)
        {'tokenizer_class': 'PreTrainedTokenizerFast'}
    """
    old = {key: value for key, value in settings.items() if key not in _OF_A_LOAD}
    old["tokenizer_class"] = "PreTrainedTokenizerFast"
    extra = old.pop("extra_special_tokens", None)
    if isinstance(extra, list):
        old["additional_special_tokens"] = extra
    elif extra:
        old["extra_special_tokens"] = extra
    if template:
        old["chat_template"] = template
    return old


def _is_small(path: Path) -> bool:
    return path.suffix in (".json", ".jinja", ".txt") and ".index." not in path.name
