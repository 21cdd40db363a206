"""One rank's part of a model, read from the checkpoint; no rank reads the rest."""

from dataclasses import dataclass

import torch

from distill.local_section import LocalTeacher
from engine.folder import LoadedModel
from engine.meeting import Meeting, device_type
from engine.memory import budget_tokens_for, free_memory_bytes
from teachers.local_checkpoint import Checkpoint, open_checkpoint
from teachers.local_cut import check_cut, cut, distributed_config, empty_model, fitting
from teachers.local_weights import read_weights

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


def check_share(section: LocalTeacher, size: int, neighbours: int) -> tuple[str, ...]:
    """See that a model can be shared out, before anything is loaded; what a user should know.

    Args:
        section: The recipe's choice.
        size: Ranks.
        neighbours: Those on this machine.

    Raises:
        ModelError: If it is broken, cannot be cut so, or needs more memory; says what would do.
    """
    checkpoint = open_checkpoint(section)
    outline = empty_model(checkpoint.config, checkpoint.dtype)
    parallel = fitting(section.parallel, outline)
    room = _free_bytes() / _sharers(neighbours) * _WEIGHTS_SHARE
    found = check_cut(
        outline, parallel, size, int(room), block=_block(checkpoint), is_fp8=checkpoint.is_fp8
    )
    whole = sum(parameter.nbytes for parameter in outline.parameters())
    share = f"{size} processes by '{parallel}', {found.rank_bytes / whole:.0%} of the weights each"
    return (*checkpoint.notes, share)


def load_share(section: LocalTeacher, meeting: Meeting) -> Share:
    """Load this rank's part; torch's default group must be there.

    Args:
        section: The recipe's choice.
        meeting: Of the ranks.

    Raises:
        ModelError: If the model is broken.
    """
    checkpoint = open_checkpoint(section)
    outline = empty_model(checkpoint.config, checkpoint.dtype)
    parallel = fitting(section.parallel, outline)
    how = distributed_config(parallel, outline, meeting.size)
    model = read_weights(checkpoint, distributed_config=how)
    loaded = LoadedModel(model, checkpoint.tokenizer, checkpoint.folder, checkpoint.stored_dtype)
    return Share(
        loaded, cut(outline, parallel, meeting.size).kv_heads, _sharers(meeting.neighbours)
    )


def _block(checkpoint: Checkpoint) -> int:
    """Rows and columns that share a scale in a checkpoint; 1 without scales."""
    settings = getattr(checkpoint.config, "quantization_config", None) or {}
    return int((settings.get("weight_block_size") or [1])[0])


def _sharers(neighbours: int) -> int:
    return 1 if device_type() == "cuda" else neighbours


def _free_bytes() -> int:
    if device_type() == "cuda":
        free, _ = torch.cuda.mem_get_info()
        return int(free)
    return free_memory_bytes()
