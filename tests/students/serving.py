"""A student's server in this process, on a thread of its own, with either back end."""

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from students.llama_cpp import serving
from students.load import EMBEDDED, load_student
from students.serve.app import Limits, StudentServer
from students.serve.backend import Backend
from students.serve.choosing import BackendChoice
from students.serve.llama_cpp import LlamaCppBackend
from students.serve.opening import opened_backend
from students.serve.own import EngineBackend
from students.serve.run import in_background
from tests.servers.gguf_file import write_gguf

MODEL = "tiny"
KEY = "of-these-tests-alone"


@dataclass(frozen=True, slots=True)
class Served:
    """A running server."""

    url: str
    backend: Backend
    server: StudentServer

    @property
    def root(self) -> str:
        """The address without ``/v1``."""
        return self.url.removesuffix("/v1")

    def get(self, path: str) -> tuple[int, Any]:
        """Status and what came."""
        return _ask(urllib.request.Request(f"{self.root}{path}"))

    def post(self, body: object, key: str = KEY) -> tuple[int, Any]:
        """Ask for completions; a body that is bytes is sent as it is."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {key}"}
        return _ask(urllib.request.Request(f"{self.url}/chat/completions", data, headers))

    def figure(self, name: str) -> float:
        """A figure of the metrics."""
        lines = self.get("/metrics")[1].splitlines()
        return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])

    def connect(self) -> socket.socket:
        """A bare connection."""
        address = urlsplit(self.url)
        assert address.hostname is not None
        assert address.port is not None
        return socket.create_connection((address.hostname, address.port), timeout=60)


@contextmanager
def engine_backend(*, rows: int = 8) -> Iterator[Backend]:
    """Our engine with the embedded student."""
    from engine.completer import end_ids
    from engine.session import Engine

    loaded = load_student(EMBEDDED)
    engine = Engine(loaded.model, end_ids=end_ids(loaded.model, loaded.tokenizer), most_rows=rows)
    yield EngineBackend(engine, loaded.tokenizer, max_tokens=200)


@contextmanager
def llama_cpp_backend(folder: Path) -> Iterator[Backend]:
    """llama.cpp with the embedded student as a GGUF file."""
    path = folder / "student.gguf"
    write_gguf(EMBEDDED, path)
    with serving(path, context_tokens=512, slots=4) as server:
        yield LlamaCppBackend(server, max_tokens=200)


@contextmanager
def vllm_backend(rows: int = 8) -> Iterator[Backend]:
    """vLLM with the embedded student."""
    choice = BackendChoice("vllm", "the test asks for it")
    with opened_backend(
        EMBEDDED, choice=choice, rows=rows, context_tokens=512, max_tokens=200
    ) as backend:
        yield backend


@contextmanager
def served(backend: Backend, limits: Limits, key: str = KEY) -> Iterator[Served]:
    """Serve as long as the block lasts."""
    server = StudentServer(backend, MODEL, limits, key)
    with in_background(server) as url:
        yield Served(url, backend, server)


def _ask(request: urllib.request.Request) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            status, data = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, data = error.code, error.read()
    try:
        return status, json.loads(data)
    except ValueError:
        return status, data.decode()
