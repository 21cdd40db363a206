"""Tiny configs of every architecture that a shard plan was compared with."""

from typing import Any

_COMMON: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "vocab_size": 512,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "max_position_embeddings": 256,
    "tie_word_embeddings": False,
}
_GROUPED: dict[str, Any] = {**_COMMON, "num_key_value_heads": 2}
_LATENT: dict[str, Any] = {
    **_COMMON,
    "num_key_value_heads": 4,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 16,
    "n_routed_experts": 8,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "first_k_dense_replace": 1,
    "n_group": 2,
    "topk_group": 1,
}
_EXPERTS = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
_WIDE_HEADS = {**_GROUPED, "head_dim": 32}

CONFIGS: dict[str, dict[str, Any]] = {
    "deepseek_v3": {**_LATENT, "q_lora_rank": 24},
    "deepseek_v2": {**_LATENT, "q_lora_rank": None},
    "qwen3_moe": {**_WIDE_HEADS, **_EXPERTS, "mlp_only_layers": [0]},
    "qwen2_moe": {**_GROUPED, **_EXPERTS, "shared_expert_intermediate_size": 48},
    "mixtral": {**_GROUPED, "num_local_experts": 4, "num_experts_per_tok": 2},
    "llama": {**_GROUPED, "tie_word_embeddings": True},
    "mistral": _WIDE_HEADS,
    "qwen2": _GROUPED,
    "qwen3": _WIDE_HEADS,
}


def build(model_type: str, **changes: Any) -> Any:
    """A model of random weights, as transformers makes it."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(model_type, **{**CONFIGS[model_type], **changes})
    return AutoModelForCausalLM.from_config(config)
