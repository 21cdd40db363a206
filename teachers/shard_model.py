"""The model that a shard plan is for: what the user named, and what its files say."""

from dataclasses import dataclass, replace
from pathlib import Path

from teachers.moe_config import CHECKED, FORMATS, Architecture, find_architecture
from teachers.shard_weights import file_bytes
from teachers.weight_headers import has_weights, weight_bytes


@dataclass(frozen=True, slots=True)
class PlannedModel:
    """A model with what there is to say about it.

    Attributes:
        facts: What it is built like.
        file_bytes: Of a checkpoint, by the plan.
        header_bytes: Of the checkpoint that is there, by its headers; ``None`` if none is.
        notes: What a user should know.
    """

    facts: Architecture
    file_bytes: int
    header_bytes: int | None
    notes: tuple[str, ...]


def find_model(name: str, weights: str | None = None, context_tokens: int = 0) -> PlannedModel:
    """The model that the user named; files that are there are checked by their headers.

    Args:
        name: Folder, ``config.json``, or a published model.
        weights: A format to plan with instead of the config's.
        context_tokens: Prompt and answer that are wished for; a model made for fewer is noted.

    Raises:
        ModelError: If nothing of that name is known, or weight files are missing or corrupt.
        DataError: If a config cannot be read.
    """
    stored = find_architecture(name)
    facts = stored if weights is None else replace(stored, format=FORMATS[weights])
    folder = Path(name).expanduser()
    header = weight_bytes(folder) if folder.is_dir() and has_weights(folder) else None
    planned = _planned_bytes(facts, header)
    return PlannedModel(facts, planned, header, tuple(_notes(stored, header, context_tokens)))


def _planned_bytes(facts: Architecture, header: int | None) -> int:
    """Bytes of the files; without the layers that guess ahead if those that are there lack them."""
    parts = file_bytes(facts)
    planned, draft = sum(parts.values()), parts["draft"]
    if header is not None and abs(header - planned + draft) < abs(header - planned):
        return planned - draft
    return planned


def _notes(facts: Architecture, header: int | None, context_tokens: int) -> list[str]:
    notes = []
    if 0 < facts.context_tokens < context_tokens:
        notes.append(
            f"made for {facts.context_tokens:,} tokens, fewer than the {context_tokens:,} of"
            " --context: a server refuses that without a setting for longer positions"
        )
    planned = _planned_bytes(facts, header)
    if facts.experts is None:
        notes.append("not a mixture of experts: planned as a dense model, without expert parallel")
    if facts.model_type not in CHECKED:
        notes.append(
            f"model_type {facts.model_type} was never compared with real files: check the weights"
        )
    if facts.draft_layers:
        has_draft = planned == sum(file_bytes(facts).values())
        notes.append(
            "the files hold layers that guess ahead (MTP); no GPU is planned for them"
            if has_draft
            else "its config names layers that guess ahead (MTP); its files hold none"
        )
    if header is not None and abs(header - planned) > planned * 0.01:
        notes.append(
            f"its files hold {header / 1e9:,.2f} GB, the config says {planned / 1e9:,.2f} GB:"
            " another format or architecture than the config says"
        )
    return notes
