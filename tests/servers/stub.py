"""A stub of an OpenAI-compatible endpoint, with latency, faults and a ledger of what was paid.

    python -m tests.servers.stub --port 0 --settings '{"latency_seconds": 0.05}'

It listens on 127.0.0.1, prints its port, and runs until it is told to end (SIGTERM).
`tests.servers.settings` says what can be set.
"""

import argparse
import asyncio
import json
import signal
from contextlib import suppress
from typing import Any

from aiohttp import web

from tests.servers.answers import Answers, Drawn
from tests.servers.ledger import Ledger, Paid
from tests.servers.settings import Settings, read_settings

_JSON = "application/json"
_REFUSALS = {
    400: "max_tokens must be at most 8192",
    401: "Authentication Fails (no such user)",
    402: "Insufficient Balance",
    404: "The model does not exist",
}


class Stub:
    """The endpoint: one handler for everything."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._answers = Answers(settings)
        self._ledger = Ledger(settings.ledger)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        if request.path == "/ledger":
            return _json_response(200, self._ledger.report())
        if request.path == "/v1/models" and request.method == "GET":
            return _json_response(200, {"object": "list", "data": [{"id": self._settings.model}]})
        if request.path != "/v1/chat/completions" or request.method != "POST":
            return _refusal(404, f"no such path: {request.path}")
        self._ledger.enter()
        try:
            return await self._chat(request)
        finally:
            self._ledger.leave()

    async def _chat(self, request: web.BaseRequest) -> web.StreamResponse:
        asked: dict[str, Any] = json.loads(await request.read())
        if refusal := self._refuse(request, asked):
            return refusal
        text = asked["messages"][-1]["content"]
        attempt = self._ledger.requests[text]
        self._ledger.requests[text] += 1
        fault = "500" if self._answers.is_broken(text) else self._answers.fault(text, attempt)
        if fault in ("429", "500"):
            return self._fail(fault)
        wanted = asked.get("n") or 1
        seed = asked.get("seed") if self._settings.draws_by_seed else None
        drawn = self._draw(text, wanted if self._settings.honours_n else 1, seed)
        latency = self._answers.latency(text, attempt)
        if fault == "hang":
            self._ledger.counts["hang"] += 1
            await asyncio.sleep(3600)
        if asked.get("stream"):
            return await self._stream(request, drawn, text, latency=latency, fault=fault)
        return await self._body(request, drawn, text, latency=latency, fault=fault)

    def _refuse(self, request: web.BaseRequest, asked: dict[str, Any]) -> web.Response | None:
        settings, counts = self._settings, self._ledger.counts
        status, message = settings.refuses, _REFUSALS.get(settings.refuses, "refused")
        if not status and settings.key:
            given = request.headers.get("Authorization", "")
            if given != f"Bearer {settings.key}":
                status, message = 401, _REFUSALS[401]
        if not status and asked["model"] != settings.model:
            status, message = 404, f"The model `{asked['model']}` does not exist."
        if status:
            counts["refused"] += 1
            return _refusal(status, message)
        if settings.capacity and self._ledger.in_flight > settings.capacity:
            counts["over_capacity"] += 1
            return self._fail("429")
        return None

    def _fail(self, fault: str) -> web.Response:
        self._ledger.counts[fault] += 1
        if fault == "500":
            return _refusal(500, "the server had an error")
        response = _refusal(429, "Rate limit reached")
        if self._settings.retry_after >= 0:
            response.headers["Retry-After"] = f"{self._settings.retry_after:g}"
        return response

    def _draw(self, text: str, n: int, seed: int | None) -> list[Drawn]:
        first = self._ledger.answers[text] if seed is None else seed
        self._ledger.answers[text] += n
        return [self._answers.draw(text, ordinal) for ordinal in range(first, first + n)]

    async def _body(
        self,
        request: web.BaseRequest,
        drawn: list[Drawn],
        text: str,
        *,
        latency: float,
        fault: str,
    ) -> web.StreamResponse:
        response: web.StreamResponse | None = None
        if self._settings.keep_alive:
            response = web.StreamResponse(headers={"Content-Type": _JSON})
            await response.prepare(request)
            for _ in range(3):
                await asyncio.sleep(latency / 3)
                with suppress(ConnectionError):  # what was asked for is billed all the same
                    await response.write(b"\n")
        elif latency:
            await asyncio.sleep(latency)
        self._pay(text, drawn, fault)
        body = self._answers.body(drawn, text)
        if fault == "cut":
            return await _cut(request, body, response)
        if fault in ("half", "empty"):
            body = body[: len(body) // 2] if fault == "half" else b""
        if response is None:
            return web.Response(body=body, headers={"Content-Type": _JSON})
        await response.write(body)
        await response.write_eof()
        return response

    async def _stream(
        self,
        request: web.BaseRequest,
        drawn: list[Drawn],
        text: str,
        *,
        latency: float,
        fault: str,
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        if self._settings.keep_alive:
            await response.write(b": keep-alive\n\n\n")
        events = self._answers.stream(drawn, text)
        if fault in ("cut", "half", "empty"):
            events = events[: len(events) // 2] if fault != "empty" else b""
        size = max(len(events) // self._settings.writes + 1, 1)
        pieces = [events[start : start + size] for start in range(0, len(events), size)]
        try:
            for piece in pieces:
                await asyncio.sleep(latency / len(pieces))
                await response.write(piece)
        except ConnectionError:  # the client is gone; what it asked for is billed all the same
            self._pay(text, drawn, "gone")
            return response
        self._pay(text, drawn, fault)
        if fault == "cut":
            return await _cut(request, b"", response)
        await response.write_eof()
        return response

    def _pay(self, text: str, drawn: list[Drawn], fault: str) -> None:
        if fault:
            self._ledger.counts[fault] += 1
        self._ledger.pay(Paid(text, len(drawn), delivered=not fault))


async def _cut(
    request: web.BaseRequest, body: bytes, response: web.StreamResponse | None
) -> web.StreamResponse:
    """Send half of what was announced, then break the connection."""
    if response is None:
        headers = {"Content-Type": _JSON, "Content-Length": str(len(body))}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
    if body:
        await response.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


def _json_response(status: int, content: object) -> web.Response:
    return web.Response(body=json.dumps(content).encode(), status=status, content_type=_JSON)


def _refusal(status: int, message: str) -> web.Response:
    return _json_response(status, {"error": {"message": message, "code": status}})


async def serve(settings: Settings, port: int) -> None:
    """Listen until SIGTERM; print the port first."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    runner = web.ServerRunner(web.Server(Stub(settings).handle, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096, shutdown_timeout=0.1).start()
    print(runner.addresses[0][1], flush=True)  # noqa: T201 - how the starter learns it
    await ended.wait()
    await runner.cleanup()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--settings", default="{}", help="JSON; see tests.servers.settings")
    arguments = parser.parse_args()
    asyncio.run(serve(read_settings(arguments.settings), arguments.port))


if __name__ == "__main__":
    main()
