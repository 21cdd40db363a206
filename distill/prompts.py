"""Read a prompt set from JSONL, CSV or Parquet, strictly, and write one.

Columns are ``text`` (needed), ``id``, ``answer``, ``kind`` and ``level``. A prompt without an id
is named after its line, ``line-17``, so that the same file gives the same ids.
"""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final

from distill.data_rows import Row, read_rows
from distill.errors import DataError
from distill.records import to_record
from distill.storage import write_atomically
from distill.types import Prompt

COLUMNS: Final = tuple(one.name for one in fields(Prompt))

# What other prompt sets call our columns.
_OTHER_NAMES = {
    "prompt": "text",
    "question": "text",
    "problem": "text",
    "instruction": "text",
    "query": "text",
    "input": "text",
    "solution": "answer",
    "gold": "answer",
    "target": "answer",
    "output": "answer",
    "label": "answer",
    "expected_answer": "answer",
    "final_answer": "answer",
    "uid": "id",
    "uuid": "id",
    "idx": "id",
    "index": "id",
    "name": "id",
    "category": "kind",
    "subject": "kind",
    "type": "kind",
    "source": "kind",
    "domain": "kind",
    "difficulty": "level",
}
_SHOWN_MISTAKES = 5
_FOUND_LENGTH = 40


def read_prompts(path: Path) -> list[Prompt]:
    """Read a prompt set; see ``stream_prompts``."""
    return list(stream_prompts(path))


def stream_prompts(path: Path) -> Iterator[Prompt]:
    """Read a prompt set, one prompt at a time.

    Mistakes are raised at the end, all at once: nothing that was read may count before that.

    Args:
        path: ``.jsonl``, ``.csv`` or ``.parquet``.

    Raises:
        DataError: If the file cannot be read, holds no prompt, or any row of it is wrong; names
            the places of the first five mistakes.
        MissingDependencyError: If it is Parquet and pyarrow is not installed.
    """
    reading = _Reading()
    for row in read_rows(path):
        prompt = reading.take(row)
        if prompt is not None:
            yield prompt
    if reading.mistakes:
        count = len(reading.mistakes)
        lines = [f"\n  {mistake}" for mistake in reading.mistakes[:_SHOWN_MISTAKES]]
        more = f"\n  and {count - _SHOWN_MISTAKES} more" if count > _SHOWN_MISTAKES else ""
        plural = "s" if count > 1 else ""
        raise DataError(f"{path}: {count} mistake{plural}:{''.join(lines)}{more}")
    if not reading.places:
        raise DataError(f"{path}: there are no prompts in it")


def write_prompts(path: Path, prompts: Iterable[Prompt]) -> None:
    """Write a prompt set as JSONL, whole or not at all.

    Raises:
        StorageError: If the disk refuses.
    """
    write_atomically(path, (_line(prompt) for prompt in prompts))


@dataclass(slots=True)
class _Reading:
    """Where the ids stand, by 64 bits of each, and the mistakes so far."""

    places: dict[int, int] = field(default_factory=dict)
    mistakes: list[str] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)

    def take(self, row: Row) -> Prompt | None:
        """A row's prompt, or ``None`` and what is wrong; an unknown column is named once."""
        found = [row.problem] if row.problem else []
        unknown = [column for column in row.values if column not in COLUMNS]
        if unknown:
            found += [_unknown_column(name) for name in unknown if name not in self.unknown]
            self.unknown.update(unknown)
        elif not found:
            found += _value_mistakes(row.values)
        prompt = None
        if not found and not unknown:
            values = {name: value for name, value in row.values.items() if value is not None}
            prompt = Prompt(**{"id": f"line-{row.number}", **values})  # type: ignore[arg-type]
            first = self.places.setdefault(hash(prompt.id), row.number)
            if first != row.number:
                taker = f"{row.place.removesuffix(str(row.number))}{first}"
                found.append(f"the id '{prompt.id}' is taken by {taker}")
                prompt = None
        self.mistakes += [f"{row.place}: {mistake}" for mistake in found]
        return prompt


def _unknown_column(name: str) -> str:
    close = difflib.get_close_matches(name, COLUMNS, n=1)
    ours = _OTHER_NAMES.get(name.lower()) or (close[0] if close else "")
    what = f"rename it to '{ours}'" if ours else "take it out"
    return f"unknown column {_found(name)}: {what}; known: {', '.join(COLUMNS)}"


def _value_mistakes(values: Mapping[str, object]) -> list[str]:
    """What is wrong with the values of known columns."""
    texts = [name for name in COLUMNS if name != "level"]
    found = [mistake for name in texts if (mistake := _text_mistake(name, values.get(name)))]
    level = values.get("level")
    if level is not None and (type(level) is not int or level < 0):
        found.append(f"level must be a whole number, at least 0, not {_found(level)}")
    return found


def _text_mistake(name: str, value: object) -> str:
    if value is None:
        return "text is missing" if name == "text" else ""
    if not isinstance(value, str):
        return f"{name} must be text in quotes, not {_found(value)}"
    if not value.strip() and name != "kind":
        return f"{name} is empty" if name == "text" else f"{name} is empty; leave it out"
    half = next((char for char in value if "\ud800" <= char <= "\udfff"), None)
    return f"{name} holds \\u{ord(half):04x}, which is half a character" if half else ""


def _found(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _FOUND_LENGTH else f"{text[:_FOUND_LENGTH]}..."


def _line(prompt: Prompt) -> bytes:
    text = json.dumps(to_record(prompt), ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()
