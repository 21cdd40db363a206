"""What is said to an OpenAI-compatible endpoint and what it says back: bodies and streams.

Servers differ in where they put the reasoning (``reasoning_content``, ``reasoning``, or think tags
in the content, the opening one missing when the chat template wrote it), in what they leave out
(usage, ``[DONE]``, choices), and in what they send while one waits (empty lines, comments). All of
it is read here; what is missing stays missing and is never guessed.

This module knows no sockets, prices or retries.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from distill.reasoning import THINK_OPEN, split_reasoning
from distill.types import Completion, FinishReason, Usage

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
_DONE: Final = b"[DONE]"
_READ_AT_ONCE: Final = 8
_PARSED_TOGETHER: Final = 256
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
    """Puts a server-sent stream together, chunk by chunk.

    The first events are read as they come, to see whether the model reasons. The others are kept
    and parsed many at a time, which costs a third; never more than a few, so that long answers do
    not pile up.
    """

    def __init__(self) -> None:
        """Begin with nothing read."""
        self._rest = b""
        self._seen = 0
        self._waiting: list[bytes] = []
        self._drafts: dict[int, _Draft] = {}
        self._usage: object = None
        self._model = ""
        self.is_done = False
        """Whether the server said that this is all."""

    def feed(self, chunk: bytes) -> bool:
        """Take what arrived; says whether any of it was content and not a sign of life.

        Raises:
            UnreadableError: If a line is broken or reports an error.
        """
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        events = [line[5:].strip() for line in lines if line.startswith(b"data:")]
        if not events:
            return False
        if events[-1] == _DONE:
            self.is_done = True
            events.pop()
        for data in events[: max(_READ_AT_ONCE - self._seen, 0)]:
            self._take(_parsed(data))
        self._waiting += events[max(_READ_AT_ONCE - self._seen, 0) :]
        self._seen += len(events)
        if len(self._waiting) >= _PARSED_TOGETHER:
            self._take_waiting()
        return True

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
        if self._rest:
            self.feed(b"\n")
        self._take_waiting()
        if not self._drafts:
            raise UnreadableError("the stream ended with nothing in it")
        drafts = [self._drafts[index] for index in sorted(self._drafts)]
        if not all(draft.finish or self.is_done for draft in drafts):
            raise UnreadableError("the stream broke off")
        return _reply(drafts, self._usage, self._model)

    def _take_waiting(self) -> None:
        """Parse what waits in one go; one by one if that fails, to find which is broken."""
        waiting, self._waiting = self._waiting, []
        try:
            events = orjson.loads(b"[" + b",".join(waiting) + b"]")
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
        place = index if isinstance(index, int) else 0
        draft = self._drafts.get(place)
        if draft is None:
            draft = self._drafts[place] = _Draft()
        delta = choice.get("delta")
        if isinstance(delta, dict):
            draft.add(delta)
        draft.finish = _text(choice.get("finish_reason")) or draft.finish


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
