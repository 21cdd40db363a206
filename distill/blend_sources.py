"""Examples from elsewhere, and how many of each source a blend takes.

Shares are shares of *tokens*. The set is as large as the scarcest source allows; of the others a
draw by the seed is left out.

Example:
    300 tokens of traces, 50 of a source that shall have a quarter: 200 tokens in all, so that the
    source is taken whole and 150 tokens of the traces are.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from distill.errors import DataError
from distill.reasoning import join_reasoning
from distill.rules import TokenCounter
from distill.trace_files import BrokenRow, Row, parse_row, read_row
from distill.trace_source import TraceSource, open_source

_ROLES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("user", "human"), "user"),
    **dict.fromkeys(("assistant", "gpt", "model"), "assistant"),
    "system": "system",
}


@dataclass(frozen=True, slots=True)
class Conversation:
    """One example from elsewhere.

    Attributes:
        row: Number in its file.
        messages: Turns with ``role``, ``content`` and ``reasoning_content``.
    """

    row: int
    messages: tuple[dict[str, str | None], ...]


def read_conversations(path: Path, work: Path) -> Iterator[Conversation]:
    """The examples of a file in order.

    Args:
        path: JSONL or Parquet with ``messages``, or with ``prompt`` and ``completion``.
        work: Folder for what has to be written to read it.

    Raises:
        DataError: If a row cannot be read: a curated set has no broken rows.
    """
    source = open_source(path, work)
    if source.columns is None:
        raise DataError(
            f"{path}: this is a journal of traces, not a set of examples",
            hint="Filter it first (distill filter --traces FILE --to DIR), then blend its"
            " train.parquet.",
        )
    with source.rows.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                try:
                    yield Conversation(number, _messages(source, parse_row(line), number))
                except BrokenRow as broken:
                    raise DataError(f"{path}: row {number}: {broken}") from None


def count_conversation(
    messages: Sequence[Mapping[str, str | None]], count_tokens: TokenCounter
) -> int:
    """Tokens of a conversation, without the chat format's own."""
    return sum(
        count_tokens(join_reasoning(turn["reasoning_content"], turn["content"] or ""))
        for turn in messages
    )


def targets(
    own_tokens: int, available: Mapping[str, int], shares: Mapping[str, float]
) -> dict[str, int]:
    """Tokens that each source gives, and under ``""`` those of the traces.

    Example:
        >>> targets(300, {"general": 50}, {"general": 0.25})
        {'': 150, 'general': 50}
    """
    own_share = 1 - sum(shares.values())
    total = min([own_tokens / own_share, *(available[name] / shares[name] for name in shares)])
    return {"": round(own_share * total)} | {name: round(shares[name] * total) for name in shares}


def draw(tokens: Sequence[int], target: int, seed: str) -> list[bool]:
    """Which of some examples are taken, so that their tokens come close to a target.

    They are drawn one by one in an order that the seed gives; the last one is taken if that is
    closer to the target than leaving it out.
    """
    if sum(tokens) <= target:
        return [True] * len(tokens)
    order = list(range(len(tokens)))
    random.Random(seed).shuffle(order)
    taken, total = [False] * len(tokens), 0
    for place in order:
        more = total + tokens[place]
        if abs(more - target) > abs(total - target):
            break
        taken[place], total = True, more
    return taken


def _messages(source: TraceSource, row: Row, number: int) -> tuple[dict[str, str | None], ...]:
    columns = source.columns
    if columns is None:
        raise TypeError("a journal has no columns")
    if columns.has("messages"):
        turns: Any = columns.take(row, "messages")
        if not isinstance(turns, list) or not turns:
            raise BrokenRow("messages must be a list of turns")
        found = tuple(_turn(turn) for turn in turns)
        if found[-1]["role"] != "assistant":
            raise BrokenRow("the last turn must be the assistant's")
        return found
    (one, *more) = read_row(row, columns, number, None)
    if more:
        raise BrokenRow("a row must hold one completion")
    completion = one.trace.completion
    return (
        {"role": "user", "content": one.prompt.text, "reasoning_content": None},
        {
            "role": "assistant",
            "content": completion.text,
            "reasoning_content": completion.reasoning,
        },
    )


def _turn(turn: object) -> dict[str, str | None]:
    if not isinstance(turn, dict):
        raise BrokenRow("a turn must be an object")
    role, content = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
    if not isinstance(role, str) or role not in _ROLES or not isinstance(content, str):
        raise BrokenRow(f"a turn needs a role ({', '.join(_ROLES)}) and a content in text")
    reasoning = turn.get("reasoning_content", turn.get("reasoning", turn.get("thinking")))
    if reasoning is not None and not isinstance(reasoning, str):
        raise BrokenRow("the reasoning of a turn must be text")
    return {"role": _ROLES[role], "content": content, "reasoning_content": reasoning}
