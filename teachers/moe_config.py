"""What a large model is built like, from its ``config.json``: all that its size follows from.

Reads the config alone: no weights, no torch. Mixture-of-experts and dense models, latent attention
(DeepSeek) and grouped heads (Qwen, Llama, Mixtral).
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from distill.errors import DataError, ModelError

_HINT: Final = (
    "give a model folder or its config.json, or a model that is known by name:\n"
    "DeepSeek-R1, DeepSeek-V3, Qwen3-30B-A3B, Qwen3-235B-A22B"
)
CHECKED: Final = (
    *("deepseek_v3", "deepseek_v2", "qwen3_moe", "qwen2_moe", "mixtral"),
    *("llama", "mistral", "qwen2", "qwen3"),
)
"""Model types whose weights were counted and compared with transformers' own."""
_NORMED_HEADS: Final = ("qwen3", "qwen3_moe")
_BIASED: Final = ("qwen2", "qwen2_moe")


@dataclass(frozen=True, slots=True)
class Latent:
    """Multi-head latent attention: keys and values of all heads are kept as one short vector.

    Attributes:
        heads: Query heads.
        query_rank: Width that queries are squeezed to; 0 if they are not.
        kv_rank: Width of the latent vector.
        nope_dim: Part of a head without positions.
        rope_dim: Part of a head with positions; one for all heads in the cache.
        value_dim: Width of a value.
    """

    heads: int
    query_rank: int
    kv_rank: int
    nope_dim: int
    rope_dim: int
    value_dim: int


@dataclass(frozen=True, slots=True)
class Grouped:
    """Attention in which several query heads share keys and values."""

    heads: int
    kv_heads: int
    head_dim: int
    has_bias: bool
    has_norms: bool


@dataclass(frozen=True, slots=True)
class Experts:
    """The routed and shared experts of a layer.

    Attributes:
        count: Routed experts.
        chosen: Those that a token passes through.
        width: Of one of them.
        shared_width: Of the shared ones together; 0 if there are none.
        has_shared_gate: Whether the shared ones are weighed (Qwen2-MoE).
        has_router_bias: Whether the router has a bias for balance (DeepSeek-V3).
    """

    count: int
    chosen: int
    width: int
    shared_width: int = 0
    has_shared_gate: bool = False
    has_router_bias: bool = False


@dataclass(frozen=True, slots=True)
class Format:
    """How the large matrices of the layers are stored; everything else has ``other_bytes``.

    Attributes:
        name: Such as ``"fp8"``.
        bits: Of one weight.
        block: Rows and columns that share a scale; ``None`` for no scales.
        scale_bytes: Of one scale, its zero point included.
        other_bytes: Of a weight outside: embeddings, norms, routers.
    """

    name: str
    bits: int
    block: tuple[int, int] | None = None
    scale_bytes: float = 0.0
    other_bytes: int = 2


FORMATS: Final = {
    "fp32": Format("fp32", 32, other_bytes=4),
    "bf16": Format("bf16", 16),
    "fp8": Format("fp8", 8, (128, 128), 4.0),
    "int4": Format("int4", 4, (128, 1), 2.5),
}


@dataclass(frozen=True, slots=True)
class Architecture:
    """What a model is built like.

    Attributes:
        name: For people.
        model_type: As its config says it.
        layers: Decoder layers.
        hidden: Width of the residual stream.
        vocabulary: Rows of the embedding.
        is_tied: Whether input and output embedding are one matrix.
        context_tokens: Positions that it was made for; 0 if not said.
        attention: Of every layer.
        dense_width: Of the MLP in layers without experts.
        dense_layers: How many of those there are, the first ones.
        experts: Of the other layers; ``None`` for a dense model.
        draft_layers: Further layers that guess tokens ahead (multi-token prediction).
        format: How it is stored.
    """

    name: str
    model_type: str
    layers: int
    hidden: int
    vocabulary: int
    is_tied: bool
    context_tokens: int
    attention: Latent | Grouped
    dense_width: int
    dense_layers: int
    experts: Experts | None
    draft_layers: int
    format: Format

    @property
    def cache_bytes_per_token_layer(self) -> int:
        """What a token leaves in the cache of one layer, 2 bytes a number."""
        attention = self.attention
        if isinstance(attention, Latent):
            return 2 * (attention.kv_rank + attention.rope_dim)
        return 2 * 2 * attention.kv_heads * attention.head_dim

    @property
    def cache_bytes_per_token(self) -> int:
        """The same over all layers."""
        return self.layers * self.cache_bytes_per_token_layer


