"""What is said to an OpenAI-compatible endpoint and what it says back: bodies and streams.

Servers differ in where they put the reasoning (``reasoning_content``, ``reasoning``, or think tags
in the content, the opening one missing when the chat template wrote it), in what they leave out
(usage, ``[DONE]``, choices), and in what they send while one waits (empty lines, comments). All of
it is read here; what is missing stays missing and is never guessed.

This module knows no sockets, prices or retries.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from distill.reasoning import THINK_OPEN, split_reasoning
from distill.types import Completion, FinishReason, Usage
from teachers.alike import Alike, Run

Json = dict[str, Any]

_REASONING_FIELDS: Final = ("reasoning_content", "reasoning", "reasoning_text")
_FINISHED: Final[Mapping[str, FinishReason]] = {
    "stop": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_calls": "stop",
    "function_call": "stop",
    "length": "length",
    "max_tokens": "length",
}
_TEXT_FIELDS: Final = ("content", *_REASONING_FIELDS)
_DATA: Final = b"data:"
_NEXT_DATA: Final = b"\ndata:"
_EVENT: Final = re.compile(rb"(?m)^(data:[^\r\n]*[^\s])([\r\n]*)")
_DONE: Final = b"[DONE]"
_ERROR: Final = b'"error"'
_LOOKED_AT: Final = 8
"""Parts in which reasoning is looked for."""
_READ_TOGETHER: Final = 64 * 1024
_FEW_BYTES: Final = 1024
"""Of events that are not worth a search for such as are alike."""
_FORMS: Final = 6
"""Forms of events that are looked for in one go: reasoning, then the answer, and some to spare."""
_BROKEN_OFF: Final = frozenset({"insufficient_system_resource", "error", "abort"})


class UnreadableError(Exception):
    """An answer that broke off or makes no sense; asking again may help."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What one call brought.

    Attributes:
        completions: One per choice, in order; usage is the call's, shared out evenly.
        model: What the server says answered.
        has_usage: Whether it said how many tokens it read and wrote.
    """

    completions: tuple[Completion, ...]
    model: str
    has_usage: bool


def read_body(body: bytes) -> Reply:
    """Read a plain body.

    Raises:
        UnreadableError: If it is no JSON or holds no choice.
    """
    try:
        answer = _parse(body)
    except ValueError:
        raise UnreadableError("the body is no JSON" if body else "the body is empty") from None
    if not isinstance(answer, dict):
        raise UnreadableError("the body is no object")
    _refuse_error(answer)
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices:
        raise UnreadableError("the answer holds no choices")
    drafts = []
    for choice in choices:
        message = choice.get("message") if isinstance(choice, dict) else None
        if not isinstance(message, dict):
            raise UnreadableError("a choice holds no message")
        draft = _Draft(finish=_text(choice.get("finish_reason")) or "stop")
        draft.add(message)
        drafts.append(draft)
    return _reply(drafts, answer.get("usage"), _text(answer.get("model")))


class StreamReader:
    """Puts a server-sent stream together, part by part.

    Parts are kept and read together, which costs less; never more than some, so that long
    answers do not pile up.
    """

    def __init__(self, *, looks_for_reasoning: bool = True) -> None:
        """Begin with nothing read.

        Args:
            looks_for_reasoning: Whether the first parts are read as they come, for who wants to
                know early whether the model reasons.
        """
        self._kept: list[bytes] = []
        self._kept_bytes = self._fed = 0
        self._read_at = 0 if looks_for_reasoning else _READ_TOGETHER
        self._alike: Alike | None = None
        self._drafts: dict[int, _Draft] = {}
        self._usage: object = None
        self._model = ""
        self._is_done = False

    def feed(self, part: bytes) -> bool:
        """Take what arrived; says whether any of it was content and not a sign of life.

        Raises:
            UnreadableError: If a line is broken or reports an error.
        """
        begins_line = not self._kept or self._kept[-1].endswith(b"\n")
        is_content = (
            (begins_line and part.startswith(_DATA))
            or _NEXT_DATA in part
            or self._continues_with(part)
        )
        self._kept.append(part)
        self._kept_bytes += len(part)
        self._fed += 1
        if self._kept_bytes >= self._read_at or _ERROR in part:
            self._read()
            if self._fed >= _LOOKED_AT or self.is_reasoning:
                self._read_at = _READ_TOGETHER
        return is_content

    @property
    def is_done(self) -> bool:
        """Whether the server said that this is all.

        Raises:
            UnreadableError: If a line is broken or reports an error.
        """
        self._read()
        return self._is_done

    @property
    def is_reasoning(self) -> bool:
        """Whether any choice has begun to reason, in a field of its own or behind a think tag."""
        return any(
            draft.reasoning or "".join(draft.content[:8]).lstrip().startswith(THINK_OPEN)
            for draft in self._drafts.values()
        )

    def reply(self) -> Reply:
        """The whole answer, once the stream has ended; a missing ``[DONE]`` is no fault.

        Raises:
            UnreadableError: If it ended before every choice was finished.
        """
        self._kept.append(b"\n")
        self._read()
        if not self._drafts:
            raise UnreadableError("the stream ended with nothing in it")
        drafts = [self._drafts[index] for index in sorted(self._drafts)]
        if not all(draft.finish or self._is_done for draft in drafts):
            raise UnreadableError("the stream broke off")
        return _reply(drafts, self._usage, self._model)

    def _continues_with(self, part: bytes) -> bool:
        """Whether a part without the beginning of an event goes on with one."""
        self._read()
        return any(line.startswith(_DATA) for line in b"".join([*self._kept, part]).split(b"\n"))

    def _read(self) -> None:
        """Read the lines that are whole; the rest of one is kept."""
        if not self._kept:
            return
        text = b"".join(self._kept)
        end = text.rfind(b"\n") + 1
        self._kept = [text[end:]] if end < len(text) else []
        self._kept_bytes = len(text) - end
        lines = text[:end]
        for _ in range(_FORMS):
            if len(lines) < _FEW_BYTES:
                break
            run = self._alike.run(lines) if self._alike is not None else None
            if run is not None and self._alike is not None:
                self._take_lines(run.before)
                self._take_run(self._alike, run, lines)
                lines = run.after
            elif not self._learn(lines):
                break
        self._take_lines(lines)

    def _learn(self, lines: bytes) -> bool:
        """Take the first event with a text as the form of the others; whether that is a new one."""
        for found in _EVENT.finditer(lines):
            line, gap = found.groups()
            try:
                event = orjson.loads(line[5:])
            except ValueError:
                return False
            alike = Alike.of(line, gap, event, _TEXT_FIELDS) if isinstance(event, dict) else None
            if alike is not None:
                is_new = alike != self._alike
                self._model = self._model or _text(event.get("model"))
                self._alike = alike
                return is_new
        return False

    def _take_run(self, alike: Alike, run: Run, lines: bytes) -> None:
        """Take events that are alike; line by line if they turn out to be others."""
        try:
            text = run.decoded()
        except ValueError:
            self._take_lines(lines[len(run.before) : len(lines) - len(run.after)])
            return
        self._draft(alike.place).add({alike.name: text})

    def _take_lines(self, lines: bytes) -> None:
        """Parse events in one go; one by one if that fails, to find which is broken."""
        if not lines:
            return
        waiting = [line[5:].strip() for line in lines.split(b"\n") if line.startswith(_DATA)]
        if waiting and waiting[-1] == _DONE:
            self._is_done = True
            waiting.pop()
        try:
            events = orjson.loads(b"[%s]" % b",".join(waiting))
        except ValueError:
            events = []
        if len(events) != len(waiting):
            events = [_parsed(data) for data in waiting if data != _DONE]
        for event in events:
            self._take(event)

    def _take(self, event: object) -> None:
        if not isinstance(event, dict):
            raise UnreadableError("a line of the stream is no object")
        choices = event.get("choices")
        if not choices:
            _refuse_error(event)
        self._usage = event.get("usage") or self._usage
        if not self._model:
            self._model = _text(event.get("model"))
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                self._add(choice)

    def _add(self, choice: Json) -> None:
        index = choice.get("index")
        draft = self._draft(index if isinstance(index, int) else 0)
        delta = choice.get("delta")
        if isinstance(delta, dict):
            draft.add(delta)
        draft.finish = _text(choice.get("finish_reason")) or draft.finish

    def _draft(self, place: int) -> "_Draft":
        draft = self._drafts.get(place)
        if draft is None:
            draft = self._drafts[place] = _Draft()
        return draft


@dataclass(slots=True)
class _Draft:
    """A choice as far as it was read."""

    content: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    finish: str = ""

    def add(self, part: Json) -> None:
        """Take a message, or a piece of one."""
        if content := part.get("content"):
            self.content.append(_content_text(content))
        for name in _REASONING_FIELDS:
            if reasoning := part.get(name):
                self.reasoning.append(_text(reasoning))
                break

    def completion(self, usage: Usage) -> Completion:
        """The choice as a completion; a fault of the server's own becomes ``error``."""
        if self.finish in _BROKEN_OFF:
            raise UnreadableError(f"the server gave up: {self.finish}")
        finish = _FINISHED.get(self.finish, "stop" if not self.finish else "error")
        text, reasoning = "".join(self.content), "".join(self.reasoning) or None
        if reasoning is None:
            split = split_reasoning(text)
            text, reasoning = split.answer, split.reasoning
        error = f"the server ended it: {self.finish}" if finish == "error" else None
        text = text if reasoning is None else text.strip()
        reasoning = reasoning.strip() if reasoning is not None else None
        return Completion(text, reasoning, finish, usage, error)


