"""``Channel``: HTTP/1.1 over one open connection, one exchange after another.

httptools parses what arrives; nothing is awaited between a read and the parts of an answer, so an
answer costs one wake-up of its caller, whatever the number of its parts.

This module makes no connections and knows no JSON.
"""

import asyncio
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import httptools

PartListener = Callable[[bytes], None]
"""Takes a part of an event stream as it arrives; what it raises ends the exchange."""

_OK: Final = 200
_EVENTS: Final = b"text/event-stream"
_NO_HEADERS: Final[Mapping[str, str]] = {}
_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS


class BrokenExchangeError(Exception):
    """An answer that did not arrive whole."""


@dataclass(frozen=True, slots=True)
class Response:
    """What a server answered.

    Attributes:
        status: Such as 200.
        headers: Names in lower case; empty where all went well.
        body: Whole; empty if it was a stream of events, whose parts were handed on.
        is_events: Whether it was.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    is_events: bool = False


@dataclass(slots=True)
class _Arriving:
    """An answer as far as it has arrived."""

    done: "asyncio.Future[Response]"
    on_part: PartListener
    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    parts: list[bytes] = field(default_factory=list)
    is_events: bool = False
    has_head: bool = False
    is_whole: bool = False
    is_last: bool = False
    unpack: "zlib._Decompress | None" = None

    def response(self) -> Response:
        """The answer, once it is whole."""
        parts = self.parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        if self.status == _OK:  # nobody looks at its headers
            return Response(self.status, _NO_HEADERS, body, self.is_events)
        headers = {_text(name): _text(value) for name, value in self.headers.items()}
        return Response(self.status, headers, body)

    @property
    def ends_with_connection(self) -> bool:
        """Whether nothing but the end of the connection says where the body ends."""
        return (
            self.has_head
            and b"content-length" not in self.headers
            and b"chunked" not in self.headers.get(b"transfer-encoding", b"").lower()
        )


class Channel(asyncio.BufferedProtocol):
    """One connection; ``exchange`` is called again once the last one is over.

    Attributes:
        idle_since: When its last exchange ended, in seconds of the loop's clock.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: asyncio.Transport,
        memory: memoryview,
        on_lost: Callable[[Exception | None], None],
    ) -> None:
        """Speak over a transport whose protocol this is about to become.

        Args:
            loop: Where the transport lives.
            transport: Open.
            memory: What all channels of the loop read into: what was read is taken at once.
            on_lost: Called when the connection has ended.
        """
        self.idle_since = loop.time()
        self._loop = loop
        self._transport = transport
        self._memory = memory
        self._on_lost = on_lost
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._arriving: _Arriving | None = None

    @property
    def is_usable(self) -> bool:
        """Whether another exchange may be made."""
        return self._arriving is None and not self._transport.is_closing()

    async def exchange(self, request: bytes, on_part: PartListener) -> Response:
        """Send a request and wait for the whole answer.

        Raises:
            BrokenExchangeError: If the connection broke, or what came is no HTTP.
        """
        self._arriving = _Arriving(self._loop.create_future(), on_part)
        self._transport.write(request)
        try:
            return await self._arriving.done
        except BaseException:  # what is still to come must not be taken for the next answer
            self.close()
            raise

    def close(self) -> None:
        """End the connection; what is under way fails."""
        self._transport.close()
        if self._arriving is not None:
            self._fail(self._arriving, "it was closed")

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where to read to."""
        return self._memory

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        arriving, parser = self._arriving, self._parser
        if arriving is None or parser is None:  # nobody asked for anything
            self._transport.close()
            return
        try:
            parser.feed_data(self._memory[:nbytes])
            if arriving.is_events and arriving.parts:
                parts, arriving.parts = arriving.parts, []
                arriving.on_part(parts[0] if len(parts) == 1 else b"".join(parts))
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            is_http = arriving.has_head or bytes(self._memory[:5]) == b"HTTP/"
            what = "what came cannot be read" if is_http else "what came is no HTTP (is it https?)"
            self._fail(arriving, f"{what}: {error.__context__ or error}")
        except Exception as error:  # noqa: BLE001 - the listener's, raised where it waits
            self._fail(arriving, error)
        else:
            if arriving.is_whole:
                self._finish(arriving)

    def connection_lost(self, exc: Exception | None) -> None:
        """End what is under way."""
        arriving, self._arriving = self._arriving, None
        if arriving is not None and exc is None and arriving.ends_with_connection:
            self._finish(arriving)
        elif arriving is not None:
            self._fail(arriving, f"the connection broke: {exc or 'the server hung up'}")
        self._parser = None  # it refers to this
        self._on_lost(exc)

    def on_message_begin(self) -> None:
        """The parser's: an answer begins; nobody asked for a second one."""
        if self._arriving is None:
            self._transport.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        """The parser's: a header, or one that follows the chunks of a body."""
        if self._arriving is not None:
            self._arriving.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """The parser's: the body is next."""
        arriving, parser = self._arriving, self._parser
        if arriving is None or parser is None:
            return
        arriving.has_head = True
        arriving.status = parser.get_status_code()
        kind = arriving.headers.get(b"content-type", b"").lower()
        arriving.is_events = arriving.status == _OK and kind.startswith(_EVENTS)
        packing = arriving.headers.get(b"content-encoding", b"identity").lower()
        if packing in (b"gzip", b"x-gzip", b"deflate"):  # nobody asked for it
            arriving.unpack = zlib.decompressobj(_GZIP_OR_ZLIB)
        elif packing != b"identity":
            raise ValueError(f"it is packed as {_text(packing)}, which nobody asked for")

    def on_body(self, body: bytes) -> None:
        """The parser's: a part of the body."""
        arriving = self._arriving
        if arriving is not None:
            unpack = arriving.unpack
            arriving.parts.append(body if unpack is None else unpack.decompress(body))

    def on_message_complete(self) -> None:
        """The parser's: the answer is whole, or it was one that only announces another."""
        arriving, parser = self._arriving, self._parser
        if arriving is None or parser is None:
            return
        if arriving.status < _OK:
            arriving.headers.clear()
            arriving.has_head = False
        else:
            self._arriving = None
            arriving.is_whole = True
            arriving.is_last = not parser.should_keep_alive()

    def _finish(self, arriving: _Arriving) -> None:
        if arriving.unpack is not None and arriving.parts and not arriving.unpack.eof:
            self._fail(arriving, "it is packed and ends too early")
            return
        self.idle_since = self._loop.time()
        if arriving.is_last:
            self._transport.close()
        if not arriving.done.done():
            arriving.done.set_result(arriving.response())

    def _fail(self, arriving: _Arriving, why: str | Exception) -> None:
        self._arriving = None
        self._transport.close()
        if not arriving.done.done():
            error = BrokenExchangeError(why) if isinstance(why, str) else why
            arriving.done.set_exception(error)


def _text(header: bytes) -> str:
    return header.decode("latin-1")