def find_architecture(name: str) -> Architecture:
    """The model that the user named: a folder, a ``config.json``, or a published model.

    Raises:
        ModelError: If nothing of that name is known.
        DataError: If a config cannot be read or lacks a key.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelError(f"{path}: no config.json in it", hint=_HINT)
        return read_config(path / "config.json")
    if path.is_file():
        return read_config(path)
    wanted = name.rpartition("/")[2]
    for known, table in published().items():
        if wanted.lower() in map(str.lower, _names(known, table)):
            return architecture_of(table["config"], wanted, where=known)
    raise ModelError(
        f"{name}: no such file or folder, and no model that is known by name", hint=_HINT
    )


def hub_name(name: str) -> str:
    """What a server must be told to load it: a published model's name on the Hub, or the given one.

    Example:
        >>> hub_name("deepseek-r1"), hub_name("somebody/else"), hub_name("./folder")
        ('deepseek-ai/DeepSeek-R1', 'somebody/else', './folder')
    """
    if "/" in name or Path(name).exists():
        return name
    for known, table in published().items():
        for each in _names(known, table):
            if each.lower() == name.lower():
                return f"{table['owner']}/{each}"
    return name


def _names(known: str, table: Mapping[str, Any]) -> list[str]:
    """All names of one published architecture."""
    return [known, *table.get("also", ())]


@cache
def published() -> Mapping[str, Mapping[str, Any]]:
    """The published models that are known by name: their configs."""
    text = (files("teachers") / "published.toml").read_text(encoding="utf-8")
    models: Mapping[str, Mapping[str, Any]] = tomllib.loads(text)["models"]
    return models


def read_config(path: Path) -> Architecture:
    """What a ``config.json`` says.

    Raises:
        DataError: If it cannot be read or lacks a key.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a model's config: {error}", hint=_HINT) from error
    if not isinstance(config, dict):
        raise DataError(f"{path}: not a model's config: no JSON object", hint=_HINT)
    return architecture_of(config, path.resolve().parent.name or str(path), where=str(path))


def architecture_of(config: Mapping[str, Any], name: str, *, where: str) -> Architecture:
    """The same from the config's keys.

    Raises:
        DataError: If a key is missing or holds no number.
    """
    inner = config.get("text_config")
    config = {**config, **inner} if isinstance(inner, Mapping) else config
    try:
        return _architecture(config, name)
    except KeyError as error:
        raise DataError(f"{where}: the key {error} is missing", hint=_HINT) from error
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise DataError(f"{where}: not a model's config: {error}", hint=_HINT) from error


def _architecture(config: Mapping[str, Any], name: str) -> Architecture:
    layers, experts = _count(config, "num_hidden_layers"), _experts(config)
    return Architecture(
        name=name,
        model_type=str(config["model_type"]),
        layers=layers,
        hidden=_count(config, "hidden_size"),
        vocabulary=_count(config, "vocab_size"),
        is_tied=bool(config.get("tie_word_embeddings", False)),
        context_tokens=int(config.get("max_position_embeddings") or 0),
        attention=_latent(config) if config.get("kv_lora_rank") else _grouped(config),
        dense_width=int(config.get("intermediate_size") or 0),
        dense_layers=layers if experts is None else _dense_layers(config, layers),
        experts=experts,
        draft_layers=int(config.get("num_nextn_predict_layers") or 0),
        format=_format(config),
    )


def _count(config: Mapping[str, Any], key: str) -> int:
    """A number that must be there and positive."""
    value = int(config[key])
    if value < 1:
        raise ValueError(f"{key} is {value}")
    return value


def _latent(config: Mapping[str, Any]) -> Latent:
    return Latent(
        heads=_count(config, "num_attention_heads"),
        query_rank=int(config.get("q_lora_rank") or 0),
        kv_rank=_count(config, "kv_lora_rank"),
        nope_dim=_count(config, "qk_nope_head_dim"),
        rope_dim=_count(config, "qk_rope_head_dim"),
        value_dim=_count(config, "v_head_dim"),
    )


def _grouped(config: Mapping[str, Any]) -> Grouped:
    heads, kind = _count(config, "num_attention_heads"), config["model_type"]
    return Grouped(
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads") or heads),
        head_dim=int(config.get("head_dim") or _count(config, "hidden_size") // heads),
        has_bias=bool(config.get("attention_bias")) or kind in _BIASED,
        has_norms=kind in _NORMED_HEADS,
    )


def _experts(config: Mapping[str, Any]) -> Experts | None:
    names = ("n_routed_experts", "num_experts", "num_local_experts")
    count = next((int(config[key]) for key in names if config.get(key)), 0)
    if count <= 1:
        return None
    width = int(config.get("moe_intermediate_size") or _count(config, "intermediate_size"))
    shared = int(config.get("n_shared_experts") or 0) * width
    gated = int(config.get("shared_expert_intermediate_size") or 0)
    return Experts(
        count=count,
        chosen=_count(config, "num_experts_per_tok"),
        width=width,
        shared_width=shared or gated,
        has_shared_gate=gated > 0,
        has_router_bias=config["model_type"] == "deepseek_v3",
    )


def _dense_layers(config: Mapping[str, Any], layers: int) -> int:
    """Layers without experts: the first ones, those that are listed, or all but each n-th."""
    step, listed = int(config.get("decoder_sparse_step") or 1), config.get("mlp_only_layers") or ()
    first = int(config.get("first_k_dense_replace") or 0)
    return sum(
        number < first or number in listed or (number + 1) % step != 0 for number in range(layers)
    )


def _format(config: Mapping[str, Any]) -> Format:
    given = config.get("quantization_config") or {}
    method = str(given.get("quant_method", ""))
    if method == "fp8":
        rows, columns = given.get("weight_block_size") or (128, 128)
        return Format("fp8", 8, (int(rows), int(columns)), 4.0)
    if method in ("awq", "gptq"):
        bits, group = int(given.get("bits", 4)), int(given.get("group_size", 128))
        return Format(f"int{bits}", bits, (group, 1), 2 + bits / 8)
    is_wide = str(config.get("torch_dtype") or config.get("dtype") or "bfloat16") == "float32"
    return FORMATS["fp32" if is_wide else "bf16"]
