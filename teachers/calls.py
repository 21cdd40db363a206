"""One call to an endpoint: its body, sending it, and what became of it.

This module knows aiohttp and one call at a time; when to call again is ``teachers.api``'s to say.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from distill.types import Prompt, Request, Sampling
from teachers.connection import Connection
from teachers.fleet import Server, is_gone
from teachers.refusals import Refusal, classify
from teachers.wire import Reply, StreamReader, UnreadableError, read_body

Session = aiohttp.ClientSession

_OK = 200
_REDIRECTS = range(300, 400)
_CONNECT_SECONDS = 30.0


@dataclass(slots=True)
class Call:
    """Samples of one prompt that are asked for together, over all attempts.

    Attributes:
        requests: What is wanted; one choice for each.
        began: When the first attempt was sent, in seconds of the monotonic clock.
        sent_at: When the present attempt was sent.
        heard_at: When anything of its answer arrived last, signs of life included.
        content_at: When anything of its content arrived last.
        is_given_up: Whether the present attempt was ended because it was silent for too long.
        attempts: How many were sent.
        broken: How many broke off, and may have been billed.
        failures: How many count towards the most that are made.
        server: Which of several the present attempt was sent to; ``None`` if there is one only.
        life: Which life of that server it was.
    """

    requests: Sequence[Request]
    began: float = 0.0
    sent_at: float = 0.0
    heard_at: float = 0.0
    content_at: float = 0.0
    is_given_up: bool = False
    attempts: int = 0
    broken: int = 0
    failures: int = 0
    server: Server | None = None
    life: int = 0

    def begin_attempt(self, now: float) -> None:
        """Start the clocks of one more attempt."""
        self.began = self.began or now
        self.sent_at = self.heard_at = self.content_at = now
        self.is_given_up = False
        self.attempts += 1

    def is_silent(self, connection: Connection, now: float) -> bool:
        """Whether nobody should wait for the present attempt any longer."""
        is_idle = connection.streams and now - self.heard_at > connection.idle_seconds
        return is_idle or now - self.content_at > connection.answer_seconds


@dataclass(frozen=True, slots=True)
class Lost:
    """An attempt that brought nothing.

    Attributes:
        refusal: What that means.
        may_be_billed: Whether the server may have worked for it.
        is_unreachable: Whether no connection was made at all.
    """

    refusal: Refusal
    may_be_billed: bool = False
    is_unreachable: bool = False


@dataclass(slots=True)
class BodyMaker:
    """Makes request bodies; what is the same in all of them is encoded once."""

    connection: Connection
    model: str
    system: str
    sampling: Sampling
    _head: str = field(init=False)
    _tail: str = field(init=False)

    def __post_init__(self) -> None:
        """Encode what no request changes."""
        connection, sampling = self.connection, self.sampling
        messages = [{"role": "system", "content": self.system}] if self.system else []
        self._head = (
            f'{{"model":{json.dumps(self.model)},"messages":[{json.dumps(messages)[1:-1]}'
            f'{"," if messages else ""}{{"role":"user","content":'
        )
        options: dict[str, object] = {"max_tokens": sampling.max_tokens}
        if connection.sends_sampling:
            options |= {"temperature": sampling.temperature, "top_p": sampling.top_p}
        if connection.streams:
            options["stream"] = True
            if connection.asks_usage:
                options["stream_options"] = {"include_usage": True}
        self._tail = "," + json.dumps({**options, **connection.body})[1:-1]

    def body(self, prompt: Prompt, requests: Sequence[Request]) -> bytes:
        """The body that asks for one choice per request."""
        extra = f',"n":{len(requests)}' if len(requests) > 1 else ""
        if self.connection.sends_seed:
            extra += f',"seed":{self._seed(requests[0])}'
        return f"{self._head}{json.dumps(prompt.text)}}}]{self._tail}{extra}}}".encode()

    def _seed(self, request: Request) -> int:
        """The same for the same draw, another one for each sample; 31 bits, as servers like it."""
        draw = f"{self.sampling.seed}/{request.prompt.id}/{request.sample_index}"
        return int.from_bytes(hashlib.sha256(draw.encode()).digest()[:4], "big") >> 1


async def open_session(connection: Connection) -> Session:
    """A session for all calls; it follows no redirect and keeps no cookie."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30.0),
        # Silence is looked for once a second over all calls: a timer for each read costs more.
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
        headers={"Content-Type": "application/json", **connection.headers},
        skip_auto_headers=("Accept-Encoding",),  # a local server would only lose time
        cookie_jar=aiohttp.DummyCookieJar(),
        proxy=_proxy(connection.chat_url),
    )


