"""A conversation with a student: one reply at a time, streamed, reasoning told from answer.

Whatever draws the tokens is a back end of the server (``students.serve``), so a student says the
same in a terminal as over HTTP. This module draws no screen: it yields pieces of text, and whoever
shows them may stop at any piece.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, field

from distill.errors import ModelError
from distill.types import Message
from engine.text_stream import Piece as Piece  # noqa: PLC0414 - known from here
from students.serve.backend import Backend, ChatRequest, Delta, End, RequestError


@dataclass(slots=True)
class ChatSettings:
    """How replies are drawn; may be changed between them.

    Attributes:
        temperature: 0 is greedy.
        top_p: Nucleus that is drawn from.
        max_tokens: Of a reply at most.
        seed: The same seed, settings and messages give the same replies.
        system: What the student is told before the conversation; empty for nothing.
    """

    temperature: float = 0.6
    top_p: float = 0.95
    max_tokens: int = 4096
    seed: int = 0
    system: str = ""


@dataclass(slots=True)
class ChatSession:
    """A student and what was said to it.

    Attributes:
        backend: Draws the replies.
        settings: How.
        history: The turns so far, without the system's.
        last: How the last reply ended; ``None`` if it was stopped or there was none.
    """

    backend: Backend
    settings: ChatSettings
    history: list[Message] = field(default_factory=list)
    last: End | None = None

    @property
    def is_cut(self) -> bool:
        """Whether the last reply ended at the token limit rather than by itself."""
        return self.last is not None and self.last.finish == "length"

    def reset(self) -> None:
        """Forget what was said; the settings stay."""
        self.history = []

    def messages(self, said: Sequence[Message] = ()) -> list[Message]:
        """All turns, the system's first."""
        system = [Message("system", self.settings.system)] if self.settings.system else []
        return [*system, *self.history, *said]

    def stream(self, text: str) -> Iterator[Piece]:
        """Say something and get the reply in pieces.

        A reply that is stopped, by closing the iterator or by Ctrl-C, stays in the history as far
        as it came.

        Raises:
            ModelError: If the conversation is longer than the model can read.
        """
        said = Message("user", text)
        settings = self.settings
        request = ChatRequest(
            messages=self.messages([said]),
            max_tokens=settings.max_tokens,
            temperature=settings.temperature,
            top_p=settings.top_p,
            seed=settings.seed,
        )
        parts = {"reasoning": "", "answer": ""}
        self.last = None
        try:
            for item in _now(self.backend.complete(request, len(self.history))):
                if isinstance(item, End):
                    self.last = item
                elif item.text:
                    parts[item.kind] += item.text
                    yield Piece(item.kind, item.text)
        except RequestError as error:
            raise ModelError(error.problem, hint="start a new conversation") from error
        finally:
            if any(parts.values()):
                reply = Message("assistant", parts["answer"], parts["reasoning"] or None)
                self.history += [said, reply]


def _now(items: AsyncGenerator[Delta | End, None]) -> Iterator[Delta | End]:
    """Items of a stream as they come, for a caller that waits."""
    with asyncio.Runner() as runner:
        try:
            while True:
                item = runner.run(_next(items))
                if item is None:
                    return
                yield item
        finally:
            runner.run(_close(items))


async def _next(items: AsyncGenerator[Delta | End, None]) -> Delta | End | None:
    return await anext(items, None)


async def _close(items: AsyncGenerator[Delta | End, None]) -> None:
    await items.aclose()
