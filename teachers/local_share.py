"""One rank's part of a model, read from the checkpoint; no rank reads the rest."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoConfig

from engine.folder import LoadedModel, load_folder, quiet_transformers
from engine.meeting import Meeting, device_type
from engine.memory import budget_tokens_for
from teachers.local_cut import Parallel, check_cut, distributed_config, empty_model, fitting

_WEIGHTS_SHARE = 0.9
"""Of the free memory: the rest is for the cache and for what a step computes."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one rank has of a model.

    Attributes:
        loaded: The model; weights that are cut are this rank's part.
        kv_heads: Heads of keys and values in this rank's cache.
        sharers: Ranks that share the memory of its device.
    """

    loaded: LoadedModel
    kv_heads: int
    sharers: int

    def budget_tokens(self) -> int:
        """Tokens that this rank's part of the cache can hold."""
        return budget_tokens_for(self.loaded.model, kv_heads=self.kv_heads, sharers=self.sharers)


def load_share(folder: Path, parallel: Parallel, dtype: str, meeting: Meeting) -> Share:
    """Load this rank's part; torch's default group must be there.

    Args:
        folder: Of the model.
        parallel: What is shared out.
        dtype: Precision of the weights; ``"auto"`` is as they are stored.
        meeting: Of the ranks.

    Raises:
        ModelError: If the model cannot be cut so, is broken, or needs more memory.
    """
    device = device_type()
    sharers = 1 if device == "cuda" else meeting.neighbours
    with quiet_transformers():
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
    precision = getattr(torch, dtype) if dtype != "auto" else config.dtype or torch.float32
    model = empty_model(config, precision)
    parallel = fitting(parallel, model)
    room = int(_free_bytes(device) / sharers * _WEIGHTS_SHARE)
    cut = check_cut(model, parallel, meeting.size, room)
    how = distributed_config(parallel, model, meeting.size)
    loaded = load_folder(folder, dtype=precision, distributed=how)
    return Share(loaded, cut.kv_heads, sharers)


def _free_bytes(device: str) -> int:
    if device == "cuda":
        free, _ = torch.cuda.mem_get_info()
        return int(free)
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
