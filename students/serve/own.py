"""The project's engine as a back end: one thread steps it, requests come and go at any time."""

import asyncio
import itertools
import secrets
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from distill.errors import ModelError
from distill.reasoning import THINK_CLOSE
from engine.chat_format import is_reasoning_opened, render
from engine.row import Decoding, Row
from engine.session import Engine
from engine.text_stream import Piece, ReasoningSplitter, StopFinder, TokenText
from students.serve.backend import ChatRequest, Delta, End, RequestError, TokenLogprob


@dataclass(frozen=True, slots=True)
class _Token:
    """One drawn token, and how the row ended if it did."""

    token_id: int
    logprob: float | None
    finish: str | None


_Listener = Callable[[list[_Token] | BaseException], object]


class EngineThread:
    """Steps an engine in a thread of its own, and tells each row's listener what was drawn."""

    def __init__(self, engine: Engine) -> None:
        """Take an engine over and start."""
        self._engine = engine
        self._inbox: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._is_closing = False
        self._listeners: dict[Row, _Listener] = {}
        self.drawn_tokens = 0
        self.fault: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def rows(self) -> int:
        """Rows that run or wait."""
        return len(self._listeners)

    def add(self, row: Callable[[], Row], listener: _Listener) -> Callable[[], None]:
        """Ask for a row, made in the engine's thread; gives what cancels it."""
        made: list[Row] = []

        def start() -> None:
            try:
                made.append(row())
            except ValueError as error:
                listener(error)
                return
            self._listeners[made[0]] = listener

        def stop() -> None:
            if made and self._listeners.pop(made[0], None) is not None:
                self._engine.cancel(made[0])

        self._do(start)
        return lambda: self._do(stop)

    def close(self) -> None:
        """End after the step that is under way."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join()

    def _do(self, job: Callable[[], None]) -> None:
        with self._changed:
            if self.fault is None:
                self._inbox.append(job)
            self._changed.notify()
        if self.fault is not None:
            raise ModelError(f"the model failed: {self.fault}")

    def _run(self) -> None:
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(
                        lambda: self._inbox or self._engine.has_work or self._is_closing
                    )
                    if self._is_closing:
                        return
                    jobs, self._inbox = self._inbox, deque()
                for job in jobs:
                    job()
                self._tell(self._engine.step() if self._engine.has_work else [])
        except BaseException as error:  # noqa: BLE001 - told to everybody who waits
            self.fault = error
            for listener in list(self._listeners.values()):
                listener(error)
            self._listeners.clear()

    def _tell(self, rows: list[Row]) -> None:
        self.drawn_tokens += len(rows)
        for row in rows:
            logprob = row.logprobs[-1] if row.logprobs else None
            listener = self._listeners[row]
            if row.finish is not None:
                del self._listeners[row]
            listener([_Token(row.token_ids[-1], logprob, row.finish)])


class EngineBackend:
    """Draws completions with the project's engine."""

    name = "engine"

    def __init__(self, engine: Engine, tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> None:
        """Take an engine over.

        Args:
            engine: Of the student, in nobody else's hands.
            tokenizer: With a chat template.
            max_tokens: New tokens of a completion at most.
        """
        self._engine = engine
        self._thread = EngineThread(engine)
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens

    @property
    def running(self) -> int:
        """Completions that are being drawn, or wait for a place."""
        return self._thread.rows

    @property
    def drawn_tokens(self) -> int:
        """Tokens since the start."""
        return self._thread.drawn_tokens

    def fault(self) -> str:
        """Why nothing can be drawn any more."""
        fault = self._thread.fault
        return "" if fault is None else f"{type(fault).__name__}: {fault}"

    def close(self) -> None:
        """End; what runs is dropped."""
        self._thread.close()

    async def complete(
        self, request: ChatRequest, choice: int
    ) -> AsyncGenerator[Delta | End, None]:
        """See ``Backend``."""
        prompt_ids = self._prompt_ids(request)
        arrived: asyncio.Queue[list[_Token] | BaseException] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        name = f"{secrets.token_hex(8) if request.seed is None else request.seed}/{choice}"
        decoding = Decoding(
            temperature=request.temperature,
            top_p=request.top_p,
            top_k=request.top_k,
            min_p=request.min_p,
            repetition_penalty=request.repetition_penalty,
            max_tokens=request.max_tokens or self._max_tokens,
            keeps_logprobs=request.wants_logprobs,
        )

        def listen(what: list[_Token] | BaseException) -> None:
            with suppress(RuntimeError):  # whoever waited is gone, and the loop with them
                loop.call_soon_threadsafe(arrived.put_nowait, what)

        cancel = self._thread.add(lambda: self._engine.add(prompt_ids, decoding, name=name), listen)
        try:
            reply = _Reply(self._tokenizer, prompt_ids, request)
            while reply.end is None:
                for delta in reply.feed(_tokens_of(await arrived.get())):
                    yield delta
            yield reply.end
        finally:
            if self._thread.fault is None:
                cancel()

    def _prompt_ids(self, request: ChatRequest) -> list[int]:
        try:
            prompt_ids = render(self._tokenizer, request.messages, add_generation_prompt=True)
        except ModelError as error:
            raise RequestError(error.problem, param="messages") from error
        if len(prompt_ids) >= self._engine.longest:
            raise RequestError(
                f"the conversation has {len(prompt_ids):,} tokens; this server reads"
                f" {self._engine.longest - 1:,} at most",
                param="messages",
            )
        return prompt_ids


class _Reply:
    """Tokens of one completion as deltas, up to its end."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, prompt_ids: list[int], request: ChatRequest
    ) -> None:
        self._tokenizer = tokenizer
        self._prompt_tokens = len(prompt_ids)
        self._text = TokenText(tokenizer)
        self._stops = StopFinder(request.stops)
        self._splitter = ReasoningSplitter(is_opened=is_reasoning_opened(tokenizer, prompt_ids))
        self._close_id = tokenizer.convert_tokens_to_ids(THINK_CLOSE)
        self._tokens = self._reasoning_tokens = 0
        self._logprobs: list[TokenLogprob] = []
        self.end: End | None = None

    def feed(self, tokens: list[_Token]) -> list[Delta]:
        """Take tokens; ``end`` is set when the completion has ended."""
        pieces: list[Piece] = []
        for token in tokens:
            self._tokens += 1
            if token.token_id == self._close_id:
                self._reasoning_tokens = self._tokens
            if token.logprob is not None:
                shown = str(self._tokenizer.decode([token.token_id]))
                self._logprobs.append(TokenLogprob(shown, token.logprob))
            text = self._text.feed(token.token_id)
            pieces += self._splitter.feed(self._stops.feed(text))
            if token.finish is not None or self._stops.is_found:
                pieces += self._splitter.feed(self._stops.feed(self._text.finish()))
                pieces += itertools.chain(
                    self._splitter.feed(self._stops.finish()), self._splitter.finish()
                )
                is_cut = token.finish == "length" and not self._stops.is_found
                self.end = End(
                    "length" if is_cut else "stop",
                    self._prompt_tokens,
                    self._tokens,
                    self._tokens if self._splitter.is_reasoning else self._reasoning_tokens,
                )
                break
        deltas = [Delta(piece.kind, piece.text) for piece in pieces]
        if self._logprobs and (deltas or self.end is not None):
            first = deltas[0] if deltas else Delta("answer", "")
            deltas[:1] = [Delta(first.kind, first.text, tuple(self._logprobs))]
            self._logprobs = []
        return deltas


def _tokens_of(what: list[_Token] | BaseException) -> list[_Token]:
    if isinstance(what, ValueError):
        raise RequestError(str(what))
    if isinstance(what, BaseException):
        raise ModelError(f"the model failed: {what}") from what
    return what
