"""``HttpClient``: posts to a few addresses, thousands of times, over connections that are kept.

aiohttp makes the connections: names, TLS, proxies. A request and its answer then take less than
half of what aiohttp's own take (`teachers.channel`), because nothing is worked out anew that is the
same for all of them.

This module knows neither JSON nor retries.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from teachers.channel import BrokenExchangeError, Channel, PartListener, Response

_CONNECT_SECONDS: Final = 30.0
_IDLE_SECONDS: Final = 30.0
_READ_BYTES: Final = 64 * 1024
_SAID_BY_US: Final = frozenset({"content-length", "transfer-encoding", "connection"})


class UnreachableError(Exception):
    """No connection was made: nothing was sent."""


@dataclass(slots=True)
class _Address:
    """Where requests go, and what they all begin with."""

    request: aiohttp.ClientRequest
    idle: list[Channel] = field(default_factory=list)
    head: bytes = b""


class HttpClient:
    """Connections to servers, as many as there are exchanges at once.

    It follows no redirect and keeps no cookie.
    """

    def __init__(self, headers: Mapping[str, str], *, proxied_url: str = "") -> None:
        """Connect to nothing yet; to be called where a loop runs.

        Args:
            headers: Of every request.
            proxied_url: The address whose proxy in the environment is used for all.
        """
        for name, value in headers.items():
            if any(char in name + value for char in "\r\n\0"):
                raise ValueError(f"the header {name} holds a line break")
        self._loop = asyncio.get_running_loop()
        # Silence is looked for once a second over all calls: a timer for each read costs more.
        self._timeout = aiohttp.ClientTimeout(total=None, connect=_CONNECT_SECONDS)
        self._headers = {"Content-Type": "application/json", **headers}
        self._proxy = _proxy(proxied_url)
        self._connector = aiohttp.TCPConnector(limit=0)
        self._memory = memoryview(bytearray(_READ_BYTES))
        self._addresses: dict[str, _Address] = {}
        self._open: dict[Channel, aiohttp.connector.Connection] = {}

    async def post(self, url: str, body: bytes, on_part: PartListener) -> Response:
        """Post a body and wait for the whole answer.

        Args:
            url: Where to.
            body: JSON.
            on_part: Takes the parts of a stream of events as they arrive.

        Raises:
            UnreachableError: If no connection could be made.
            BrokenExchangeError: If the answer did not arrive whole.
        """
        address = self._addresses.get(url)
        if address is None:
            address = self._addresses[url] = _Address(self._request(url))
        channel = self._idle_channel(address) or await self._connect(address)
        request = b"%s%d\r\n\r\n%s" % (address.head, len(body), body)
        response = await channel.exchange(request, on_part)
        if channel.is_usable:
            address.idle.append(channel)
        return response

    async def get(self, url: str, seconds: float) -> bytes:
        """The body at an address, empty if it cannot be had in time."""
        timeout = aiohttp.ClientTimeout(total=seconds)
        session = aiohttp.ClientSession(
            connector=self._connector, connector_owner=False, headers=self._headers
        )
        try:
            async with (
                session,
                session.get(
                    url, timeout=timeout, allow_redirects=False, proxy=self._proxy
                ) as response,
            ):
                return await response.read()
        except (aiohttp.ClientError, OSError):  # a TimeoutError is an OSError
            return b""

    async def close(self) -> None:
        """End all connections."""
        for channel in list(self._open):
            channel.close()
        await self._connector.close()

    def _request(self, url: str) -> aiohttp.ClientRequest:
        return aiohttp.ClientRequest(
            "POST",
            URL(url),
            headers={**self._headers, "Accept-Encoding": "identity"},
            loop=self._loop,
            proxy=URL(self._proxy) if self._proxy else None,
        )

    def _idle_channel(self, address: _Address) -> Channel | None:
        """The one that was used last: others may have been given up by the server."""
        while address.idle:
            channel = address.idle.pop()
            if channel.is_usable and self._loop.time() - channel.idle_since < _IDLE_SECONDS:
                return channel
            channel.close()
        return None

    async def _connect(self, address: _Address) -> Channel:
        try:
            connection = await self._connector.connect(address.request, [], self._timeout)
        except aiohttp.ClientConnectorError as error:
            reason = error.os_error.strerror or str(error.os_error)
            raise UnreachableError(f"cannot reach {error.host}:{error.port}: {reason}") from error
        except TimeoutError as error:
            raise BrokenExchangeError(f"no connection within {_CONNECT_SECONDS:.0f} s") from error
        except (aiohttp.ClientError, OSError) as error:
            words = str(error) or type(error).__name__
            raise BrokenExchangeError(f"the connection broke: {words}") from error
        address.head = address.head or _head(address.request)  # it has learnt of its proxy now
        transport, protocol = connection.transport, connection.protocol
        assert isinstance(transport, asyncio.Transport)
        assert protocol is not None

        def lost(error: Exception | None) -> None:
            protocol.connection_lost(error)  # aiohttp waits for it
            self._open.pop(channel).close()

        channel = Channel(self._loop, transport, self._memory, lost)
        transport.set_protocol(channel)
        self._open[channel] = connection
        return channel


def _head(request: aiohttp.ClientRequest) -> bytes:
    """All that stands before the length of the body."""
    is_for_proxy = request.proxy is not None and not request.is_ssl()
    target = str(request.url) if is_for_proxy else request.url.raw_path_qs
    lines = [f"POST {target} HTTP/1.1"]
    for name, value in request.headers.items():
        if name.lower() not in _SAID_BY_US:
            lines.append(f"{name}: {value}")
    return "\r\n".join([*lines, "Content-Length: "]).encode()


def _proxy(url: str) -> str | None:
    """The proxy of the environment for a URL, unless it says to go there without one."""
    parts = urlsplit(url)
    if parts.hostname is None or proxy_bypass(parts.hostname):
        return None
    return getproxies().get(parts.scheme)