def _reply(drafts: Sequence[_Draft], usage: object, model: str) -> Reply:
    has_usage = isinstance(usage, dict) and isinstance(usage.get("completion_tokens"), int)
    shares = _shares(usage, len(drafts)) if isinstance(usage, dict) else [Usage()] * len(drafts)
    completions = [draft.completion(share) for draft, share in zip(drafts, shares, strict=True)]
    return Reply(tuple(completions), model, has_usage)


def _shares(usage: Json, count: int) -> list[Usage]:
    """The usage of a call shared out over its choices, so that the sum stays exact."""
    if count == 1:
        return [_usage(usage)]
    whole = _usage(usage)
    totals = (
        whole.input_tokens,
        whole.output_tokens,
        whole.reasoning_tokens,
        whole.cached_tokens,
    )
    return [
        Usage(*(total // count + (place < total % count) for total in totals))
        for place in range(count)
    ]


def _usage(usage: Json) -> Usage:
    written = usage.get("completion_tokens_details")
    read = usage.get("prompt_tokens_details")
    cached = _number(usage.get("prompt_cache_hit_tokens"))
    if not cached and isinstance(read, dict):
        cached = _number(read.get("cached_tokens"))
    return Usage(
        input_tokens=_number(usage.get("prompt_tokens")),
        output_tokens=_number(usage.get("completion_tokens")),
        reasoning_tokens=_number(written.get("reasoning_tokens"))
        if isinstance(written, dict)
        else _number(usage.get("reasoning_tokens")),
        cached_tokens=cached,
    )


def _parsed(data: bytes) -> object:
    try:
        return _parse(data)
    except ValueError:
        raise UnreadableError("a line of the stream is no JSON") from None


def _parse(data: bytes) -> object:
    """JSON, also such that holds half of a surrogate pair, which the fast parser refuses."""
    try:
        return orjson.loads(data)
    except ValueError:
        return json.loads(data)


def _refuse_error(answer: Json) -> None:
    """Some servers answer 200 and put the error into the body or the stream."""
    error = answer.get("error")
    if error and not answer.get("choices"):
        message = error.get("message") if isinstance(error, dict) else error
        raise UnreadableError(f"the server says: {_text(message) or error}")


def _content_text(content: object) -> str:
    """Content is text, or a list of parts that hold text."""
    if isinstance(content, list):
        return "".join(_text(part.get("text")) for part in content if isinstance(part, dict))
    return _text(content)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0
