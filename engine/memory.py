"""Memory that is free, and how many tokens a model's cache may hold in it."""

import os
from pathlib import Path

import torch
from transformers import PreTrainedModel

_SHARE = 0.4
"""Of the free memory: buffers are copied when they grow, and a forward pass needs some too."""
_UNKNOWN_BYTES = 8 << 30
_LEAST_TOKENS = 4096
_CGROUP = Path("/sys/fs/cgroup")


def free_memory_bytes() -> int:
    """Main memory that is free, and that this process may take."""
    free = _unused_bytes()
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        known = next(line for line in lines if line.startswith("MemAvailable:"))
        free = int(known.split()[1]) * 1024
    except (OSError, StopIteration, ValueError):  # not on macOS
        pass
    try:
        limit = int((_CGROUP / "memory.max").read_text(encoding="utf-8"))
        used = int((_CGROUP / "memory.current").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # no limit, or no such file
        return free
    return min(free, max(limit - used, 0))


def bytes_per_token(model: PreTrainedModel, kv_heads: int | None = None) -> int:
    """Bytes that one token takes in the cache.

    Args:
        model: Any.
        kv_heads: Heads of keys that this process has; by default all of them.
    """
    config = model.config.get_text_config()
    if (rank := getattr(config, "kv_lora_rank", None)) is not None:
        width = rank + config.qk_rope_head_dim
    else:
        heads = config.num_attention_heads
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
        kept = kv_heads or getattr(config, "num_key_value_heads", None) or heads
        width = 2 * kept * head_dim
    return int(width * config.num_hidden_layers * torch.finfo(model.dtype).bits // 8)


def budget_tokens_for(
    model: PreTrainedModel, *, kv_heads: int | None = None, sharers: int = 1
) -> int:
    """Tokens for which there is room now, on the device that the model is on.

    Args:
        model: Any.
        kv_heads: Heads of keys that this process has; by default all of them.
        sharers: Processes that share the device's memory.
    """
    free = _free_bytes(model.device) * _SHARE / sharers
    return max(int(free / bytes_per_token(model, kv_heads)), _LEAST_TOKENS)


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    return _unused_bytes()


def _unused_bytes() -> int:
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):  # not on macOS
        return _UNKNOWN_BYTES
