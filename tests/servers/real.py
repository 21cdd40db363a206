"""Real servers with the embedded student: ``transformers serve``, and llama.cpp's from a GGUF.

The student solves problems of one step and thinks before it answers, so what these servers send is
real reasoning: the one leaves it between think tags, the other puts it into a field.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.server_process import free_port
from students.load import EMBEDDED
from tests.servers.gguf_file import write_gguf
from tests.servers.running import REPOSITORY, Server, running_server


@contextmanager
def transformers_server(folder: Path) -> Iterator[Server]:
    """``transformers serve``; its log is ``transformers.log`` in the folder."""
    port = free_port()
    program = Path(sys.executable).with_name("transformers")
    command = [str(program), "serve", str(EMBEDDED), "--host", "127.0.0.1", "--port", str(port)]
    with running_server(
        [*command, "--device", "cpu"], port, log=folder / "transformers.log"
    ) as server:
        yield server


@contextmanager
def llama_cpp_server(folder: Path) -> Iterator[Server]:
    """llama.cpp's server on a GGUF of the same student; its log is ``llama-cpp.log``."""
    port, model = free_port(), folder / "student.gguf"
    write_gguf(EMBEDDED, model)
    command = llama_cpp_command(model, str(port))
    with running_server(command, port, log=folder / "llama-cpp.log", cwd=REPOSITORY) as server:
        yield server


def llama_cpp_command(model: Path | str, port: str) -> list[str]:
    """The command that serves a GGUF, four requests at once."""
    script = REPOSITORY / "students/llama_cpp_server.py"
    return [sys.executable, "-P", str(script), str(model), port, "2048", "4", "0"]
