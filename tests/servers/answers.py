"""What the stub answers: drawn from the prompt's text, so that every run draws the same.

A prompt is a sum. Its pass rate comes from a Beta distribution seeded by its text, and each of its
answers is right or wrong by that rate. Reasoning comes from a small pool that is encoded once: a
request must cost the server less than it costs the client.

This module knows settings and texts, nothing of HTTP.
"""

import json
import random
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from tests.servers.settings import Settings

_POOL = 16
_MARK = "@answer@"
_WORDS = ("so", "first", "add", "the", "tens", "then", "carry", "one", "check", "again", "≈", "é")
_SUM = re.compile(r"(\d+) \+ (\d+)")


def sum_prompt(number: int) -> tuple[str, str]:
    """Text and gold answer of the ``number``-th prompt that the stub can solve.

    Example:
        >>> sum_prompt(7)
        ('Problem 7: what is 359 + 18?', '377')
    """
    left, right = 100 + 37 * number % 900, 11 + number % 89
    return f"Problem {number}: what is {left} + {right}?", str(left + right)


def gold_of(text: str) -> str:
    """The sum in a text; ``"0"`` if there is none."""
    found = _SUM.search(text)
    return str(int(found[1]) + int(found[2])) if found else "0"


@dataclass(frozen=True, slots=True)
class Drawn:
    """One answer before it has a form.

    Attributes:
        reasoning: Index in the pool.
        text: The answer part; empty if it was cut.
        is_cut: Whether the token limit cut it.
    """

    reasoning: int
    text: str
    is_cut: bool


