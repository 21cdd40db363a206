"""Starts servers in processes of their own, waits until they answer, and ends them."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.servers.settings import Settings

REPOSITORY = Path(__file__).parents[2]
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # tiny models wait for threads


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs.

    Attributes:
        url: Its address, without a path.
        pid: Its process.
    """

    url: str
    pid: int

    @property
    def base_url(self) -> str:
        """What a recipe takes."""
        return f"{self.url}/v1"

    def get(self, path: str) -> dict[str, Any]:
        """A JSON document of the server."""
        with urllib.request.urlopen(f"{self.url}{path}", timeout=10) as reply:
            found: dict[str, Any] = json.load(reply)
            return found

    def ledger(self) -> dict[str, Any]:
        """What the stub counted."""
        return self.get("/ledger")


@contextmanager
def running_stub(settings: Settings) -> Iterator[Server]:
    """The stub, from its first answer to the end of the block."""
    module = ["-m", "tests.servers.stub", "--settings", json.dumps(asdict(settings))]
    with _ending(
        subprocess.Popen([sys.executable, *module], cwd=REPOSITORY, stdout=subprocess.PIPE)
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "the stub ended before it listened"
        yield Server(f"http://127.0.0.1:{int(line)}", process.pid)


@contextmanager
def running_server(
    command: Sequence[str],
    port: int,
    *,
    log: Path,
    cwd: Path | None = None,
    ready_seconds: float = 60,
) -> Iterator[Server]:
    """Any server, from the time that it says it is healthy to the end of the block.

    Raises:
        RuntimeError: If it ends or is not ready in time, with the end of its log.
    """
    with (
        log.open("wb") as output,
        _ending(
            subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=cwd or log.parent,
                env={**os.environ, **_ONE_THREAD},
            )
        ) as process,
    ):
        server = Server(f"http://127.0.0.1:{port}", process.pid)
        deadline = time.monotonic() + ready_seconds
        while not _is_ready(server):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} is not ready:\n{log.read_text()[-2000:]}")
            time.sleep(0.1)
        yield server


def _is_ready(server: Server) -> bool:
    try:
        server.get("/health")
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
    return True


@contextmanager
def _ending(process: "subprocess.Popen[bytes]") -> Iterator["subprocess.Popen[bytes]"]:
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
