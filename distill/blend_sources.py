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

from distill.errors import DataError
from distill.reasoning import join_reasoning
from distill.rules import TokenCounter
from distill.training_data import read_training_file
from distill.types import Document, Message


@dataclass(frozen=True, slots=True)
class Conversation:
    """One example from elsewhere.

    Attributes:
        row: Its place in the file, from 1.
        messages: Turns with ``role``, ``content`` and ``reasoning_content``.
    """

    row: int
    messages: tuple[dict[str, str | None], ...]


def read_conversations(path: Path) -> Iterator[Conversation]:
    """The examples of a file in order.

    Args:
        path: A training set of any form but plain text, see ``distill.training_form``.

    Raises:
        DataError: If a row cannot be read: a curated set has no broken rows.
    """
    for number, example in enumerate(read_training_file(path), start=1):
        if isinstance(example, Document):
            raise DataError(
                f"{path}: this is plain text, and what is mixed in is conversations",
                hint="Name a set with messages, or with prompt and completion.",
            )
        turns = ({"role": turn.role, **_content(turn)} for turn in example.messages)
        yield Conversation(number, tuple(turns))


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


def _content(turn: Message) -> dict[str, str | None]:
    return {"content": turn.content, "reasoning_content": turn.reasoning}
