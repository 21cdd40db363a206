"""A GGUF file behind llama.cpp's own server, on 127.0.0.1, for as long as a block lasts."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from distill.errors import MissingDependencyError, ModelError
from engine.server_process import RunningServer, free_port, running_server

_SERVER: Final = Path(__file__).with_name("llama_cpp_server.py")
_MAGIC: Final = b"GGUF"
_READY_SECONDS: Final = 600.0


@contextmanager
def serving(
    path: Path,
    *,
    context_tokens: int,
    slots: int,
    is_exact: bool = False,
    kept_log: Path | None = None,
) -> Iterator[RunningServer]:
    """Serve a GGUF file for as long as the block lasts.

    Args:
        path: The file.
        context_tokens: Prompt and answer of one request at most.
        slots: Requests at once; each holds a context in memory.
        is_exact: Compute attention in float32: half precision moves log-probabilities by 0.02.
        kept_log: Where its log is kept if it fails.

    Raises:
        ModelError: If the file is none, or the server does not start.
        MissingDependencyError: If llama.cpp is not installed.
    """
    _check(path)
    port = free_port()
    numbers = [str(number) for number in (port, context_tokens * slots, slots, int(is_exact))]
    command = [sys.executable, "-P", str(_SERVER), str(path), *numbers]
    root = f"http://127.0.0.1:{port}"
    with running_server(
        command,
        {},
        f"{root}/health",
        name=f"{path}: llama.cpp",
        ready_seconds=_READY_SECONDS,
        kept=kept_log,
    ) as process:
        yield RunningServer(f"{root}/v1", process)


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
