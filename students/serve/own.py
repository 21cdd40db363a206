"""The project's engine as a back end: one thread steps it, requests come and go at any time."""

import asyncio
import secrets
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress

from transformers import PreTrainedTokenizerBase

from distill.errors import ModelError
from engine.row import Decoding, Row
from engine.session import Engine
from students.serve.backend import ChatRequest, Delta, End, RequestError
from students.serve.reply import Reply, Token, read_prompt

_Listener = Callable[[list[Token] | BaseException], object]


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
            listener([Token(row.token_ids[-1], logprob, row.finish)])


class EngineBackend:
    """Draws completions with the project's engine."""

    name = "own"

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
        prompt_ids = read_prompt(self._tokenizer, request.messages, self._engine.longest)
        arrived: asyncio.Queue[list[Token] | BaseException] = asyncio.Queue()
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

        def listen(what: list[Token] | BaseException) -> None:
            with suppress(RuntimeError):  # whoever waited is gone, and the loop with them
                loop.call_soon_threadsafe(arrived.put_nowait, what)

        cancel = self._thread.add(lambda: self._engine.add(prompt_ids, decoding, name=name), listen)
        try:
            reply = Reply(self._tokenizer, prompt_ids, request)
            while reply.end is None:
                for delta in reply.feed(_tokens_of(await arrived.get())):
                    yield delta
            yield reply.end
        finally:
            if self._thread.fault is None:
                cancel()


def _tokens_of(what: list[Token] | BaseException) -> list[Token]:
    if isinstance(what, ValueError):
        raise RequestError(str(what))
    if isinstance(what, BaseException):
        raise ModelError(f"the model failed: {what}") from what
    return what
