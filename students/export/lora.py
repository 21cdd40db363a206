"""Adapters folded into the tensors of their base as these are read, a few rows at a time.

    merged = base + scale * B @ A          scale = alpha / r, with rsLoRA alpha / sqrt(r)
    DoRA:    magnitude * merged / |merged|, the norm taken over each row

This module knows the files of an adapter, nothing of peft or torch.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from distill.errors import ModelError
from students.export.floats import Array, FloatType, to_float32
from students.export.weights import StoredTensor, open_file

CONFIG: Final = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."
_PART = re.compile(r"\.(lora_A|lora_B|lora_magnitude_vector)(?:\.weight)?$")
# Settings under which merged weights are another formula than the one above.
_UNKNOWN = ("use_bdlora", "alora_invocation_tokens", "layer_replication", "lora_bias", "use_qalora")
# Ways to begin that take something out of the base, which its folder still holds.
_CHANGES_THE_BASE = ("pissa", "olora", "loftq", "corda")


@dataclass(frozen=True, slots=True)
class LowRank:
    """What an adapter adds to one matrix: ``scale * b @ a``, and DoRA's length of each row."""

    a: NDArray[np.float32]
    b: NDArray[np.float32]
    scale: float
    magnitude: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class MergedTensor:
    """A matrix of the base with its update; float32 whatever the base has."""

    base: StoredTensor
    update: LowRank
    dtype: FloatType = "F32"

    @property
    def name(self) -> str:
        """That of the base."""
        return self.base.name

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the base."""
        return self.base.shape

    def read(self, start: int, stop: int) -> Array:
        """Rows ``start`` to ``stop``, merged."""
        update = self.update
        rows = to_float32(self.base.read(start, stop))
        rows = rows + update.scale * (update.b[start:stop] @ update.a)
        if update.magnitude is not None:
            lengths = np.linalg.norm(rows, axis=1, keepdims=True)
            rows = rows * (update.magnitude[start:stop, None] / lengths)
        return rows


def merged(
    base: Mapping[str, StoredTensor], adapter: Path
) -> dict[str, StoredTensor | MergedTensor]:
    """The base's tensors by name, with the adapter in them.

    Raises:
        ModelError: If the adapter is broken, of a kind that is not known here, or of another base.
    """
    config = read_config(adapter)
    _refuse_unknown(adapter, config)
    tensors: dict[str, StoredTensor | MergedTensor] = dict(base)
    parts: dict[str, dict[str, StoredTensor]] = {}
    for name, tensor in open_file(adapter / _WEIGHTS).items():
        plain = name.removeprefix(_PREFIX)
        if found := _PART.search(plain):
            parts.setdefault(plain[: found.start()], {})[found.group(1)] = tensor
        elif "lora_" in plain or not plain.endswith((".weight", ".bias")):
            raise ModelError(f"{adapter}: {plain} is nothing that can be merged here")
        else:  # a layer that was trained whole
            tensors[plain] = replace(tensor, name=plain)
    for module, found_parts in parts.items():
        tensors[f"{module}.weight"] = _merge(adapter, config, module, found_parts, base)
    return tensors


def read_config(adapter: Path) -> dict[str, Any]:
    """The adapter's own configuration.

    Raises:
        ModelError: If it is missing or broken.
    """
    path = adapter / CONFIG
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return config
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from error


def _refuse_unknown(adapter: Path, config: Mapping[str, Any]) -> None:
    if config.get("peft_type") != "LORA":
        raise ModelError(
            f"{adapter}: an adapter of type {config.get('peft_type')}; LORA can be merged",
            hint="merge it with the tool that trained it, then export the merged model",
        )
    used = [name for name in _UNKNOWN if config.get(name)]
    used += ["fan_in_fan_out"] if config.get("fan_in_fan_out") else []
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.partition("_")[0] in _CHANGES_THE_BASE:
        used.append(f"init_lora_weights = {start!r}")
    if used:
        raise ModelError(
            f"{adapter}: uses {', '.join(used)}, which is not merged here",
            hint="merge it with peft (merge_and_unload), then export the merged model",
        )
    if not (adapter / _WEIGHTS).is_file():
        raise ModelError(f"{adapter}: not a whole adapter, missing: {_WEIGHTS}")


def _merge(
    adapter: Path,
    config: Mapping[str, Any],
    module: str,
    parts: Mapping[str, StoredTensor],
    base: Mapping[str, StoredTensor],
) -> MergedTensor:
    matrix = base.get(f"{module}.weight")
    if matrix is None or not {"lora_A", "lora_B"} <= set(parts):
        raise ModelError(
            f"{adapter}: adapts {module}, which the base lacks",
            hint="name the base that it was trained on: --base FOLDER",
        )
    a, b = _whole(parts["lora_A"]), _whole(parts["lora_B"])
    if (b.shape[0], a.shape[1]) != matrix.shape or a.shape[0] != b.shape[1]:
        raise ModelError(
            f"{adapter}: {module} is {b.shape[0]} x {a.shape[1]} in the adapter and"
            f" {' x '.join(map(str, matrix.shape))} in the base",
            hint="name the base that it was trained on: --base FOLDER",
        )
    magnitude = parts.get("lora_magnitude_vector")
    length = None if magnitude is None else _whole(magnitude).reshape(-1)
    return MergedTensor(matrix, LowRank(a, b, _scale(config, module, a.shape[0]), length))


def _scale(config: Mapping[str, Any], module: str, rank: int) -> float:
    alpha = float(config["lora_alpha"])
    for pattern, value in (config.get("alpha_pattern") or {}).items():
        if re.fullmatch(rf"(.*\.)?({pattern})", module):
            alpha = float(value)
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _whole(tensor: StoredTensor) -> NDArray[np.float32]:
    return to_float32(tensor.read(0, tensor.shape[0]))
