"""Another program's server on this machine, which draws for ours: its streams and its end."""

import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from distill.errors import ModelError
from engine.server_process import RunningServer
from students.serve.backend import RequestError

_CONNECT_SECONDS = 10


@dataclass(slots=True)
class Upstream:
    """A server that we started and ask; whoever started it ends it.

    Attributes:
        name: Of the program.
        server: Where it listens, and its process.
    """

    name: str
    server: RunningServer

    def fault(self) -> str:
        """Why it draws nothing any more; empty while it runs."""
        code = self.server.process.code
        if code is None:
            return ""
        words = self.server.process.last_words()
        return f"{self.name} ended with exit code {code}" + (words and f"; it said:\n{words}")

    async def stream(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any]]:
        """Post a request and yield the records of its stream; closing it early ends the request.

        Args:
            path: Under ``/v1``.
            body: With ``stream`` set.

        Raises:
            RequestError: If the server refuses it.
            ModelError: If the server fails, or is gone.
        """
        headers = {"Authorization": f"Bearer {self.server.key}"} if self.server.key else {}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
                session.post(f"{self.server.base_url}/{path}", json=dict(body)) as answer,
            ):
                if answer.status >= 400:  # noqa: PLR2004 - of HTTP
                    raise self._refused(await answer.text(), answer.status)
                async for line in answer.content:
                    if line.startswith(b"data: {"):
                        yield self._checked(json.loads(line.removeprefix(b"data: ")))
        except aiohttp.ClientError as error:
            raise ModelError(self.fault() or f"{self.name} broke off: {error}") from error

    def _checked(self, record: dict[str, Any]) -> dict[str, Any]:
        if "error" in record:
            raise ModelError(f"{self.name}: {_message(record)}")
        return record

    def _refused(self, text: str, status: int) -> RequestError | ModelError:
        try:
            words = _message(json.loads(text))
        except (ValueError, KeyError, TypeError, AttributeError):
            words = text[:200]
        return RequestError(words) if status < 500 else ModelError(f"{self.name}: {words}")  # noqa: PLR2004


def _message(record: Mapping[str, Any]) -> str:
    error = record["error"]
    return str(error.get("message", error))