class Answers:
    """Draws answers and gives them the form of a body or of a stream."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        rng = random.Random(settings.seed)
        self._pool = [_reasoning(rng, settings.reasoning_chars) for _ in range(_POOL)]
        self._tokens = settings.reasoning_chars // 4
        self._around: dict[tuple[int, bool], tuple[bytes, bytes]] = {}  # what an answer stands in
        self._events: dict[tuple[int, int, bool], bytes] = {}  # those before the answer
        self._pass_rates: dict[str, float] = {}

    def draw(self, text: str, ordinal: int) -> Drawn:
        """The ``ordinal``-th answer to a prompt."""
        is_right = self._chance(text, f"right/{ordinal}") < self.pass_rate(text)
        is_cut = self._chance(text, "length") < self._settings.length_share
        gold = int(gold_of(text))
        answer = "" if is_cut else f"The answer is \\boxed{{{gold if is_right else gold + 1}}}."
        return Drawn(zlib.crc32(f"{text}{ordinal}".encode()) % _POOL, answer, is_cut)

    def pass_rate(self, text: str) -> float:
        """The chance that an answer to this prompt is right."""
        rate = self._pass_rates.get(text)
        if rate is None:
            rng = random.Random(f"{self._settings.seed}/{text}")
            rate = rng.betavariate(self._settings.alpha, self._settings.beta)
            self._pass_rates[text] = rate
        return rate

    def is_broken(self, text: str) -> bool:
        """Whether this prompt never gets an answer."""
        return self._chance(text, "broken") < self._settings.broken_share

    def fault(self, text: str, attempt: int) -> str:
        """Which fault the ``attempt``-th request for a prompt ends in; ``""`` for none."""
        if not self._settings.faults:
            return ""
        chance = self._chance(text, f"fault/{attempt}")
        for name, share in self._settings.faults.items():
            if chance < share:
                return name
            chance -= share
        return ""

    def latency(self, text: str, attempt: int) -> float:
        """Seconds until the answer is whole."""
        median = self._settings.latency_seconds
        if not median:
            return 0.0
        rng = random.Random(zlib.crc32(f"{self._settings.seed}{text}{attempt}".encode()))
        return median * rng.lognormvariate(0.0, self._settings.latency_sigma)

    def body(self, drawn: list[Drawn], text: str) -> bytes:
        """A whole JSON body with one choice for each answer."""
        choices = b",".join(
            b'{"index":%d,%s' % (index, self._choice(each)) for index, each in enumerate(drawn)
        )
        usage = b',"usage":%s' % self._usage(drawn, text) if self._settings.sends_usage else b""
        return b'{"id":"stub","object":"chat.completion","model":"%s","choices":[%s]%s}' % (
            self._settings.model.encode(),
            choices,
            usage,
        )

    def stream(self, drawn: list[Drawn], text: str) -> bytes:
        """The events of a stream, choice after choice."""
        parts = [self._choice_events(index, each) for index, each in enumerate(drawn)]
        if self._settings.sends_usage:
            parts.append(b'data: {"choices":[],"usage":%s}\n\n' % self._usage(drawn, text))
        if self._settings.sends_done:
            parts.append(b"data: [DONE]\n\n")
        return b"".join(parts)

    def _chance(self, text: str, what: str) -> float:
        """In [0, 1), the same for the same seed, text and purpose."""
        # crc32 alone is linear: chances of the same text for other purposes would hang together.
        mixed = zlib.crc32(f"{what}/{self._settings.seed}/{text}".encode()) * 0x9E3779B97F4A7C15
        mixed = (mixed ^ (mixed >> 29)) * 0xBF58476D1CE4E5B9
        return ((mixed >> 32) & 0xFFFFFFFF) / 2**32

    def _message(self, reasoning: str, text: str, *, is_cut: bool) -> dict[str, str]:
        closing = "" if is_cut else "\n</think>\n\n"
        match self._settings.reasoning:
            case "none":
                return {"content": text}
            case "think":
                return {"content": f"<think>\n{reasoning}{closing}{text}"}
            case "think-unopened":
                return {"content": f"{reasoning}{closing}{text}"}
            case name:
                return {name: reasoning, "content": text}

    def _choice(self, drawn: Drawn) -> bytes:
        """One choice without its opening brace and index."""
        key = (drawn.reasoning, drawn.is_cut)
        if key not in self._around:
            message = self._message(self._pool[drawn.reasoning], _MARK, is_cut=drawn.is_cut)
            before, _, after = _json({"role": "assistant"} | message).partition(_MARK.encode())
            self._around[key] = before, after
        before, after = self._around[key]
        finish = b"length" if drawn.is_cut else b"stop"
        answer = _json(drawn.text)[1:-1]
        return b'"message":%s%s%s,"finish_reason":"%s"}' % (before, answer, after, finish)

    def _choice_events(self, index: int, drawn: Drawn) -> bytes:
        opening = b'data: {"id":"stub","model":"%s","choices":[{"index":%d,"delta":' % (
            self._settings.model.encode(),
            index,
        )
        key = (index, drawn.reasoning, drawn.is_cut)
        if key not in self._events:
            message = self._message(self._pool[drawn.reasoning], "", is_cut=drawn.is_cut)
            deltas = [b'{"role":"assistant"}', *self._deltas(message)]
            self._events[key] = b"".join(_event(opening, delta) for delta in deltas)
        answer = b"".join(_event(opening, each) for each in self._deltas({"content": drawn.text}))
        finish = b"length" if drawn.is_cut else b"stop"
        last = b'%s{},"finish_reason":"%s"}]}\n\n' % (opening, finish)
        return self._events[key] + answer + last

    def _deltas(self, message: dict[str, str]) -> Iterator[bytes]:
        size = self._settings.chunk_chars
        for name, value in message.items():
            for start in range(0, len(value), size):
                yield _json({name: value[start : start + size]})

    def _usage(self, drawn: list[Drawn], text: str) -> bytes:
        reasoning = 0 if self._settings.reasoning == "none" else self._tokens * len(drawn)
        output = reasoning + sum(len(each.text) // 4 for each in drawn)
        return (
            b'{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,'
            b'"completion_tokens_details":{"reasoning_tokens":%d}}'
            % (len(text) // 4, output, len(text) // 4 + output, reasoning)
        )


def _reasoning(rng: random.Random, chars: int) -> str:
    words: list[str] = []
    length = 0
    while length < chars:
        words.append(rng.choice(_WORDS) + ("\n" if rng.random() < 0.1 else ""))
        length += len(words[-1]) + 1
    return " ".join(words)[:chars].strip().ljust(chars, ".")


def _event(opening: bytes, delta: bytes) -> bytes:
    return b'%s%s,"finish_reason":null}]}\n\n' % (opening, delta)


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
