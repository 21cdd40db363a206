"""Posts over real sockets: each gets its own answer, whole or not at all, over kept connections."""

import asyncio
import base64
import functools
import gc
import gzip
import json
import socket
import ssl
import sys
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, ParamSpec

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from teachers import http_client
from teachers.channel import BrokenExchangeError, Response
from teachers.http_client import HttpClient, UnreachableError
from tests.conftest import clean_environment

P = ParamSpec("P")
SECRET = {"Authorization": "Bearer sk-canary-5f1c9e"}
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


def bounded(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test on a loop of its own; hanging fails, and so does what is left open."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def within() -> None:
            async with asyncio.timeout(20):
                await test(*args, **kwargs)

        asyncio.run(within())
        gc.collect()  # says what was not closed

    return run


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came, and over which connection."""

    connection: int
    head: bytes
    body: bytes

    @property
    def line(self) -> str:
        return self.head.decode().split("\r\n")[0]

    @property
    def headers(self) -> dict[str, str]:
        lines = self.head.decode().removesuffix("\r\n\r\n").split("\r\n")[1:]
        pairs = [line.split(": ", 1) for line in lines]
        names = [name.lower() for name, _ in pairs]
        assert len(set(names)) == len(names), "a header came twice"
        return {name.lower(): value for name, value in pairs}


Answer = Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]
"""Writes an answer; the connection stays open unless it closes it."""


@dataclass
class Server:
    """A server that answers as it is told, and remembers what it was asked."""

    answer: Answer
    port: int = 0
    scheme: str = "http"
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    ended: set[int] = field(default_factory=set)
    tasks: "set[asyncio.Task[None]]" = field(default_factory=set)

    @property
    def url(self) -> str:
        host = "127.0.0.1" if self.scheme == "http" else "localhost"
        return f"{self.scheme}://{host}:{self.port}/v1/chat"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        self.connections += 1
        connection = self.connections
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                asked = Asked(connection, head, b"")
                size = int(asked.headers.get("content-length", 0))
                asked = Asked(connection, head, await reader.readexactly(size))
                self.asked.append(asked)
                await self.answer(asked, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.ended.add(connection)
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def until_ended(self, connection: int) -> None:
        """Wait until a connection is no more."""
        while connection not in self.ended:
            await asyncio.sleep(0.005)

    async def until_asked(self, times: int) -> None:
        while len(self.asked) < times:
            await asyncio.sleep(0.005)


@asynccontextmanager
async def serving(
    answer: Answer | bytes, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    """A server on a free port, to the end of the block; bytes are answered as they are."""
    server = Server(always(answer) if isinstance(answer, bytes) else answer)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, backlog=512, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    server.scheme = "https" if tls else "http"
    try:
        yield server
    finally:
        listening.close()
        for task in server.tasks:
            task.cancel()
        await asyncio.gather(*server.tasks, return_exceptions=True)
        await listening.wait_closed()


def always(answer: bytes) -> Answer:
    async def write(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    return write


def then_closes(answer: bytes) -> Answer:
    async def write(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()

    return write


def in_turn(*answers: Answer) -> Answer:
    """One answer after another, whichever connection asks."""
    left = iter(answers)

    async def write(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await next(left)(asked, writer)

    return write


def in_parts(*parts: bytes) -> Answer:
    """Each part in a packet of its own."""

    async def write(asked: Asked, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await asyncio.sleep(0.004)

    return write


def with_length(body: bytes, *lines: bytes, status: bytes = b"200 OK") -> bytes:
    head = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *lines]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def chunked(*chunks: bytes, lines: tuple[bytes, ...] = (), trailer: bytes = b"") -> bytes:
    head = b"\r\n".join([b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked", *lines])
    coded = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return head + b"\r\n\r\n" + coded + b"0\r\n" + trailer + b"\r\n"


@asynccontextmanager
async def connecting(
    headers: dict[str, str] = SECRET, proxied_url: str = ""
) -> AsyncIterator[HttpClient]:
    client = HttpClient(headers, proxied_url=proxied_url)
    try:
        yield client
    finally:
        await client.close()


def no_part(part: bytes) -> None:
    raise AssertionError(f"nobody streams here: {part!r}")


async def post(client: HttpClient, server: Server, body: bytes = b"{}") -> Response:
    return await client.post(server.url, body, no_part)


WHOLE = {
    "with a length": always(with_length(b"hello")),
    "cut between bytes": in_parts(*(bytes([byte]) for byte in with_length(b"hello"))),
    "with an empty reason": always(with_length(b"hello", status=b"200")),
    "in chunks": always(chunked(b"he", b"llo")),
    "in chunks with a trailer": always(chunked(b"he", b"llo", trailer=b"Server-Timing: 3\r\n")),
    "in chunks that come apart": in_parts(*(bytes([byte]) for byte in chunked(b"he", b"llo"))),
    "with the connection": then_closes(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello"),
    "of HTTP 1.0": then_closes(b"HTTP/1.0 200 OK\r\n\r\nhello"),
    "after a sign to go on": always(b"HTTP/1.1 100 Continue\r\n\r\n" + with_length(b"hello")),
    "after hints": in_parts(
        b"HTTP/1.1 103 Early Hints\r\nContent-Length: 77\r\nLink: </a>\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\n",
        with_length(b"hello"),
    ),
    "packed": always(with_length(gzip.compress(b"hello"), b"Content-Encoding: gzip")),
    "packed in chunks": in_parts(
        chunked(
            gzip.compress(b"hello")[:9],
            gzip.compress(b"hello")[9:],
            lines=(b"Content-Encoding: gzip",),
        )
    ),
    "packed in capitals": always(with_length(gzip.compress(b"hello"), b"Content-Encoding: GZIP")),
    "deflated": always(with_length(zlib.compress(b"hello"), b"Content-Encoding: deflate")),
    "packed as it is": always(with_length(b"hello", b"Content-Encoding: identity")),
}


@pytest.mark.parametrize("answer", WHOLE.values(), ids=WHOLE)
@bounded
async def test_a_body_arrives_however_it_is_sent(answer: Answer) -> None:
    async with serving(answer) as server, connecting() as client:
        for _ in range(2):
            response = await post(client, server)
            assert (response.status, response.body) == (200, b"hello")
            assert not response.is_events
            assert "link" not in response.headers


@bounded
async def test_bodies_that_are_larger_than_all_buffers_arrive_both_ways() -> None:
    async def echo(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(with_length(asked.body[::-1]))

    body = bytes(range(256)) * 8192
    async with serving(echo) as server, connecting() as client:
        response = await post(client, server, body)
    assert response.body == body[::-1]


@bounded
async def test_an_empty_body_is_an_answer() -> None:
    answers = in_turn(always(with_length(b"")), always(b"HTTP/1.1 204 No Content\r\n\r\n"))
    async with serving(answers) as server, connecting() as client:
        assert (await post(client, server)).body == b""
        assert (await post(client, server)).status == 204
        assert server.connections == 1


@bounded
async def test_a_connection_is_used_again() -> None:
    async with serving(chunked(b"x")) as server, connecting() as client:
        for _ in range(3):
            await post(client, server)
        assert [asked.connection for asked in server.asked] == [1, 1, 1]


@pytest.mark.parametrize(
    "answer",
    [with_length(b"x", b"Connection: close"), b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx"],
)
@bounded
async def test_a_connection_that_the_server_means_to_close_is_not_used_again(
    answer: bytes,
) -> None:
    async with serving(answer) as server, connecting() as client:
        await post(client, server)
        await server.until_ended(1)  # we close it, though the server leaves it open
        await post(client, server)
        assert [asked.connection for asked in server.asked] == [1, 2]


@bounded
async def test_a_connection_that_the_server_closed_meanwhile_is_replaced() -> None:
    async with serving(then_closes(with_length(b"x"))) as server, connecting() as client:
        for _ in range(3):
            assert (await post(client, server)).body == b"x"
            await asyncio.sleep(0.05)
        assert [asked.connection for asked in server.asked] == [1, 2, 3]


@bounded
async def test_a_connection_that_was_idle_for_long_is_not_trusted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_client, "_IDLE_SECONDS", 0.05)
    async with serving(with_length(b"x")) as server, connecting() as client:
        await post(client, server)
        await asyncio.sleep(0.1)
        await post(client, server)
        await server.until_ended(1)
        assert [asked.connection for asked in server.asked] == [1, 2]


@bounded
async def test_bytes_that_nobody_asked_for_close_an_idle_connection() -> None:
    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(with_length(b"x"))
        if asked.connection == 1:
            await asyncio.sleep(0.02)
            writer.write(with_length(b"of somebody else"))

    async with serving(answer) as server, connecting() as client:
        await post(client, server)
        await server.until_ended(1)
        assert (await post(client, server)).body == b"x"
        assert server.asked[-1].connection == 2


@bounded
async def test_an_answer_that_follows_at_once_is_no_part_of_the_first() -> None:
    twice = with_length(b"first") + with_length(b"second", status=b"404 Not Found")
    answers = in_turn(always(twice), always(with_length(b"third")))
    async with serving(answers) as server, connecting() as client:
        with suppress(BrokenExchangeError):  # this is as good
            response = await post(client, server)
            assert (response.status, response.body) == (200, b"first")
        assert (await post(client, server)).body == b"third"
        assert server.asked[-1].connection == 2


EVENTS = b"Content-Type: text/event-stream; charset=utf-8"


@pytest.mark.parametrize("is_packed", [True, False])
@bounded
async def test_events_are_handed_on_before_the_answer_ends(is_packed: bool) -> None:
    heard: list[bytes] = []
    has_heard = asyncio.Event()
    packer = zlib.compressobj(wbits=31)

    def packed(part: bytes, mode: int) -> bytes:
        return packer.compress(part) + packer.flush(mode) if is_packed else part

    def listen(part: bytes) -> None:
        heard.append(part)
        has_heard.set()

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        packing = b"\r\nContent-Encoding: gzip" if is_packed else b""
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + EVENTS + packing + b"\r\n\r\n")
        for word in (b"data: one\n\n", b"data: two\n\n"):
            has_heard.clear()
            writer.write(packed(word, zlib.Z_SYNC_FLUSH))
            await has_heard.wait()
        writer.write(packed(b"data: three\n\n", zlib.Z_FINISH))
        writer.close()

    async with serving(answer) as server, connecting() as client:
        response = await client.post(server.url, b"{}", listen)
    assert heard[0] == b"data: one\n\n"
    assert b"".join(heard) == b"data: one\n\ndata: two\n\ndata: three\n\n"
    assert (response.is_events, response.body) == (True, b"")


@bounded
async def test_events_in_chunks_arrive_whole_and_the_connection_is_used_again() -> None:
    events = [b"data: %d\n\n" % number for number in range(5000)]
    async with serving(chunked(*events, lines=(EVENTS,))) as server, connecting() as client:
        for _ in range(2):
            heard: list[bytes] = []
            response = await client.post(server.url, b"{}", heard.append)
            assert b"".join(heard) == b"".join(events)
            assert response.is_events
        assert server.connections == 1


@bounded
async def test_events_are_known_whatever_the_case_of_their_type() -> None:
    heard: list[bytes] = []
    answer = with_length(b"data: one\n\n", b"content-type: Text/Event-Stream")
    async with serving(answer) as server, connecting() as client:
        response = await client.post(server.url, b"{}", heard.append)
    assert (response.is_events, heard) == (True, [b"data: one\n\n"])


@bounded
async def test_what_came_before_events_broke_off_was_handed_on() -> None:
    heard: list[bytes] = []
    cut = chunked(b"data: one\n\n", lines=(EVENTS,))[:-5]
    async with serving(then_closes(cut)) as server, connecting() as client:
        with pytest.raises(BrokenExchangeError):
            await client.post(server.url, b"{}", heard.append)
    assert heard == [b"data: one\n\n"]


@bounded
async def test_a_refusal_that_calls_itself_events_is_a_body() -> None:
    refusal = with_length(b"data: no\n\n", EVENTS, status=b"429 Too Many Requests")
    async with serving(refusal) as server, connecting() as client:
        response = await post(client, server)
    assert (response.status, response.body) == (429, b"data: no\n\n")
    assert not response.is_events


@bounded
async def test_a_redirect_is_not_followed() -> None:
    redirect = with_length(b"", b"LOCATION: https://elsewhere.test/v1", status=b"302 Found")
    async with serving(redirect) as server, connecting() as client:
        response = await post(client, server)
    assert (response.status, response.headers["location"]) == (302, "https://elsewhere.test/v1")
    assert len(server.asked) == 1


CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BROKEN = {
    "before any byte": (b"", "hung up"),
    "in the head": (b"HTTP/1.1 200 OK\r\nContent-Le", "hung up"),
    "after the head": (with_length(b"hello")[:-5], "hung up"),
    "in the body": (with_length(b"hello")[:-1], "hung up"),
    "after hints": (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", "hung up"),
    "in a chunk": (CHUNKED_HEAD + b"5\r\nhel", "hung up"),
    "between chunks": (CHUNKED_HEAD + b"5\r\nhello\r\n", "hung up"),
    "before the last line": (chunked(b"hello")[:-2], "hung up"),
    "in chunks in capitals": (CHUNKED_HEAD.replace(b"chunked", b"Chunked") + b"5\r\nhel", "hung"),
    "garbage": (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", r"no HTTP \(is it https\?\)"),
    "an odd length": (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "cannot be read"),
    "an odd chunk": (CHUNKED_HEAD + b"zz\r\nhello\r\n", "cannot be read"),
    "another protocol": (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        "cannot be read",
    ),
    "an unknown packing": (with_length(b"hello", b"Content-Encoding: br"), "packed as br"),
    "not packed": (with_length(b"hello", b"Content-Encoding: gzip"), "cannot be read"),
    "packed and cut": (
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Encoding: gzip\r\n\r\n"
        + gzip.compress(b"hello")[:-9],
        r"\w",
    ),
}


@pytest.mark.parametrize(("answer", "words"), BROKEN.values(), ids=BROKEN)
@bounded
async def test_an_answer_that_is_not_whole_is_broken(answer: bytes, words: str) -> None:
    answers = in_turn(then_closes(answer), always(with_length(b"whole")))
    async with serving(answers) as server, connecting() as client:
        with pytest.raises(BrokenExchangeError, match=words):
            await post(client, server)
        assert (await post(client, server)).body == b"whole"


@bounded
async def test_an_answer_that_cannot_be_read_is_not_waited_for() -> None:
    async with serving(b"SSH-2.0-OpenSSH_9.6\r\n\r\n") as server, connecting() as client:
        with pytest.raises(BrokenExchangeError):
            await post(client, server)  # the server leaves its end open
        await server.until_ended(1)


@bounded
async def test_a_connection_that_is_reset_is_broken() -> None:
    async def reset(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhel")
        await asyncio.sleep(0.02)
        at_once = b"\x01\x00\x00\x00\x00\x00\x00\x00"
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        writer.transport.abort()

    async with serving(reset) as server, connecting() as client:
        with pytest.raises(BrokenExchangeError, match="reset"):
            await post(client, server)


@bounded
async def test_a_connection_that_is_ended_as_soon_as_it_is_made_is_broken() -> None:
    async def slam(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with await asyncio.start_server(slam, "127.0.0.1", 0) as server, connecting() as client:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        posts = [client.post(url, b"{}", no_part) for _ in range(30)]
        for ended in await asyncio.gather(*posts, return_exceptions=True):
            assert isinstance(ended, BrokenExchangeError)


@bounded
async def test_what_the_listener_raises_is_raised_by_the_post() -> None:
    def refuse(part: bytes) -> None:
        raise LookupError(part.decode())

    stream = chunked(b"data: 1", b"x", lines=(EVENTS,))
    async with serving(stream) as server, connecting() as client:
        with pytest.raises(LookupError, match="data: 1"):
            await client.post(server.url, b"{}", refuse)
        await server.until_ended(1)
        heard: list[bytes] = []
        await client.post(server.url, b"{}", heard.append)
        assert heard == [b"data: 1x"]


@bounded
async def test_a_post_that_is_cancelled_ends_its_connection_and_no_other() -> None:
    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.body != b"slow":
            writer.write(with_length(asked.body))

    async with serving(answer) as server, connecting() as client:
        slow = asyncio.create_task(post(client, server, b"slow"))
        await server.until_asked(1)
        assert (await post(client, server, b"quick")).body == b"quick"
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        await server.until_ended(1)
        assert (await post(client, server, b"later")).body == b"later"
        assert [asked.connection for asked in server.asked] == [1, 2, 2]


@bounded
async def test_a_post_that_is_cancelled_in_its_body_leaves_nothing_to_the_next() -> None:
    begun = with_length(b"of the first")[:-4]
    answers = in_turn(always(begun), always(with_length(b"second")))
    async with serving(answers) as server, connecting() as client:
        first = asyncio.create_task(post(client, server))
        await server.until_asked(1)
        await asyncio.sleep(0.02)
        first.cancel()
        assert (await post(client, server)).body == b"second"


@bounded
async def test_a_request_arrives_as_it_is_meant_byte_by_byte() -> None:
    headers = {**SECRET, "X-Title": "a b; c", "api-key": "k" * 300}
    async with serving(with_length(b"x")) as server, connecting(headers) as client:
        for body in (b'{"n": 1}', b'{"text": "' + "größer".encode() + b'"}'):
            await client.post(f"{server.url}/a%20b?version=1&x=%26", body, no_part)
    for asked, body in zip(server.asked, (b'{"n": 1}', '{"text": "größer"}'.encode()), strict=True):
        assert asked.line == "POST /v1/chat/a%20b?version=1&x=%26 HTTP/1.1"
        found = asked.headers
        assert found.pop("user-agent")
        assert found.pop("accept", "*/*") == "*/*"
        assert found == {
            "host": f"127.0.0.1:{server.port}",
            "content-type": "application/json",
            "content-length": str(len(body)),
            "authorization": SECRET["Authorization"],
            "x-title": "a b; c",
            "api-key": "k" * 300,
            "accept-encoding": "identity",
        }
        assert asked.body == body


@bounded
async def test_headers_that_are_given_replace_those_that_are_ours_but_for_the_length() -> None:
    headers = {"Content-Type": "application/x", "User-Agent": "me", "Content-Length": "7"}
    async with serving(with_length(b"x")) as server, connecting(headers) as client:
        await post(client, server)
    (asked,) = server.asked
    assert asked.headers["content-type"] == "application/x"
    assert asked.headers["user-agent"] == "me"
    assert asked.headers["content-length"] == "2"


@bounded
async def test_a_header_with_a_line_break_is_refused_and_nothing_is_sent() -> None:
    headers = {"Authorization": "Bearer x\r\nX-Other: y"}
    async with serving(with_length(b"x")) as server:
        with pytest.raises(ValueError, match="Authorization"):
            async with connecting(headers) as client:
                await post(client, server)
        assert server.asked == []


@bounded
async def test_a_server_that_is_not_there_is_unreachable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        port = taken.getsockname()[1]
        async with connecting() as client:
            for _ in range(2):
                with pytest.raises(UnreachableError, match=rf"^cannot reach 127\.0\.0\.1:{port}: "):
                    await client.post(f"http://127.0.0.1:{port}/v1", b"{}", no_part)


@bounded
async def test_a_name_that_nobody_knows_is_unreachable() -> None:
    async with connecting() as client:
        with pytest.raises(UnreachableError, match=r"^cannot reach nobody\.invalid:80: \w+"):
            await client.post("http://nobody.invalid/v1", b"{}", no_part)


@bounded
async def test_hundreds_of_posts_at_once_get_their_own_answers() -> None:
    async def echo(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(int(asked.body) % 7 / 100)
        writer.write(chunked(b"answer to ", asked.body))

    async with serving(echo) as server, connecting() as client:
        for _ in range(2):
            posts = [post(client, server, b"%d" % number) for number in range(300)]
            answers = await asyncio.gather(*posts)
            assert [one.body for one in answers] == [b"answer to %d" % n for n in range(300)]
        assert server.connections == 300


@bounded
async def test_closing_ends_what_is_idle_and_what_is_under_way() -> None:
    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.body == b"quick":
            writer.write(with_length(b"x"))

    async with serving(answer) as server:
        client = HttpClient(SECRET)
        silent = [asyncio.create_task(post(client, server, b"silent")) for _ in range(3)]
        await server.until_asked(3)
        await post(client, server, b"quick")
        await client.close()
        for ended in await asyncio.gather(*silent, return_exceptions=True):
            assert isinstance(ended, BrokenExchangeError)
        for connection in range(1, 5):
            await server.until_ended(connection)


@bounded
async def test_closing_before_anything_was_sent_is_no_error() -> None:
    await HttpClient(SECRET).close()


@bounded
async def test_a_listing_and_a_post_share_a_client() -> None:
    async with serving(with_length(b"x")) as server, connecting() as client:
        for _ in range(2):
            assert await client.get(server.url, 5.0) == b"x"
            assert (await post(client, server)).body == b"x"
    assert [asked.line.split()[0] for asked in server.asked] == ["GET", "POST", "GET", "POST"]
    assert {asked.headers["authorization"] for asked in server.asked} == {SECRET["Authorization"]}


@bounded
async def test_a_listing_that_does_not_come_is_empty() -> None:
    async def silent(asked: Asked, writer: asyncio.StreamWriter) -> None: ...

    async with serving(silent) as server, connecting() as client:
        assert await client.get(server.url, 0.05) == b""
        assert await client.get("http://nobody.invalid/v1", 1.0) == b""


# Proxies


ABSOLUTE = "http://teacher.test/v1/chat?version=1"


@bounded
async def test_a_proxy_is_asked_for_the_whole_address(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(with_length(b"x")) as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        async with connecting(proxied_url=ABSOLUTE) as client:
            for _ in range(2):
                assert (await client.post(ABSOLUTE, b"{}", no_part)).body == b"x"
            assert await client.get(ABSOLUTE, 5.0) == b"x"
    posts, listing = proxy.asked[:2], proxy.asked[2]
    assert listing.line == f"GET {ABSOLUTE} HTTP/1.1"
    for asked in posts:
        assert asked.line == f"POST {ABSOLUTE} HTTP/1.1"
        assert asked.headers["host"] == "teacher.test"
        assert asked.headers["authorization"] == SECRET["Authorization"]
        assert "proxy-authorization" not in asked.headers
    assert [asked.connection for asked in posts] == [1, 1]


def basic(user: str) -> str:
    return f"Basic {base64.b64encode(user.encode()).decode()}"


@bounded
async def test_a_proxy_is_told_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(with_length(b"x")) as proxy:
        monkeypatch.setenv("http_proxy", f"http://me:pa%20ss@127.0.0.1:{proxy.port}")
        async with connecting(proxied_url=ABSOLUTE) as client:
            for _ in range(2):
                await client.post(ABSOLUTE, b"{}", no_part)
    for asked in proxy.asked:
        assert asked.headers["proxy-authorization"] == basic("me:pa ss")
        assert asked.headers["authorization"] == SECRET["Authorization"]
        assert "me:" not in asked.line


@bounded
async def test_an_address_that_needs_no_proxy_is_asked_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving(with_length(b"x")) as server, serving(with_length(b"no")) as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        async with connecting(proxied_url=server.url) as client:
            assert (await post(client, server)).body == b"x"
        assert server.asked[0].line == "POST /v1/chat HTTP/1.1"


@bounded
async def test_a_proxy_that_is_not_there_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{taken.getsockname()[1]}")
        async with connecting(proxied_url=ABSOLUTE) as client:
            with pytest.raises(UnreachableError, match=r"cannot reach 127\.0\.0\.1:"):
                await client.post(ABSOLUTE, b"{}", no_part)


# TLS: aiohttp reads certificates when it is imported, so a process of its own does.


@dataclass(frozen=True, slots=True)
class Certificates:
    """An authority's, as a file, and what a server for ``localhost`` speaks TLS with."""

    authority: Path
    server: ssl.SSLContext


def signed(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    now = datetime.now(UTC)
    is_authority = name == issuer
    own, theirs = (
        x509.SubjectKeyIdentifier.from_public_key(k.public_key()) for k in (key, issuer_key)
    )
    names = [x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))]
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(own, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(theirs), critical=False
        )
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("tls")
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = signed("our authority", authority_key, "our authority", authority_key)
    certificate = signed("localhost", key, "our authority", authority_key)
    pem = serialization.Encoding.PEM
    (folder / "authority.pem").write_bytes(authority.public_bytes(pem))
    (folder / "server.pem").write_bytes(
        certificate.public_bytes(pem)
        + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "server.pem")
    return Certificates(folder / "authority.pem", context)


