"""A GGUF file behind llama.cpp's own server, on 127.0.0.1, for as long as a block lasts."""

import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from distill.errors import MissingDependencyError, ModelError

_SERVER: Final = Path(__file__).with_name("llama_cpp_server.py")
_MAGIC: Final = b"GGUF"
_READY_SECONDS: Final = 600.0
_SHOWN: Final = 400


@contextmanager
def serving(
    path: Path, *, context_tokens: int, slots: int, is_exact: bool = False
) -> Iterator[str]:
    """Serve a GGUF file; yields the address up to ``/v1``.

    Args:
        path: The file.
        context_tokens: Prompt and answer of one request at most.
        slots: Requests at once; each holds a context in memory.
        is_exact: Compute attention in float32: half precision moves log-probabilities by 0.02.

    Raises:
        ModelError: If the file is none, or the server does not start.
        MissingDependencyError: If llama.cpp is not installed.
    """
    _check(path)
    port = _free_port()
    numbers = [str(number) for number in (port, context_tokens * slots, slots, int(is_exact))]
    command = [sys.executable, "-P", str(_SERVER), str(path), *numbers]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait(process, port)
            yield f"http://127.0.0.1:{port}/v1"
        except TimeoutError:
            log.seek(0)
            said = log.read().decode(errors="replace").strip()[-_SHOWN:]
            raise ModelError(f"{path}: llama.cpp cannot serve it: {said or 'no word'}") from None
        finally:
            _end(process)


def _check(path: Path) -> None:
    try:
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}") from None
    if magic != _MAGIC:
        raise ModelError(f"{path}: this is no GGUF file", hint="such a file begins with GGUF")
    if find_spec("xllamacpp") is None:
        raise MissingDependencyError(
            "a GGUF file needs llama.cpp, and the library xllamacpp is not installed",
            hint="pip install 'distill-reasoning[gguf]'",
        )


def _wait(process: "subprocess.Popen[bytes]", port: int) -> None:
    """Until the server is healthy; ``TimeoutError`` if it ended or takes too long."""
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with (
            suppress(urllib.error.URLError, ConnectionError, TimeoutError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5),
        ):
            return
        time.sleep(0.1)
    raise TimeoutError


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
