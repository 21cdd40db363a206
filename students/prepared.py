"""Examples as tokens, sorted into what is trained on, what is held out and what is left out.

Nothing is cut: an example that is too long for a row is left out and counted, or refused.
"""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from distill.errors import DataError
from distill.train_sections import TrainSection
from distill.types import Document, Example
from engine.folder import LoadedModel
from students.held_out import held_out_owners, owner_of
from students.template import TokenizedExample, tokenize_all
from students.token_weights import weigh_tokens

Trained = Example | Document


@dataclass(frozen=True, slots=True)
class Prepared:
    """What training works on.

    Attributes:
        stages: Examples of each stage, in order.
        held_out: Measured before and after, never trained on.
        too_long: Left out for their length.
        without_loss: Left out because all their tokens have weight 0.
    """

    stages: tuple[tuple[TokenizedExample, ...], ...]
    held_out: tuple[TokenizedExample, ...]
    too_long: int
    without_loss: int


def prepare(
    stages: Sequence[tuple[str, Iterable[Trained]]],
    loaded: LoadedModel,
    section: TrainSection,
    seed: int,
) -> Prepared:
    """Tokenize the examples of all stages, one example at a time.

    Args:
        stages: Name and examples of each; the name is empty if there is only one.
        loaded: The base.
        section: Weights, limits and share that is held out.
        seed: Of what is held out.

    Raises:
        DataError: If a stage has nothing to train on, or an example is too long and must not be.
        ModelError: If the chat template cannot be trained on.
    """
    rows = {name: _tokenized(examples, loaded, section) for name, examples in stages}
    context = getattr(loaded.model.config, "max_position_embeddings", None)
    limit = section.seq_len if context is None else min(section.seq_len, context)
    flat = [row for each in rows.values() for row in each]
    _refuse_too_long(flat, limit, context, section)
    usable = [row for row in flat if len(row) <= limit and row.trained_tokens]
    held = held_out_owners([row.example_id for row in usable], section.held_out_share, seed)
    made = []
    for name, each in rows.items():
        kept = [row for row in each if len(row) <= limit and row.trained_tokens]
        kept = [row for row in kept if owner_of(row.example_id) not in held]
        if not kept:
            raise _nothing_left(name, each, limit, context, held)
        made.append(tuple(kept))
    # An example of two stages is measured once.
    held_out = {
        (row.example_id, row.token_ids.numpy().tobytes()): row
        for row in usable
        if owner_of(row.example_id) in held
    }
    return Prepared(
        stages=tuple(made),
        held_out=tuple(held_out.values()),
        too_long=sum(len(row) > limit for row in flat),
        without_loss=sum(len(row) <= limit and not row.trained_tokens for row in flat),
    )


def examples_digest(examples: Sequence[TokenizedExample]) -> str:
    """Changes with every token, mask and weight that is trained on, and with their order."""
    digest = hashlib.sha256()
    for example in examples:
        digest.update(f"{len(example)}/{example.weight!r}/".encode())
        digest.update(example.token_ids.numpy().tobytes())
        digest.update(example.is_trained.numpy().tobytes())
        if example.token_weights is not None:
            digest.update(example.token_weights.numpy().tobytes())
    return digest.hexdigest()[:16]


def _tokenized(
    examples: Iterable[Trained], loaded: LoadedModel, section: TrainSection
) -> list[TokenizedExample]:
    assert loaded.model.generation_config is not None
    return [
        weigh_tokens(
            row,
            loaded.tokenizer,
            reasoning_weight=section.reasoning_weight,
            answer_weight=section.answer_weight,
        )
        for row in tokenize_all(loaded.tokenizer, loaded.model.generation_config, examples)
    ]


def _refuse_too_long(
    rows: Sequence[TokenizedExample], limit: int, context: int | None, section: TrainSection
) -> None:
    long = [row for row in rows if len(row) > limit]
    if long and section.too_long == "error":
        longest = max(long, key=len)
        raise DataError(
            f"{len(long)} of {len(rows)} examples have more than {limit} tokens; "
            f"{longest.example_id!r} has {len(longest)}",
            hint=f"{_room_for(len(longest), context)}, or set train.too_long to 'drop'",
        )


def _nothing_left(
    name: str,
    rows: Sequence[TokenizedExample],
    limit: int,
    context: int | None,
    held: Collection[str],
) -> DataError:
    where = f"stage {name!r} has no example to train on" if name else "no example to train on"
    if not rows:
        return DataError(f"{where}: there are none", hint="look at what the filter dropped")
    long = sum(len(row) > limit for row in rows)
    if long == len(rows):
        shortest = min(map(len, rows))
        return DataError(
            f"{where}: all {long} have more than {limit} tokens, the shortest {shortest}",
            hint=_room_for(shortest, context),
        )
    out = sum(len(row) <= limit and owner_of(row.example_id) in held for row in rows)
    return DataError(
        f"{where}: of {len(rows)}, {out} are held out, {long} have more than {limit} tokens, "
        f"{len(rows) - out - long} have only tokens of weight 0",
        hint="lower train.held_out_share, raise train.seq_len, or give both weights a value",
    )


def _room_for(tokens: int, context: int | None) -> str:
    if context is not None and tokens > context:
        return f"the base reads {context} tokens at most: shorten them, or take a longer context"
    return f"set train.seq_len to {tokens}"
