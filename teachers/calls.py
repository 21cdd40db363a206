"""One call to an endpoint: its body, sending it, and what became of it.

This module knows one call at a time; when to call again is ``teachers.drain``'s to say.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from distill.types import Prompt, Request, Sampling
from teachers.channel import BrokenExchangeError, Response
from teachers.connection import Connection
from teachers.fleet import Server, is_gone
from teachers.http_client import HttpClient, UnreachableError
from teachers.refusals import Refusal, classify
from teachers.wire import Reply, StreamReader, UnreadableError, read_body

_OK = 200
_REDIRECTS = range(300, 400)


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


async def send(
    client: HttpClient,
    connection: Connection,
    body: bytes,
    call: Call,
    on_reasoning: Callable[[], None] | None,
) -> Reply | Lost:
    """Make one attempt; never raises for anything that a server or a network does.

    Args:
        client: Open.
        connection: Where to.
        body: What is asked.
        call: Whose attempt this is; its clocks are set as parts of the answer arrive.
        on_reasoning: Called when a stream begins to reason, long before its end; ``None`` if nobody
            wants to know.
    """
    heard = _Heard(call, StreamReader(looks_for_reasoning=on_reasoning is not None), on_reasoning)
    url = connection.chat_url if call.server is None else call.server.chat_url
    try:
        response = await client.post(url, body, heard.take)
        if response.status != _OK:
            return Lost(_refusal(response))
        return heard.reader.reply() if response.is_events else read_body(response.body)
    except asyncio.CancelledError:
        if not call.is_given_up:
            raise
        return heard.whole or Lost(Refusal("retry", _silence(call, connection)), may_be_billed=True)
    except UnreachableError as error:
        return Lost(Refusal("retry", str(error)), is_unreachable=True)
    except BrokenExchangeError as error:
        return heard.whole or Lost(Refusal("retry", str(error)), may_be_billed=True)
    except UnreadableError as error:
        return Lost(Refusal("retry", str(error)), may_be_billed=True)


@dataclass(slots=True)
class _Heard:
    """What has come of a stream."""

    call: Call
    reader: StreamReader
    on_reasoning: Callable[[], None] | None

    def take(self, part: bytes) -> None:
        """Read a part and set the clocks."""
        self.call.heard_at = time.monotonic()
        if self.reader.feed(part):
            self.call.content_at = self.call.heard_at
            if self.on_reasoning is not None and self.reader.is_reasoning:
                self.on_reasoning()
                self.on_reasoning = None

    @property
    def whole(self) -> Reply | None:
        """The answer, if the server had said that this was all before it fell silent."""
        try:
            return self.reader.reply() if self.reader.is_done else None
        except UnreadableError:
            return None


def _silence(call: Call, connection: Connection) -> str:
    """Why a call was given up."""
    if is_gone(call):
        return "its server went down"
    seconds = time.monotonic() - call.heard_at
    if connection.streams and seconds <= connection.idle_seconds:
        return f"no content for {connection.answer_seconds:.0f} s"
    return f"no sign of life for {seconds:.0f} s"


async def list_models(client: HttpClient, connection: Connection) -> list[str]:
    """The models that an endpoint says it has; empty if it does not say."""
    if not connection.models_url:
        return []
    try:
        listed = json.loads(await client.get(connection.models_url, seconds=10.0))
        return [str(model["id"]) for model in listed["data"]]
    except (ValueError, KeyError, TypeError):
        return []


def _refusal(response: Response) -> Refusal:
    if response.status in _REDIRECTS:
        target = response.headers.get("location", "elsewhere")
        return Refusal("stop", f"{response.status}: redirected to {target}")
    return classify(response.status, response.headers, response.body)


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
