"""Rows of trace files as ``Candidate``: our journals, and JSONL from elsewhere.

A row is read strictly. What cannot be used raises ``BrokenRow`` with a sentence; the caller counts
and locates it and goes on. Parquet is turned into JSONL first (``distill.trace_spool``).

This module knows rows, not files.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Final, cast

import orjson

from distill.errors import DataError
from distill.reasoning import split_reasoning
from distill.trace_columns import Columns
from distill.traces import trace_from
from distill.turns import USERS, WRITERS, read_turn, shown, text_of
from distill.turns import BrokenRow as BrokenRow  # noqa: PLC0414 - known from here
from distill.types import Completion, FinishReason, Prompt, Trace, Usage, Verdict

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Candidate:
    """One trace that may be trained on.

    Attributes:
        prompt: What was asked.
        trace: What was written.
        verdict: What an earlier stage found; ``None`` if nobody has judged yet.
        row: Where it stands in its file: number of its line or row, from 1.
        source: Data set that it comes from; may be empty.
        divergence: How much surer the teacher was than the student, from -1 to 1; ``None`` if
            their log-probabilities were not kept.
    """

    prompt: Prompt
    trace: Trace
    verdict: Verdict | None
    row: int
    source: str = ""
    divergence: float | None = None


def parse_row(line: bytes) -> Row:
    """A line of JSON as an object.

    Raises:
        BrokenRow: If it is none, or holds NaN or half a surrogate pair.
    """
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise BrokenRow(_why(line, error)) from None
    except RecursionError:
        raise BrokenRow("nested too deeply") from None
    if not isinstance(value, dict):
        raise BrokenRow(f"a row is an object in braces, not {shown(value)}")
    return cast("Row", value)


def text_id(text: str) -> str:
    """An id for a prompt that has none: equal texts are one prompt."""
    return f"p-{blake2b(text.encode('utf-8', 'surrogatepass'), digest_size=8).hexdigest()}"


def row_key(row: Row, columns: Columns) -> str:
    """The id of the prompt that a row is about.

    Raises:
        BrokenRow: If it names none.
    """
    given = columns.take(row, "prompt_id")
    if isinstance(given, str | int) and not isinstance(given, bool) and given != "":
        return str(given)
    if columns.has("prompt"):
        return text_id(text_of(columns.take(row, "prompt"), "prompt"))
    if columns.has("messages"):
        return text_id(_conversation(columns.take(row, "messages"))[0])
    raise BrokenRow("prompt_id is missing")


def read_row(row: Row, columns: Columns, number: int, known: Prompt | None) -> list[Candidate]:
    """The candidates in a row; the sample's index is their place in it and changes later.

    Args:
        row: As ``parse_row`` gave it.
        columns: Which column is what.
        number: Of the row.
        known: The prompt, if it comes from a file of its own.

    Raises:
        BrokenRow: If a value has a wrong type or what is needed is empty.
    """
    asked, written = _asked_and_written(row, columns)
    prompt = known or _prompt(row, columns, asked)
    finishes = _listed(columns.take(row, "finish"), len(written))
    tokens = _listed(columns.take(row, "tokens"), len(written))
    index = columns.take(row, "sample_index")
    if index is not None and (type(index) is not int or index < 0):
        raise BrokenRow(f"sample_index must be a whole number, not {shown(index)}")
    model = _optional_text(columns.take(row, "model"), "model")
    source = _optional_text(columns.take(row, "source"), "source")
    divergence = _divergence(row, columns) if len(written) == 1 else None
    found = []
    for place, (reasoning, text) in enumerate(written):
        usage = Usage(output_tokens=_count(tokens[place]))
        completion = Completion(text, reasoning, _finish(finishes[place]), usage)
        sample = place if index is None else index
        trace = Trace(prompt.id, sample, model, completion)
        found.append(Candidate(prompt, trace, None, number, source, divergence))
    return found


def read_journal_row(row: Row, number: int, prompt: Prompt | None) -> Candidate:
    """The candidate in a record of a journal of traces.

    Raises:
        BrokenRow: If it is no trace, or belongs to another prompt.
    """
    record = {key: value for key, value in row.items() if key != "crc"}
    record.setdefault("kind", "trace")
    try:
        judged = trace_from(record, "")
    except DataError as error:
        raise BrokenRow(error.problem.removeprefix(": ")) from None
    if prompt is None or prompt.id != judged.trace.prompt_id:
        raise BrokenRow(f"trace {judged.trace.id} belongs to no prompt")
    verdict = None if judged.verdict.verifier == "none" else judged.verdict
    return Candidate(prompt, judged.trace, verdict, number)


def renumbered(found: Sequence[Candidate], columns: Columns | None) -> list[Candidate]:
    """The candidates of one prompt, each with an index of its own, in order.

    Of two records of a journal about one sample the later counts: a failed one was asked again.
    """
    if columns is None:
        latest = {one.trace.sample_index: one for one in found}
        return [latest[index] for index in sorted(latest)]
    indices = {one.trace.sample_index for one in found}
    if columns.has("sample_index") and len(indices) == len(found):
        return sorted(found, key=lambda one: one.trace.sample_index)
    return [
        replace(one, trace=replace(one.trace, sample_index=place))
        for place, one in enumerate(found)
    ]


_FINISHES: Final[Mapping[str, FinishReason]] = {
    **dict.fromkeys(("stop", "eos", "end_turn", "stop_sequence", "completed"), "stop"),
    **dict.fromkeys(("length", "max_tokens", "truncated"), "length"),
    "error": "error",
}


def _why(line: bytes, error: orjson.JSONDecodeError) -> str:
    """What is wrong with a line, told apart where that helps."""
    try:
        json.loads(line, parse_constant=_refuse)
    except UnicodeDecodeError as found:
        return f"byte {found.start + 1} is not UTF-8 text"
    except json.JSONDecodeError:
        return f"not valid JSON at column {error.colno}: {error.msg}"
    except (ValueError, RecursionError) as found:
        return str(found)
    return "half a character (a lone surrogate) in a text"


def _refuse(name: str) -> object:
    raise ValueError(f"{name} is not a value")


def _asked_and_written(
    row: Row, columns: Columns
) -> tuple[str | None, list[tuple[str | None, str]]]:
    if columns.has("completion"):
        value = columns.take(row, "completion")
        texts = value if isinstance(value, list) else [value]
        if not texts:
            raise BrokenRow("completion is an empty list")
        return None, [_split(text_of(text, "completion", may_be_empty=True)) for text in texts]
    if columns.has("text"):
        reasoning = columns.take(row, "reasoning")
        own = None if reasoning is None else text_of(reasoning, "reasoning", may_be_empty=True)
        text = text_of(columns.take(row, "text"), "text", may_be_empty=True)
        return None, [(own, text) if own is not None else _split(text)]
    asked, reasoning, text = _conversation(columns.take(row, "messages"))
    return asked, [(reasoning, text) if reasoning is not None else _split(text)]


def _split(text: str) -> tuple[str | None, str]:
    parts = split_reasoning(text)
    return parts.reasoning, parts.answer


def _conversation(value: object) -> tuple[str, str | None, str]:
    """Question, reasoning and answer of a conversation of one question."""
    if not isinstance(value, list) or not value:
        raise BrokenRow(f"messages must be a list of turns, not {shown(value)}")
    turns = [read_turn(turn) for turn in value]
    asked = [text for role, text, _ in turns if role in USERS]
    written = [(reasoning, text) for role, text, reasoning in turns if role in WRITERS]
    if len(asked) != 1 or len(written) != 1 or turns[-1][0] not in WRITERS:
        raise BrokenRow(
            f"messages must be one question and one answer, not {len(asked)} and {len(written)}"
        )
    return asked[0], *written[0]


def _prompt(row: Row, columns: Columns, asked: str | None) -> Prompt:
    text = text_of(columns.take(row, "prompt"), "prompt") if columns.has("prompt") else asked
    if text is None:
        raise BrokenRow("prompt is missing")
    level = columns.take(row, "level")
    return Prompt(
        id=row_key(row, columns),
        text=text,
        answer=_gold(columns.take(row, "answer")),
        kind=_optional_text(columns.take(row, "kind"), "kind"),
        level=level if type(level) is int and level >= 0 else 0,
    )


def _gold(value: object) -> str | None:
    """A gold answer; a whole number is text without loss, a fraction may have lost digits."""
    if value is None or isinstance(value, str):
        return value if value and value.strip() else None
    if type(value) is int:
        return str(value)
    raise BrokenRow(f"answer must be text, not {shown(value)}")


def _optional_text(value: object, name: str) -> str:
    return "" if value is None else text_of(value, name, may_be_empty=True)


def _listed(value: object, count: int) -> Sequence[object]:
    """One value for each of several completions."""
    if isinstance(value, list):
        if len(value) != count:
            raise BrokenRow(f"{len(value)} values for {count} completions")
        return value
    return [value] * count


def _finish(value: object) -> FinishReason:
    if value is None or value == "":
        return "stop"
    found = _FINISHES.get(value.lower()) if isinstance(value, str) else None
    if found is None:
        raise BrokenRow(f"finish must be stop or length, not {shown(value)}")
    return found


def _count(value: object) -> int:
    if value is None:
        return 0
    if type(value) is not int or value < 0:
        raise BrokenRow(f"tokens must be a whole number, not {shown(value)}")
    return value


def _divergence(row: Row, columns: Columns) -> float | None:
    """Mean of how much likelier the teacher holds a token than the student does."""
    if not (columns.has("teacher_logprobs") and columns.has("student_logprobs")):
        return None
    values = [columns.take(row, f"{who}_logprobs") for who in ("teacher", "student")]
    if any(value is None for value in values):
        return None
    if not all(isinstance(value, list) and all(map(_is_logprob, value)) for value in values):
        raise BrokenRow("log-probabilities must be lists of numbers, none above 0")
    teacher, student = cast("list[list[float]]", values)
    if len(teacher) != len(student) or not teacher:
        raise BrokenRow(
            f"{len(teacher)} log-probabilities of the teacher, {len(student)} of the student"
        )
    gaps = [math.exp(one) - math.exp(other) for one, other in zip(teacher, student, strict=True)]
    return math.fsum(gaps) / len(gaps)


def _is_logprob(value: object) -> bool:
    return type(value) in (int, float) and cast("float", value) <= 0
