"""Rows as training would see them, with what is trained marked; nothing is trained or loaded.

Only the tokenizer and the generation config of the base are read, so a base of 65 GB is looked at
as fast as a small one. The template is checked first, as before training.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from transformers import AutoConfig, GenerationConfig, PreTrainedTokenizerBase

from distill.errors import ModelError
from distill.train_sections import TrainSection
from distill.types import Document, Example
from engine.folder import load_tokenizer, quiet_transformers
from students.template import TokenizedExample, tokenize_all
from students.template_notes import find_notes
from students.template_rules import Finding
from students.token_weights import weigh_tokens
from students.turn_end import end_ids, set_pad, with_turn_end


@dataclass(frozen=True, slots=True)
class PreviewSpan:
    """Tokens next to each other that count the same.

    Attributes:
        text: Their text, special tokens spelled out.
        tokens: How many there are.
        weight: Of each in the loss, the example's included; 0 for what is not trained.
    """

    text: str
    tokens: int
    weight: float


@dataclass(frozen=True, slots=True)
class PreviewRow:
    """One row.

    Attributes:
        example_id: Whose.
        tokens: In all.
        trained_tokens: Those that carry loss.
        ends_with: The last trained token, at which generation stops.
        is_too_long: Whether training would leave it out or refuse it.
        spans: The row in order.
    """

    example_id: str
    tokens: int
    trained_tokens: int
    ends_with: str
    is_too_long: bool
    spans: tuple[PreviewSpan, ...]


@dataclass(frozen=True, slots=True)
class Preview:
    """What training would see.

    Attributes:
        row_tokens: The longest row that is trained on.
        stops_at: Tokens at which the student will stop.
        notes: What is good to know about the chat template.
        rows: The first ones.
    """

    row_tokens: int
    stops_at: tuple[str, ...]
    notes: tuple[Finding, ...]
    rows: tuple[PreviewRow, ...]


def preview(
    examples: Iterable[Example | Document], base: Path, section: TrainSection, count: int
) -> Preview:
    """Render the first rows of a training set.

    Args:
        examples: In their order; read as far as needed.
        base: Folder of the base model.
        section: The recipe's settings.
        count: Rows that are wanted.

    Raises:
        DataError: If an example cannot be trained on.
        ModelError: If the base is not whole, or its chat template breaks a rule.
    """
    tokenizer = load_tokenizer(base)
    set_pad(tokenizer)
    config, context_tokens = _read_configs(base)
    config = with_turn_end(tokenizer, config)
    row_tokens = min(section.seq_len, context_tokens or section.seq_len)
    rows = list(islice(tokenize_all(tokenizer, config, examples), count))
    weighed = [
        weigh_tokens(
            row,
            tokenizer,
            reasoning_weight=section.reasoning_weight,
            answer_weight=section.answer_weight,
        )
        for row in rows
    ]
    return Preview(
        row_tokens=row_tokens,
        stops_at=tuple(str(tokenizer.convert_ids_to_tokens(end)) for end in _ends(config)),
        notes=tuple(find_notes(tokenizer, config)) if tokenizer.chat_template else (),
        rows=tuple(_row(tokenizer, row, row_tokens) for row in weighed),
    )


def _read_configs(base: Path) -> tuple[GenerationConfig, int]:
    """Where the base stops, and how far it reads."""
    try:
        with quiet_transformers():
            config = AutoConfig.from_pretrained(base, local_files_only=True)
            if (base / "generation_config.json").is_file():
                generation = GenerationConfig.from_pretrained(base, local_files_only=True)
            else:
                generation = GenerationConfig.from_model_config(config)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"{base}: its configuration cannot be read: {error}",
            hint="the folder may be damaged, or need a newer transformers",
        ) from error
    return generation, int(getattr(config, "max_position_embeddings", 0))


def _ends(config: GenerationConfig) -> Sequence[int]:
    return sorted(end_ids(config))


def _row(tokenizer: PreTrainedTokenizerBase, row: TokenizedExample, row_tokens: int) -> PreviewRow:
    weights_T = row.is_trained * row.weight
    if row.token_weights is not None:
        weights_T = weights_T * row.token_weights
    trained = row.token_ids[row.is_trained].tolist()
    return PreviewRow(
        example_id=row.example_id,
        tokens=len(row),
        trained_tokens=row.trained_tokens,
        ends_with=str(tokenizer.decode(trained[-1:])),
        is_too_long=len(row) > row_tokens,
        spans=tuple(_spans(tokenizer, row.token_ids, weights_T)),
    )


def _spans(
    tokenizer: PreTrainedTokenizerBase, token_ids_T: torch.Tensor, weights_T: torch.Tensor
) -> Iterable[PreviewSpan]:
    weights, counts = torch.unique_consecutive(weights_T.float(), return_counts=True)
    start = 0
    for weight, count in zip(weights.tolist(), counts.tolist(), strict=True):
        ids = token_ids_T[start : start + count].tolist()
        yield PreviewSpan(str(tokenizer.decode(ids)), count, weight)
        start += count
