"""``Recorder``: a server that notes every request exactly and answers with recorded bytes.

It shows what our client sends to endpoints that no test can reach. It answers as they do: 404 to
any other path, query or method, 401 to a key in another header.
"""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, slots=True)
class Form:
    """How an endpoint is spoken to, and what it answers.

    Attributes:
        path: Path and query of a request for a completion.
        key_header: Header that holds the key, and what stands before the key in it.
        body: Answer to a request without ``stream``.
        stream: Answer to a request with it.
    """

    path: str
    key_header: tuple[str, str]
    body: bytes
    stream: bytes


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it arrived; header names are in lower case."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]


@dataclass(slots=True)
class Recorder:
    """A running recorder."""

    url: str
    asked: list[Asked] = field(default_factory=list)


@contextmanager
def recording(form: Form, key: str) -> Iterator[Recorder]:
    """Answer in a thread until the end of the block."""
    recorder = Recorder("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = json.loads(self.rfile.read(int(headers["content-length"])))
            recorder.asked.append(Asked(self.path, headers, body))
            name, opening = form.key_header
            if self.path != form.path:
                self._answer(404, b'{"error":{"message":"Resource not found","code":"404"}}')
            elif headers.get(name) != opening + key:
                self._answer(401, b'{"error":{"message":"Access denied","code":"401"}}')
            elif body.get("stream"):
                self._answer(200, form.stream, "text/event-stream")
            else:
                self._answer(200, form.body)

        def _answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Write nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    recorder.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield recorder
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