POSTS = """
import asyncio, gc, json, sys
from teachers.channel import BrokenExchangeError
from teachers.http_client import HttpClient, UnreachableError

async def post_all(url, *bodies):
    client, parts, said = HttpClient({"Authorization": "Bearer x"}, proxied_url=url), [], []
    for body in bodies:
        try:
            response = await client.post(url, body.encode(), parts.append)
            said.append(response.body.decode())
        except (UnreachableError, BrokenExchangeError) as error:
            said.append(f"{type(error).__name__}: {error}")
    await client.close()
    print(json.dumps([said, b"".join(parts).decode()]))

asyncio.run(post_all(*sys.argv[1:]))
gc.collect()
"""


async def posted_elsewhere(
    url: str, *bodies: str, environment: dict[str, str]
) -> tuple[list[str], str]:
    """What another process hears that posts bodies one after another: bodies, events."""
    kept = {
        name: value
        for name, value in clean_environment().items()
        if name.lower() not in PROXIES and not name.startswith("SSL_CERT")
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "always::ResourceWarning", "-c", POSTS, url, *bodies),
        env=kept | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        shown, complaints = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.communicate()
        raise
    assert complaints == b""
    said, events = json.loads(shown)
    return said, events


async def echo(asked: Asked, writer: asyncio.StreamWriter) -> None:
    if asked.body == b"stream":
        writer.write(chunked(b"data: 1\n\n", b"data: 2\n\n", lines=(EVENTS,)))
    else:
        writer.write(with_length(asked.body.upper()))


