"""Qwen2, Qwen3 and Llama in GGUF's words: names of tensors, settings, order of rotated rows."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from distill.errors import ModelError
from students.export.floats import Array
from students.export.gguf_format import Value
from students.export.weights import Tensor

ARCHITECTURES: Final = ("qwen2", "qwen3", "llama")
_PARTS: Final[Mapping[str, str]] = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_OTHERS: Final[Mapping[str, str]] = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
_IN_A_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)\.(weight|bias)")
FREQUENCIES: Final = "rope_freqs.weight"
_HINT = "export it as safetensors: --format safetensors"


def gguf_name(name: str) -> str:
    """GGUF's name of a tensor of transformers.

    Raises:
        ModelError: If these architectures have no such tensor.

    Example:
        >>> gguf_name("model.layers.3.self_attn.q_proj.bias")
        'blk.3.attn_q.bias'
    """
    if name in _OTHERS:
        return _OTHERS[name]
    found = _IN_A_LAYER.fullmatch(name)
    if found is None or found[2] not in _PARTS:
        raise ModelError(f"the weights hold {name}, which GGUF has no place for", hint=_HINT)
    return f"blk.{found[1]}.{_PARTS[found[2]]}.{found[3]}"


def check_architecture(config: Mapping[str, Any]) -> None:
    """Refuse what llama.cpp would read otherwise than transformers.

    Raises:
        ModelError: Naming what is supported.
    """
    found = config.get("model_type")
    if found not in ARCHITECTURES:
        raise ModelError(
            f"GGUF can be written for {', '.join(ARCHITECTURES)}; this is {found}", hint=_HINT
        )
    if config.get("hidden_act", "silu") != "silu":
        raise ModelError(
            f"hidden_act = {config['hidden_act']!r}: llama.cpp knows silu here", hint=_HINT
        )
    if config.get("use_sliding_window") and config.get("sliding_window"):
        raise ModelError(
            f"use_sliding_window: llama.cpp reads {found} with full attention", hint=_HINT
        )


def settings(config: Mapping[str, Any]) -> dict[str, Value]:
    """What the architecture needs to know, keys without its name.

    Raises:
        ModelError: If positions are scaled in a way that llama.cpp does not know.
    """
    heads = int(config["num_attention_heads"])
    size = head_size(config)
    values: dict[str, Value] = {
        "context_length": int(config["max_position_embeddings"]),
        "embedding_length": int(config["hidden_size"]),
        "block_count": int(config["num_hidden_layers"]),
        "feed_forward_length": int(config["intermediate_size"]),
        "attention.head_count": heads,
        "attention.head_count_kv": int(config.get("num_key_value_heads") or heads),
        "attention.key_length": size,
        "attention.value_length": size,
        "attention.layer_norm_rms_epsilon": float(config["rms_norm_eps"]),
        "rope.dimension_count": size,
        "rope.freq_base": float(_rope(config).get("rope_theta", 10_000)),
        "vocab_size": int(config["vocab_size"]),
    }
    return values | _scaling(config)


def frequency_factors(config: Mapping[str, Any]) -> NDArray[np.float32] | None:
    """By what each frequency of a Llama 3 is divided; ``None`` for others.

    Formula of transformers' ``rope_type`` ``llama3``: long waves are slowed down by ``factor``,
    short ones are kept, and those between go from one to the other.
    """
    rope = _rope(config)
    if _rope_type(rope) != "llama3":
        return None
    size, theta = head_size(config), float(rope.get("rope_theta", 10_000))
    factor, before = float(rope["factor"]), float(rope["original_max_position_embeddings"])
    low, high = float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
    waves = 2 * math.pi * theta ** (np.arange(0, size, 2, dtype=np.float64) / size)
    smooth = ((before / waves - low) / (high - low)).clip(0, 1)
    factors: NDArray[np.float32] = (1 / ((1 - smooth) / factor + smooth)).astype(np.float32)
    return factors


def head_size(config: Mapping[str, Any]) -> int:
    """Numbers in one attention head."""
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def is_rotated(name: str, config: Mapping[str, Any]) -> bool:
    """Whether llama.cpp wants the rows of a tensor in another order: a Llama's queries and keys."""
    return config["model_type"] == "llama" and re.search(r"\.[qk]_proj\.", name) is not None


@dataclass(frozen=True, slots=True)
class Rotated:
    """A tensor with rows in the order of llama.cpp's rotary positions, to be read in whole heads.

    transformers pairs row ``i`` of a head with row ``i + half``; llama.cpp pairs neighbours:
    ``[a0 a1 b0 b1]`` becomes ``[a0 b0 a1 b1]``.
    """

    tensor: Tensor
    head: int

    def read(self, start: int, stop: int) -> Array:
        """Rows ``start`` to ``stop``, both at the edge of a head."""
        rows = self.tensor.read(start, stop)
        pairs = rows.reshape(-1, 2, self.head // 2, *rows.shape[1:])
        return pairs.swapaxes(1, 2).reshape(rows.shape)


def _scaling(config: Mapping[str, Any]) -> dict[str, Value]:
    rope = _rope(config)
    kind = _rope_type(rope)
    if kind == "default" or (kind == "llama3" and config["model_type"] == "llama"):
        return {}
    if kind == "linear":
        return {"rope.scaling.type": "linear", "rope.scaling.factor": float(rope["factor"])}
    if kind != "yarn" or not rope.get("truncate", True) or rope.get("mscale"):
        raise ModelError(
            f"rope_type {kind!r} with these settings has no place in a GGUF of"
            f" {config['model_type']}; default, linear, yarn and, for llama, llama3 have",
            hint=_HINT,
        )
    factor = float(rope["factor"])
    before = rope.get("original_max_position_embeddings") or config["max_position_embeddings"]
    values: dict[str, Value] = {
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": factor,
        "rope.scaling.original_context_length": int(before),
        "rope.scaling.yarn_beta_fast": float(rope.get("beta_fast") or 32),
        "rope.scaling.yarn_beta_slow": float(rope.get("beta_slow") or 1),
    }
    if rope.get("attention_factor") is not None:
        usual = 0.1 * math.log(factor) + 1
        values["rope.scaling.attn_factor"] = float(rope["attention_factor"]) / usual
    return values


def _rope(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the positions, where transformers 5 keeps them or where 4 did."""
    rope = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    rope.setdefault("rope_theta", config.get("rope_theta", 10_000))
    return rope


def _rope_type(rope: Mapping[str, Any]) -> str:
    return str(rope.get("rope_type") or rope.get("type") or "default")
