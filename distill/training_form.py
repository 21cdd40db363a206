"""The form of a training set: which columns are what, and a row as what is trained on.

Three forms, found by their columns:

    conversations      messages (or conversations): turns with role and content, or from and value
    prompt-completion  prompt and completion, each a text or a list of turns; system beside them
    text               text alone: trained on whole, without a chat template

Reasoning may stand in a column or a field of a turn (reasoning_content, reasoning, thinking) or
between think tags in the text. Nothing is guessed beyond these names: the user maps others.

This module knows rows, not files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from distill.data_rows import Row
from distill.errors import DataError
from distill.reasoning import THINK_CLOSE, THINK_OPEN, split_reasoning
from distill.trace_columns import close_column
from distill.turns import REASONING_FIELDS, BrokenRow, read_turn, role_of, shown, text_of
from distill.types import Document, Example, Message

FormName = Literal["conversations", "prompt-completion", "text"]

FIELDS: Final[Mapping[str, str]] = {
    "messages": "a conversation",
    "prompt": "what was asked: a text or turns",
    "completion": "what is learnt from it: a text or turns",
    "reasoning": "what stands between the think tags before the completion",
    "system": "the system prompt",
    "text": "a plain text",
    "id": "names the row in messages",
    "weight": "of the row in the loss",
}
"""What a column can be."""

_NAMES: Final[Mapping[str, Sequence[str]]] = {
    "messages": ("messages", "conversations"),
    "reasoning": REASONING_FIELDS,
}
_ALLOWED: Final = (
    "Allowed are messages or conversations (a list of turns), prompt with completion, or text"
    " (plain text)."
)


@dataclass(frozen=True, slots=True)
class Form:
    """Which form a set has.

    Attributes:
        name: Of the form.
        columns: Column by field; those of other forms are left out.
        later: The same for fields of JSON that may first come after the rows that were looked at.
    """

    name: FormName
    columns: Mapping[str, str]
    later: Mapping[str, str] = field(default_factory=dict)

    @property
    def wanted(self) -> Mapping[str, str]:
        """Column by field, of all that may be there."""
        return {**self.later, **self.columns}

    def describe(self) -> str:
        """For the user.

        Example:
            >>> Form("prompt-completion", {"prompt": "question", "completion": "answer"}).describe()
            'prompt-completion (question, answer)'
        """
        main = ("messages", "prompt", "reasoning", "completion", "text")
        used = [self.columns[name] for name in main if name in self.columns]
        what = "plain text, trained on whole" if self.name == "text" else self.name
        return f"{what} ({', '.join(used)})"

    def needs(self) -> str:
        """What a row must have, for the user whose rows all lack it."""
        return _NEEDS[self.name]


_NEEDS: Final[Mapping[FormName, str]] = {
    "conversations": "A conversation needs a turn of the assistant with text to learn from; another"
    " column: --map messages=COLUMN",
    "prompt-completion": "A row needs a prompt and a completion; other columns:"
    " --map prompt=COLUMN --map completion=COLUMN",
    "text": "A row needs text; another column: --map text=COLUMN",
}


def choose_form(place: str, columns: Sequence[str], mapping: Mapping[str, str]) -> Form:
    """Find the form of a set.

    Args:
        place: The file or data set, for messages.
        columns: That it has.
        mapping: Column by field, as the user said; it decides before any name does.

    Raises:
        DataError: If there is no such form, or the mapping names what is not there.

    Example:
        >>> choose_form("x.jsonl", ["question", "response"], {})
        Traceback (most recent call last):
        distill.errors.DataError: x.jsonl: no form of training data that is known; columns found: \
question, response
          Allowed are messages or conversations (a list of turns), prompt with completion, or text \