@bounded
async def test_posts_over_tls_share_a_connection(certificates: Certificates) -> None:
    environment = {"SSL_CERT_FILE": str(certificates.authority)}
    large = "x" * 100_000
    async with serving(echo, certificates.server) as server:
        bodies = ("first", large, "stream")
        said, events = await posted_elsewhere(server.url, *bodies, environment=environment)
    assert said == ["FIRST", large.upper(), ""]
    assert events == "data: 1\n\ndata: 2\n\n"
    assert [asked.connection for asked in server.asked] == [1, 1, 1]
    assert server.asked[0].headers["host"] == f"localhost:{server.port}"


@bounded
async def test_nothing_is_sent_to_a_server_whose_certificate_is_not_trusted(
    certificates: Certificates,
) -> None:
    async with serving(echo, certificates.server) as server:
        (said,), _ = await posted_elsewhere(server.url, "first", environment={})
    assert said.startswith(f"UnreachableError: cannot reach localhost:{server.port}: ")
    assert "certificate" in said
    assert server.asked == []


@bounded
async def test_nothing_is_sent_to_a_server_that_speaks_no_tls() -> None:
    heard: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(65_536))
        writer.write(with_length(b"", status=b"400 Bad Request"))
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as plain:
        port = plain.sockets[0].getsockname()[1]
        url = f"https://localhost:{port}/v1"
        (said,), _ = await posted_elsewhere(url, "first", environment={})
    assert said.startswith(f"UnreachableError: cannot reach localhost:{port}: ")
    assert b"Bearer" not in b"".join(heard)


