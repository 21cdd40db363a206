"""``Alike``: events of a stream that say the same but for one text, read all at once.

A server writes thousands of events that differ only in the piece of text that they bring. Where one
such event was taken apart, its neighbours are found by what stands around the text, and their
texts are decoded together, which takes less than to parse each event.

This module knows the form of an event, not what becomes of its text.
"""

import re
from dataclasses import dataclass
from typing import Any, Final, Self

import orjson

_STRING: Final = re.compile(rb'\s*"([^"\\]*(?:\\.[^"\\]*)*)"')
_PLACEHOLDER: Final = "\x00"
_MARK_BYTES: Final = 30
"""A search for a hundred bytes and more is prepared anew for each place that is found."""
_FEWEST: Final = 4
"""Events that are worth it."""


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbours that are alike, and what stands around them.

    Attributes:
        before: Whole lines.
        texts: What each event brings, as JSON writes a string, without its quotes.
        after: Whole lines.
    """

    before: bytes
    texts: list[bytes]
    after: bytes

    def decoded(self) -> str:
        """What the events bring together.

        Raises:
            ValueError: If any of it is no JSON by itself, or there is more between the events.
        """
        texts: list[str] = orjson.loads(b'["%s"]' % b'","'.join(self.texts))
        if len(texts) != len(self.texts):
            raise ValueError("a text ends within an escape")
        return "".join(texts)


@dataclass(frozen=True, slots=True)
class Alike:
    """What stands around the text in events that are alike.

    Attributes:
        name: Of the field of ``delta`` that holds the text.
        place: Index of the choice.
        head: The line up to the text.
        tail: The line from the text on, without its end.
        gap: What stands between two such lines.
    """

    name: str
    place: int
    head: bytes
    tail: bytes
    gap: bytes

    @classmethod
    def of(
        cls, line: bytes, gap: bytes, event: dict[str, Any], names: tuple[str, ...]
    ) -> Self | None:
        """What is around the text of an event; ``None`` if it brings anything but one text.

        Args:
            line: As it came.
            gap: What stands between it and the next one.
            event: What it says.
            names: Fields that may hold the text.
        """
        choices = event.get("choices")
        choice = choices[0] if isinstance(choices, list) and len(choices) == 1 else None
        if not isinstance(choice, dict) or event.get("usage") or choice.get("finish_reason"):
            return None
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            return None
        filled = [name for name in names if delta.get(name)]
        place = choice.get("index")
        if len(filled) != 1 or not isinstance(place, int):
            return None
        (name,) = filled
        found = _STRING.match(line, line.rfind(b'"%s":' % name.encode()) + len(name) + 3)
        if found is None:
            return None
        head, tail = line[: found.start(1)], line[found.end(1) :].rstrip()
        marked = {**event, "choices": [{**choice, "delta": {**delta, name: _PLACEHOLDER}}]}
        is_right = _parsed(head[5:] + b"\\u0000" + tail) == marked
        return cls(name, place, head, tail, gap) if is_right else None

    def run(self, lines: bytes) -> Run | None:
        """The first events of this form that follow each other; ``None`` if they are few.

        Args:
            lines: Whole ones.
        """
        between = self.tail + self.gap + self.head
        rest, mark = between[:-_MARK_BYTES], between[-_MARK_BYTES:]
        start = 0 if lines.startswith(self.head) else lines.find(b"\n" + self.head) + 1
        if not start and not lines.startswith(self.head):
            return None
        before = lines[:start]
        *pieces, last = lines[start + len(self.head) :].split(mark)
        if len(pieces) < _FEWEST:
            return None
        if rest:
            whole = b"".join(pieces)
            end = -len(rest)
            pieces = [piece[:end] for piece in pieces]
            if rest.join([*pieces, b""]) != whole:
                return None
        line, newline, _ = last.partition(b"\n")
        line = line.rstrip()
        if newline and line.endswith(self.tail):
            pieces.append(line[: -len(self.tail)])
            after = last[len(line) :]
        else:
            after = self.head + last
        return Run(before, pieces, after)


def _parsed(data: bytes) -> object:
    try:
        return orjson.loads(data)
    except ValueError:
        return None