(plain text).
        Say which is which: --map prompt=question --map completion=response
    """
    if {"trace", "verdict"} <= set(columns):
        raise DataError(
            f"{place}: this is a journal of traces, not a set of examples",
            hint=f"Filter it first, then take its train.parquet: distill filter --traces {place}",
        )
    _check_mapping(place, columns, mapping)
    chosen = dict(mapping)
    for name in FIELDS:
        if name == "messages" and {"prompt", "completion"} & mapping.keys():
            continue  # the user means the other form
        spellings = _NAMES.get(name, (name,))
        found = next((one for one in spellings if one in columns), None)
        if name not in chosen and found is not None and found not in chosen.values():
            chosen[name] = found
    form = _form(mapping) or _form(chosen)
    if form is None:
        hint = f"{_ALLOWED}\nSay which is which: {_suggestion(columns, chosen)}"
        raise DataError(
            f"{place}: no form of training data that is known; columns found: {', '.join(columns)}",
            hint=hint,
        )
    if form == "prompt-completion" and "completion" not in chosen:
        chosen["completion"] = chosen.pop("text")  # as the traces of this program name it
    return Form(form, {name: chosen[name] for name in _USED[form] if name in chosen})


def with_later(form: Form) -> Form:
    """The same for JSON, whose rows need not have the same fields."""
    optional = {"reasoning", "system", "id", "weight"} & set(_USED[form.name])
    later = {name: name for name in sorted(optional) if name not in form.columns.values()}
    return replace(form, later=later)


def read_example(row: Row, form: Form) -> Example | Document:
    """What a row is trained on.

    Raises:
        BrokenRow: If a value has a wrong type, what is needed is empty, or nothing can be learnt.
    """
    if row.problem:
        raise BrokenRow(row.problem)
    values = {name: row.values.get(column) for name, column in form.wanted.items()}
    own_id = _id(values.get("id"), row.place)
    weight = _weight(values.get("weight"))
    if form.name == "text":
        return Document(own_id, _whole(text_of(values["text"], "text")), weight)
    if form.name == "conversations":
        messages = _turns(values["messages"], "messages")
    else:
        messages = _asked_and_written(values)
    if values.get("system") is not None:
        messages = [Message("system", _whole(text_of(values["system"], "system"))), *messages]
    return Example(own_id, _supervised(messages), weight)


_USED: Final[Mapping[FormName, Sequence[str]]] = {
    "conversations": ("messages", "system", "id", "weight"),
    "prompt-completion": ("prompt", "completion", "reasoning", "system", "id", "weight"),
    "text": ("text", "id", "weight"),
}


def _check_mapping(place: str, columns: Sequence[str], mapping: Mapping[str, str]) -> None:
    for name, column in mapping.items():
        if name not in FIELDS:
            raise DataError(
                f"{place}: {name} = {column!r} maps no field of training data;"
                f" fields: {', '.join(FIELDS)}"
            )
        if column not in columns:
            raise DataError(
                f"{place}: {name} = {column!r}: there is no such column;"
                f" found: {', '.join(columns)}"
            )


def _form(chosen: Mapping[str, str]) -> FormName | None:
    if "messages" in chosen:
        return "conversations"
    if "prompt" in chosen and ("completion" in chosen or "text" in chosen):
        return "prompt-completion"
    return "text" if "text" in chosen and "completion" not in chosen else None


def _suggestion(columns: Sequence[str], chosen: Mapping[str, str]) -> str:
    """Flags that would do, likeliest first."""
    if talk := close_column(columns, "messages", set()):
        return f"--map messages={talk}"
    flags, taken = [], set(chosen.values())
    for name in ("prompt", "completion"):
        column = chosen.get(name) or close_column(columns, name, taken) or "COLUMN"
        taken.add(column)
        if name not in chosen:
            flags.append(f"--map {name}={column}")
    return " ".join(flags)


def _asked_and_written(values: Mapping[str, object]) -> list[Message]:
    prompt, completion = values["prompt"], values["completion"]
    if isinstance(prompt, list):
        messages = _turns(prompt, "prompt")
        messages = [replace(message, is_trained=False) for message in messages]
    else:
        messages = [Message("user", _whole(text_of(prompt, "prompt")))]
    if isinstance(completion, list):
        written = _turns(completion, "completion")
    else:
        written = [_assistant(text_of(completion, "completion", may_be_empty=True), None)]
    reasoning = values.get("reasoning")
    if reasoning is not None:
        own = _whole(text_of(reasoning, "reasoning", may_be_empty=True))
        if written[0].reasoning is not None:
            raise BrokenRow("reasoning stands in a column of its own and in the completion")
        written[0] = replace(written[0], reasoning=own)
    return [*messages, *written]


def _turns(value: object, name: str) -> list[Message]:
    if not isinstance(value, list) or not value:
        raise BrokenRow(f"{name} must be a list of turns, not {shown(value)}")
    return [_message(turn) for turn in value]


def _message(turn: object) -> Message:
    name, content, reasoning = read_turn(turn)
    role = role_of(name)
    if role != "assistant":
        return Message(role, _whole(content))
    message = _assistant(content, reasoning)
    weight = turn.get("weight") if isinstance(turn, dict) else None
    return replace(message, is_trained=weight != 0)  # as OpenAI's format leaves a turn out


def _assistant(content: str, reasoning: str | None) -> Message:
    """An assistant's turn; think tags in its content are taken out, and must be whole."""
    content = _whole(content)
    if THINK_OPEN not in content and THINK_CLOSE not in content:
        own = None if reasoning is None else _whole(reasoning)
        return Message("assistant", content, own, is_trained=True)
    if reasoning:
        raise BrokenRow("reasoning stands in a field of its own and between think tags")
    if THINK_CLOSE not in content:
        raise BrokenRow("the reasoning is cut: there is a <think> and no </think>")
    parts = split_reasoning(content)
    return Message("assistant", parts.answer, parts.reasoning, is_trained=True)


def _supervised(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The conversation up to its last trained turn; a turn before any question is not trained."""
    first = next((at for at, one in enumerate(messages) if one.role == "user"), len(messages))
    marked = [
        replace(one, is_trained=one.is_trained and at > first) for at, one in enumerate(messages)
    ]
    trained = [at for at, one in enumerate(marked) if one.is_trained]
    if not trained:
        roles = ", ".join(dict.fromkeys(one.role for one in messages))
        raise BrokenRow(f"no assistant turn to learn from; its turns are of {roles}")
    for at in trained:
        if not marked[at].content.strip() and not (marked[at].reasoning or "").strip():
            raise BrokenRow(f"turn {at + 1}, the assistant's, is empty")
    return tuple(marked[: trained[-1] + 1])


def _id(value: object, place: str) -> str:
    is_name = isinstance(value, str | int) and not isinstance(value, bool) and value != ""
    return str(value) if is_name else place


def _weight(value: object) -> float:
    if value is None:
        return 1.0
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 < value < float("inf")
    ):
        raise BrokenRow(f"weight must be a number above 0, not {shown(value)}")
    return float(value)


def _whole(text: str) -> str:
    """The text, if it holds no half of a character, which no tokenizer takes."""
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError as error:
        half = ord(text[error.start])
        raise BrokenRow(f"a text holds \\u{half:04x}, which is half a character") from None
    return text
