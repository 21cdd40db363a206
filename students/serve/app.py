"""The server: the OpenAI API over HTTP, its limits, health and metrics."""

import asyncio
import hmac
import json
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from distill.errors import DistillError
from students.serve.backend import Backend, ChatRequest, Delta, End, RequestError
from students.serve.metrics import Metrics
from students.serve.wire import Replies, error_body, read_request

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_OPEN: Final = ("/health", "/metrics")
_WATCH_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Limits:
    """What clients may ask of the server.

    Attributes:
        choices: Completions that are under way or wait, of all requests together.
        max_tokens: New tokens of a completion.
        body_bytes: Of a request.
        body_seconds: In which a request must have arrived.
        stall_seconds: Without a new token, while completions run, after which health says so.
        drain_seconds: That completions get to end when the server is told to.
    """

    choices: int = 256
    max_tokens: int = 32_768
    body_bytes: int = 8 * 1024 * 1024
    body_seconds: float = 30.0
    stall_seconds: float = 60.0
    drain_seconds: float = 60.0


class StudentServer:
    """A student's completions over HTTP."""

    def __init__(self, backend: Backend, model: str, limits: Limits, key: str = "") -> None:
        """Take a back end, which others do not use.

        Args:
            backend: Draws the completions.
            model: Name that clients ask for.
            limits: What they may ask.
            key: They must send; empty for none.
        """
        self._backend = backend
        self._model = model
        self._limits = limits
        self._key = key.encode()
        self._open_choices = 0
        self._is_draining = False
        self._moved = (0, time.monotonic())
        self.metrics = Metrics()

    def app(self) -> web.Application:
        """The application, to be run by aiohttp."""
        app = web.Application(
            client_max_size=self._limits.body_bytes,
            middlewares=[self._answer_errors, self._ask_key],
        )
        app.router.add_get("/health", self._health)
        app.router.add_get("/metrics", self._show_metrics)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/v1/models/{name:.+}", self._one_model)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.cleanup_ctx.append(self._watched)
        return app

    async def drain(self) -> None:
        """Refuse new requests and wait for those under way, as long as they may take."""
        self._is_draining = True
        until = time.monotonic() + self._limits.drain_seconds
        while self._open_choices and time.monotonic() < until:
            await asyncio.sleep(0.05)

    @web.middleware
    async def _answer_errors(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Whatever goes wrong is told as JSON; nothing that it tells is secret."""
        started = time.monotonic()
        try:
            response = await handler(request)
        except RequestError as error:
            response = _refusal(error.problem, error.status, error.param)
        except web.HTTPException as error:
            response = _refusal(error.reason, error.status)
        except (DistillError, TimeoutError) as error:
            response = _refusal(str(error) or "it takes too long", 500)
        self.metrics.count_request(response.status, time.monotonic() - started)
        return response

    @web.middleware
    async def _ask_key(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ").encode()
        if self._key and request.path not in _OPEN and not hmac.compare_digest(given, self._key):
            raise RequestError("the API key is wrong or missing", status=401)
        return await handler(request)

    async def _models(self, request: web.Request) -> web.Response:
        del request
        return web.json_response({"object": "list", "data": [self._model_record()]})

    async def _one_model(self, request: web.Request) -> web.Response:
        self._require_model(request.match_info["name"])
        return web.json_response(self._model_record())

    def _model_record(self) -> dict[str, Any]:
        return {"id": self._model, "object": "model", "owned_by": "local", "created": 0}

    def _require_model(self, name: object) -> None:
        if name is not None and name != self._model:
            raise RequestError(
                f"there is no model {name!r}; this server has {self._model!r}",
                param="model",
                status=404,
            )

    async def _health(self, request: web.Request) -> web.Response:
        """Well means that tokens are advancing, or that nobody waits for any."""
        del request
        still = time.monotonic() - self._moved[1]
        state, status = "ok", 200
        if fault := self._backend.fault():
            state, status = f"failed: {fault}", 503
        elif self._is_draining:
            state, status = "shutting down", 503
        elif self._backend.running and still > self._limits.stall_seconds:
            state, status = f"no token for {still:.0f} s", 503
        record = {"status": state, "running": self._backend.running, "backend": self._backend.name}
        return web.json_response({**record, "tokens": self._backend.drawn_tokens}, status=status)

    async def _show_metrics(self, request: web.Request) -> web.Response:
        del request
        text = self.metrics.text(
            running=self._backend.running,
            open_choices=self._open_choices,
            drawn_tokens=self._backend.drawn_tokens,
        )
        return web.Response(text=text, content_type="text/plain")

    async def _chat(self, http: web.Request) -> web.StreamResponse:
        request = await self._read(http)
        replies = Replies(f"chatcmpl-{secrets.token_hex(12)}", self._model)
        async with self._places(request.choices):
            if request.is_stream:
                return await self._stream(http, request, replies)
            choices: list[list[Delta]] = [[] for _ in range(request.choices)]
            ends: dict[int, End] = {}
            async for choice, item in _merged(self._backend, request):
                if isinstance(item, End):
                    ends[choice] = item
                else:
                    choices[choice].append(item)
            in_order = [ends[choice] for choice in range(request.choices)]
            self.metrics.count_tokens(in_order)
            return web.json_response(replies.body(choices, in_order, request))

    async def _read(self, http: web.Request) -> ChatRequest:
        if self._is_draining:
            raise RequestError("this server is shutting down", status=503)
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                data = await http.read()
        except TimeoutError:
            seconds = self._limits.body_seconds
            raise RequestError(f"the request took over {seconds:g} s", status=408) from None
        try:
            body = json.loads(data)
        except (ValueError, RecursionError):
            raise RequestError("the body is no valid JSON") from None
        self._require_model(body.get("model") if isinstance(body, dict) else None)
        return read_request(body, most_tokens=self._limits.max_tokens)

    @asynccontextmanager
    async def _places(self, choices: int) -> AsyncIterator[None]:
        if self._open_choices + choices > self._limits.choices:
            raise RequestError(
                f"{self._open_choices} completions are under way; {self._limits.choices} may be",
                status=429,
            )
        self._open_choices += choices
        try:
            yield
        finally:
            self._open_choices -= choices

    async def _stream(
        self, http: web.Request, request: ChatRequest, replies: Replies
    ) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
        )
        ends: list[End] = []
        opened: set[int] = set()
        async for choice, item in _merged(self._backend, request):
            if not opened:
                # Only now: until the first token, a refusal can still be told by its status.
                await response.prepare(http)
            if choice not in opened:
                opened.add(choice)
                await _send(response, replies.first(choice))
            if isinstance(item, End):
                ends.append(item)
                await _send(response, replies.end(choice, item))
            else:
                await _send(response, replies.delta(choice, item))
        if request.wants_usage:
            await _send(response, replies.usage(ends))
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        self.metrics.count_tokens(ends)
        return response

    async def _watched(self, app: web.Application) -> AsyncIterator[None]:
        """Note when tokens last advanced, and end the back end with the server."""
        del app
        watching = asyncio.create_task(self._watch())
        yield
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        await asyncio.to_thread(self._backend.close)

    async def _watch(self) -> None:
        while True:
            drawn = self._backend.drawn_tokens
            if drawn != self._moved[0] or not self._backend.running:
                self._moved = (drawn, time.monotonic())
            await asyncio.sleep(_WATCH_SECONDS)


async def _merged(backend: Backend, request: ChatRequest) -> AsyncIterator[tuple[int, Delta | End]]:
    """Items of all choices of a request as they come; closing it cancels all."""
    arrived: asyncio.Queue[tuple[int, Delta | End] | BaseException | None] = asyncio.Queue()

    async def follow(choice: int) -> None:
        try:
            async with aclosing(backend.complete(request, choice)) as items:
                async for item in items:
                    arrived.put_nowait((choice, item))
        except Exception as error:  # noqa: BLE001 - raised again below
            arrived.put_nowait(error)
        else:
            arrived.put_nowait(None)

    tasks = [asyncio.create_task(follow(choice)) for choice in range(request.choices)]
    try:
        left = len(tasks)
        while left:
            found = await arrived.get()
            if isinstance(found, BaseException):
                raise found
            if found is None:
                left -= 1
            else:
                yield found
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _send(response: web.StreamResponse, record: dict[str, Any]) -> None:
    await response.write(b"data: " + json.dumps(record, ensure_ascii=False).encode() + b"\n\n")


def _refusal(problem: str, status: int, param: str = "") -> web.Response:
    headers = {"Retry-After": "1"} if status in {429, 503} else {}
    body = error_body(problem, param=param, status=status)
    return web.json_response(body, status=status, headers=headers)
