"""One call to an endpoint: its body, sending it, and what became of it.

This module knows aiohttp and one call at a time; when to call again is ``teachers.api``'s to say.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from distill.types import Prompt, Request, Sampling
from teachers.connection import Connection
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
        attempts: How many were sent.
        broken: How many broke off, and may have been billed.
        failures: How many count towards the most that are made.
    """

    requests: Sequence[Request]
    began: float = 0.0
    sent_at: float = 0.0
    attempts: int = 0
    broken: int = 0
    failures: int = 0


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


def open_session(connection: Connection) -> Session:
    """A session for all calls; it follows no redirect and keeps no cookie."""
    read_seconds = connection.idle_seconds if connection.streams else connection.answer_seconds
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30.0),
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=_CONNECT_SECONDS, sock_read=read_seconds
        ),
        headers={"Content-Type": "application/json", **connection.headers},
        cookie_jar=aiohttp.DummyCookieJar(),
        proxy=_proxy(connection.chat_url),
    )


async def send(
    session: Session,
    connection: Connection,
    body: bytes,
    on_reasoning: Callable[[], None],
) -> Reply | Lost:
    """Make one attempt; never raises for anything that a server or a network does.

    Args:
        session: Open.
        connection: Where to.
        body: What is asked.
        on_reasoning: Called when a stream begins to reason, long before its end.
    """
    try:
        async with session.post(connection.chat_url, data=body, allow_redirects=False) as response:
            if response.status != _OK:
                refusal = _refusal(response, await response.read())
                return Lost(refusal, may_be_billed=refusal.action == "retry")
            if response.content_type == "text/event-stream":
                return await _read_stream(response, connection, on_reasoning)
            return read_body(await response.read())
    except (aiohttp.ClientError, UnreadableError, OSError) as error:  # a TimeoutError is an OSError
        return _lost(error, connection)


def _lost(error: Exception, connection: Connection) -> Lost:
    """What an attempt came to that got no whole answer."""
    if isinstance(error, aiohttp.ClientConnectorError):
        reason = error.os_error.strerror or str(error.os_error)
        words = f"cannot reach {error.host}:{error.port}: {reason}"
        return Lost(Refusal("retry", words), is_unreachable=True)
    if isinstance(error, UnreadableError):
        words = str(error)
    elif isinstance(error, TimeoutError):
        words = f"no sign of life for {connection.idle_seconds:.0f} s"
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
    response: aiohttp.ClientResponse, connection: Connection, on_reasoning: Callable[[], None]
) -> Reply:
    """Read to the end; signs of life without content are waited for only so long."""
    reader = StreamReader()
    content_at = time.monotonic()
    has_reasoned = False
    try:
        async for chunk in response.content.iter_any():
            if reader.feed(chunk):
                content_at = time.monotonic()
                if not has_reasoned and reader.is_reasoning:
                    has_reasoned = True
                    on_reasoning()
            elif time.monotonic() - content_at > connection.answer_seconds:
                raise UnreadableError(f"no content for {connection.answer_seconds:.0f} s")
    except TimeoutError:
        if not reader.is_done:
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
