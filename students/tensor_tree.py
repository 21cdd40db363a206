"""Trees of tensors and plain values as two files: safetensors and JSON. Nothing is unpickled.

    {"lr": 0.1, "state": {0: {"step": 3, "mean": <tensor>}}}
    ->  NAME.safetensors   {"0": <tensor>}
        NAME.json          {"map": [["lr", 0.1], ["state", {"map": [[0, ...]]}]]}, tensors by number

Numbers come back to the last bit. This module does not know what a tree is for.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file


def save_tree(tree: object, path: Path) -> None:
    """Write a tree of mappings, lists, tuples, tensors and JSON values.

    Args:
        tree: Keys of mappings are text or whole numbers.
        path: Without a suffix.

    Raises:
        TypeError: If something in the tree is none of these.
    """
    tensors: dict[str, torch.Tensor] = {}
    text = json.dumps(_pack(tree, tensors))
    save_file(tensors, path.with_suffix(".safetensors"))
    path.with_suffix(".json").write_text(text, encoding="utf-8")


def load_tree(path: Path) -> Any:  # noqa: ANN401 - whatever was saved
    """Read what ``save_tree`` wrote, tensors on the CPU."""
    tensors = load_file(path.with_suffix(".safetensors"))
    return _unpack(json.loads(path.with_suffix(".json").read_text(encoding="utf-8")), tensors)


def _pack(value: object, tensors: dict[str, torch.Tensor]) -> object:
    if isinstance(value, torch.Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, dict):
        return {"map": [[key, _pack(one, tensors)] for key, one in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [_pack(one, tensors) for one in value]}
    if isinstance(value, list):
        return [_pack(one, tensors) for one in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"a {type(value).__name__} cannot be saved")


def _unpack(value: Any, tensors: dict[str, torch.Tensor]) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, list):
        return [_unpack(one, tensors) for one in value]
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    if kind == "tensor":
        return tensors[inner]
    if kind == "map":
        return {key: _unpack(one, tensors) for key, one in inner}
    return tuple(_unpack(one, tensors) for one in inner)
