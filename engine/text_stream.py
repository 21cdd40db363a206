"""Tokens as text while they come: whole characters only, reasoning told from answer, stop strings.

Each class takes pieces and gives what is certain by then; `finish` gives the rest.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from transformers import PreTrainedTokenizerBase

from distill.reasoning import THINK_CLOSE, THINK_OPEN

Kind = Literal["reasoning", "answer"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a reply, to be shown as it comes."""

    kind: Kind
    text: str


class TokenText:
    """Text of tokens as they come; a character that spans several comes when it is whole."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._token_ids: list[int] = []
        # Tokens before `shown` are out; those from `start` on decide about spaces.
        self._start, self._shown = 0, 0

    def feed(self, token_id: int) -> str:
        """Take a token and give the text that is certain by now, often none."""
        self._token_ids.append(token_id)
        before = self._decode(self._token_ids[self._start : self._shown])
        text = self._decode(self._token_ids[self._start :])
        if text.endswith("\N{REPLACEMENT CHARACTER}"):
            return ""
        self._start, self._shown = self._shown, len(self._token_ids)
        return text[len(before) :]

    def finish(self) -> str:
        """The rest, such as the first bytes of a character that was cut."""
        before = self._decode(self._token_ids[self._start : self._shown])
        return self._decode(self._token_ids[self._start :])[len(before) :]

    def _decode(self, token_ids: list[int]) -> str:
        return str(self._tokenizer.decode(token_ids, skip_special_tokens=True))


class StopFinder:
    """Holds text back that may turn out to be the beginning of a stop string."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.is_found = False
        """Whether a stop string was met; what comes after it is dropped."""

    def feed(self, text: str) -> str:
        """Take text and give what comes before any stop string for certain."""
        if self.is_found:
            return ""
        self._held += text
        places = [place for stop in self._stops if (place := self._held.find(stop)) >= 0]
        if places:
            self.is_found = True
            return self._give(min(places))
        return self._give(len(self._held) - self._uncertain())

    def finish(self) -> str:
        """What was held back and is no stop string."""
        return "" if self.is_found else self._give(len(self._held))

    def _uncertain(self) -> int:
        """Characters at the end that a stop string begins with."""
        longest = max(map(len, self._stops), default=1) - 1
        for length in range(min(longest, len(self._held)), 0, -1):
            tail = self._held[-length:]
            if any(stop.startswith(tail) for stop in self._stops):
                return length
        return 0

    def _give(self, length: int) -> str:
        text, self._held = self._held[:length], self._held[length:]
        return text


class ReasoningSplitter:
    """Takes text as it comes, gives pieces without tags and without white space around parts."""

    def __init__(self, *, is_opened: bool) -> None:
        self._kind: Kind = "reasoning" if is_opened else "answer"
        self._may_open = not is_opened
        self._has_begun = False
        self._held = ""

    @property
    def is_reasoning(self) -> bool:
        """Whether what comes next is reasoning."""
        return self._kind == "reasoning"

    def feed(self, text: str) -> Iterator[Piece]:
        """Take more text and give what is certain by now."""
        self._held += text
        if self._may_open:
            body = self._held.lstrip()
            if THINK_OPEN.startswith(body):  # too little to tell, or the whole tag and no more
                return
            self._may_open = False
            if body.startswith(THINK_OPEN):
                self._kind, self._held = "reasoning", body.removeprefix(THINK_OPEN)
        if self._kind == "reasoning" and THINK_CLOSE in self._held:
            self._held, _, after = self._held.partition(THINK_CLOSE)
            yield from self.finish()
            self._kind, self._held, self._has_begun = "answer", after, False
        yield from self._release(len(self._held) - self._uncertain())

    def finish(self) -> Iterator[Piece]:
        """Give the rest of this part."""
        self._held = self._held.rstrip()
        yield from self._release(len(self._held))

    def _uncertain(self) -> int:
        """Characters at the end that may turn out to be a tag, or white space before one."""
        text = self._held
        if self._kind == "reasoning":
            for length in range(len(THINK_CLOSE) - 1, 0, -1):
                if text.endswith(THINK_CLOSE[:length]):
                    text = text[:-length]
                    break
        return len(self._held) - len(text.rstrip())

    def _release(self, length: int) -> Iterator[Piece]:
        text, self._held = self._held[:length], self._held[length:]
        if not self._has_begun:
            text = text.lstrip()
        if text:
            self._has_begun = True
            yield Piece(self._kind, text)
