"""Values of rows from elsewhere: texts, and the turns of a conversation in any usual spelling.

``role`` and ``content``, or ``from`` and ``value``; reasoning in a field of its own under three
names. What cannot be used raises ``BrokenRow`` with a sentence for people.

This module knows values, neither files nor columns.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from distill.types import Role


class BrokenRow(Exception):  # noqa: N818 - a fact about data, caught where rows are read
    """A row that cannot be used; the message is a sentence for people."""


USERS: Final = frozenset({"user", "human"})
WRITERS: Final = frozenset({"assistant", "gpt", "model"})
ROLES: Final[Mapping[str, Role]] = {
    **dict.fromkeys(sorted(USERS), "user"),
    **dict.fromkeys(sorted(WRITERS), "assistant"),
    "system": "system",
}
"""Our role by the names that data sets use."""

REASONING_FIELDS: Final = ("reasoning_content", "reasoning", "thinking")
"""Names of the field that holds what was thought, ours first."""

_SHOWN_LENGTH: Final = 40


def read_turn(turn: object) -> tuple[str, str, str | None]:
    """Role as it is spelled, content and reasoning of one turn.

    A content in parts, as the OpenAI API has it, is joined if all of them are text.

    Raises:
        BrokenRow: If it is no turn.
    """
    if not isinstance(turn, dict):
        raise BrokenRow(f"a message must be an object, not {shown(turn)}")
    role = _first(turn, ("role", "from"))
    if not isinstance(role, str):
        raise BrokenRow(f"the role of a message must be text, not {shown(role)}")
    content = _first(turn, ("content", "value"))
    if isinstance(content, list):
        content = _joined(content)
    reasoning = _first(turn, REASONING_FIELDS)
    if reasoning is not None:
        reasoning = text_of(reasoning, "reasoning of a message", may_be_empty=True)
    return role, text_of(content, "content of a message", may_be_empty=True), reasoning


def role_of(name: str) -> Role:
    """Our name of a role.

    Raises:
        BrokenRow: If it is none that can be trained with.
    """
    role = ROLES.get(name)
    if role is None:
        raise BrokenRow(f"there is no role {shown(name)}; roles are {', '.join(ROLES)}")
    return role


def text_of(value: object, name: str, *, may_be_empty: bool = False) -> str:
    """The value, if it is text.

    Raises:
        BrokenRow: If it is missing, empty or something else.
    """
    if not isinstance(value, str):
        raise BrokenRow(
            f"{name} is missing" if value is None else f"{name} must be text, not {shown(value)}"
        )
    if not may_be_empty and not value.strip():
        raise BrokenRow(f"{name} is empty")
    return value


def shown(value: object) -> str:
    """A value in a message, cut if it is long."""
    text = repr(value)
    return text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}..."


def _first(turn: Mapping[str, object], names: Sequence[str]) -> object:
    """The first of several fields that is there; Parquet has all of them, most without a value."""
    return next((turn[name] for name in names if turn.get(name) is not None), None)


def _joined(parts: Sequence[object]) -> str:
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    if len(texts) < len(parts) or not all(isinstance(text, str) for text in texts):
        raise BrokenRow(f"the content of a message must be text alone, not {shown(parts)}")
    return "".join(str(text) for text in texts)