async def send(
    session: Session,
    connection: Connection,
    body: bytes,
    call: Call,
    on_reasoning: Callable[[], None],
) -> Reply | Lost:
    """Make one attempt; never raises for anything that a server or a network does.

    Args:
        session: Open.
        connection: Where to.
        body: What is asked.
        call: Whose attempt this is; its clocks are set as parts of the answer arrive.
        on_reasoning: Called when a stream begins to reason, long before its end.
    """
    try:
        url = connection.chat_url if call.server is None else call.server.chat_url
        async with session.post(url, data=body, allow_redirects=False) as response:
            if response.status != _OK:
                refusal = _refusal(response, await response.read())
                return Lost(refusal)
            if response.content_type == "text/event-stream":
                return await _read_stream(response, call, on_reasoning)
            return read_body(await response.read())
    except asyncio.CancelledError:
        if not call.is_given_up:
            raise
        seconds = time.monotonic() - call.heard_at
        words = f"no sign of life for {seconds:.0f} s"
        if connection.streams and seconds <= connection.idle_seconds:
            words = f"no content for {connection.answer_seconds:.0f} s"
        if is_gone(call):
            words = "its server went down"
        return Lost(Refusal("retry", words), may_be_billed=True)
    except (aiohttp.ClientError, UnreadableError, OSError) as error:  # a TimeoutError is an OSError
        return _lost(error)


def _lost(error: Exception) -> Lost:
    """What an attempt came to that got no whole answer."""
    if isinstance(error, aiohttp.ClientConnectorError):
        reason = error.os_error.strerror or str(error.os_error)
        words = f"cannot reach {error.host}:{error.port}: {reason}"
        return Lost(Refusal("retry", words), is_unreachable=True)
    if isinstance(error, UnreadableError):
        words = str(error)
    elif isinstance(error, TimeoutError):
        words = f"no connection within {_CONNECT_SECONDS:.0f} s"
    else:
        words = f"the connection broke: {str(error) or type(error).__name__}"
    return Lost(Refusal("retry", words), may_be_billed=True)


async def list_models(session: Session, connection: Connection) -> list[str]:
    """The models that an endpoint says it has; empty if it does not say."""
    if not connection.models_url:
        return []
    timeout = aiohttp.ClientTimeout(total=10.0)
    try:
        async with session.get(
            connection.models_url, timeout=timeout, allow_redirects=False
        ) as response:
            listed = await response.json(content_type=None)
        return [str(model["id"]) for model in listed["data"]]
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError, TypeError):
        return []


async def _read_stream(
    response: aiohttp.ClientResponse, call: Call, on_reasoning: Callable[[], None]
) -> Reply:
    """Read to the end."""
    reader = StreamReader()
    has_reasoned = False
    try:
        async for chunk in response.content.iter_any():
            call.heard_at = time.monotonic()
            if reader.feed(chunk):
                call.content_at = call.heard_at
                if not has_reasoned and reader.is_reasoning:
                    has_reasoned = True
                    on_reasoning()
    except asyncio.CancelledError:
        if not (call.is_given_up and reader.is_done):  # the server only forgot to hang up
            raise
    return reader.reply()


def _refusal(response: aiohttp.ClientResponse, body: bytes) -> Refusal:
    if response.status in _REDIRECTS:
        target = response.headers.get("Location", "elsewhere")
        return Refusal("stop", f"{response.status}: redirected to {target}")
    return classify(response.status, response.headers, body)


def _proxy(url: str) -> str | None:
    """The proxy of the environment for a URL, unless it says to go there without one."""
    parts = urlsplit(url)
    if parts.hostname is None or proxy_bypass(parts.hostname):
        return None
    return getproxies().get(parts.scheme)


def grouped(requests: Sequence[Request], at_once: int) -> Iterator[Call]:
    """Neighbours of one prompt in one call, up to the number that is asked for at once."""
    group: list[Request] = []
    for request in requests:
        if group and (len(group) == at_once or group[0].prompt.id != request.prompt.id):
            yield Call(group)
            group = []
        group.append(request)
    if group:
        yield Call(group)
