"""Tiny random mixture-of-experts models as folders, with the embedded teacher's tokenizer."""

import shutil
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from teachers import embedded

# A vocabulary that two ranks cannot halve: the last one's part is shorter.
_SIZES = {
    "vocab_size": 549,
    "hidden_size": 32,
    "intermediate_size": 64,
    "moe_intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_experts_per_tok": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 1,
}
_LATENT = {
    "num_key_value_heads": 4,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "n_group": 2,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
}
_GROUPED = {"num_key_value_heads": 2, "head_dim": 8, "num_experts": 4, "norm_topk_prob": True}
KINDS = {"deepseek_v3": _LATENT, "qwen3_moe": _GROUPED}


def config(kind: str, **changes: object) -> AutoConfig:
    return AutoConfig.for_model(kind, **{**_SIZES, **KINDS[kind], **changes})


def write_tiny_moe(kind: str, folder: Path) -> Path:
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config(kind)).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(embedded.FOLDER / name, folder)
    return folder