@dataclass
class Tunnels:
    """A proxy that connects its clients to whom they name."""

    port: int = 0
    heads: list[str] = field(default_factory=list)
    refuses: bool = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        if self.refuses:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            writer.close()
            return
        host, port = head.split(" ")[1].split(":")
        there_reader, there_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(passed_on(reader, there_writer), passed_on(there_reader, writer))


async def passed_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
    writer.close()


@asynccontextmanager
async def tunnelling(*, refuses: bool = False) -> AsyncIterator[Tunnels]:
    proxy = Tunnels(refuses=refuses)
    listening = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield proxy


@bounded
async def test_posts_over_tls_go_through_the_tunnel_of_a_proxy(certificates: Certificates) -> None:
    async with serving(echo, certificates.server) as server, tunnelling() as proxy:
        environment = {
            "SSL_CERT_FILE": str(certificates.authority),
            "https_proxy": f"http://me:pass@127.0.0.1:{proxy.port}",
        }
        bodies = ("first", "stream", "third")
        said, events = await posted_elsewhere(server.url, *bodies, environment=environment)
    assert (said, events) == (["FIRST", "", "THIRD"], "data: 1\n\ndata: 2\n\n")
    (head,) = proxy.heads
    assert head.startswith(f"CONNECT localhost:{server.port} HTTP/1.1\r\n")
    assert f"Proxy-Authorization: {basic('me:pass')}\r\n" in head
    assert "Bearer" not in head
    assert [asked.line for asked in server.asked] == ["POST /v1/chat HTTP/1.1"] * 3
    assert all("proxy-authorization" not in asked.headers for asked in server.asked)


@bounded
async def test_a_proxy_that_refuses_is_named_with_its_status() -> None:
    async with tunnelling(refuses=True) as proxy:
        environment = {"https_proxy": f"http://127.0.0.1:{proxy.port}"}
        url = "https://teacher.test/v1"
        (said,), _ = await posted_elsewhere(url, "first", environment=environment)
    assert "407" in said
