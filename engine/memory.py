"""How many tokens a model's cache may hold in the memory that is free."""

import os

import torch
from transformers import PreTrainedModel

_SHARE = 0.4
"""Of the free memory: buffers are copied when they grow, and a forward pass needs some too."""
_UNKNOWN_BYTES = 8 << 30
_LEAST_TOKENS = 4096


def bytes_per_token(model: PreTrainedModel) -> int:
    """Bytes that one token takes in the cache."""
    config = model.config.get_text_config()
    if (rank := getattr(config, "kv_lora_rank", None)) is not None:
        width = rank + config.qk_rope_head_dim
    else:
        heads = config.num_attention_heads
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
        width = 2 * (getattr(config, "num_key_value_heads", None) or heads) * head_dim
    return int(width * config.num_hidden_layers * torch.finfo(model.dtype).bits // 8)


def budget_tokens_for(model: PreTrainedModel) -> int:
    """Tokens for which there is room now, on the device that the model is on."""
    free = _free_bytes(model.device) * _SHARE
    return max(int(free / bytes_per_token(model)), _LEAST_TOKENS)


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):  # not on macOS
        return _UNKNOWN_BYTES
