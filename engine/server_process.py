"""``ServerProcess``: a server that we start on this machine, and that never outlives us.

It runs behind a keeper (``engine.server_keeper``), which ends it and all that it started once our
end of a pipe is closed, however we end. What it writes goes to a log, whose last lines are its last
words.
"""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from distill.errors import ModelError
from engine.server_log import keep_log

_KEEPER: Final = Path(__file__).with_name("server_keeper.py")
_END_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.1
_LOG_LINES: Final = 12
_LOG_BYTES: Final = 20_000


class ServerProcess:
    """A server that was started."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        kept: Path | None = None,
    ) -> None:
        """Start it.

        Args:
            command: Program and arguments.
            environment: Set beside what this process has.
            log: File that its output is added to.
            kept: Where its last words have the log kept, without secrets.
        """
        self.log = log
        self._kept = kept
        self._command, self._environment = command, environment
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(_KEEPER), *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    @property
    def code(self) -> int | None:
        """Its exit code; ``None`` while it runs."""
        return self._process.poll()

    def end(self, *, is_hopeless: bool = False) -> None:
        """End it and all that it started, and wait for that.

        Args:
            is_hopeless: Whether it is known not to listen to a signal: it is killed at once.
        """
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended by itself
            if is_hopeless:
                self._process.stdin.write(b"!")
            self._process.stdin.close()
        try:
            self._process.wait(timeout=_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def last_words(self) -> str:
        """The end of its log, each line marked, and where all of it is kept from then on.

        Empty if it wrote nothing.
        """
        lines = [f"  | {line}" for line in last_lines(self.log)]
        if lines and self._kept is not None:
            with suppress(OSError):  # the words matter more than a disk that refuses
                keep_log(self.log, self._kept, self._command, self._environment)
                lines.append(f"  its whole log: {self._kept}")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that answers.

    Attributes:
        base_url: Up to ``/v1``.
        process: That it runs in.
        key: Its API key; empty if it asks for none.
    """

    base_url: str
    process: ServerProcess
    key: str = ""


@contextmanager
def running_server(
    command: Sequence[str],
    environment: Mapping[str, str],
    health_url: str,
    *,
    name: str,
    ready_seconds: float,
    kept: Path | None = None,
) -> Iterator[ServerProcess]:
    """A server from its first answer to the end of the block.

    Args:
        command: Program and arguments.
        environment: Set beside what this process has.
        health_url: Answers once it is ready.
        name: For messages.
        ready_seconds: How long that may take.
        kept: Where its log is kept, without secrets, if it fails; lost unless given.

    Raises:
        ModelError: If it ends before, or takes longer; with its last words.
    """
    with TemporaryDirectory(prefix="distill-server-") as folder:
        process = ServerProcess(command, environment, Path(folder) / "log", kept)
        try:
            if trouble := _wait_ready(process, health_url, ready_seconds):
                words = process.last_words()
                said = f"; its last words:\n{words}" if words else " and said nothing"
                raise ModelError(f"{name} {trouble}{said}")
            yield process
        finally:
            process.end()


def _wait_ready(process: ServerProcess, health_url: str, ready_seconds: float) -> str:
    """Until it answers; what went wrong, or nothing."""
    deadline = time.monotonic() + ready_seconds
    while time.monotonic() < deadline:
        if process.code is not None:
            return f"ended with exit code {process.code} before it was ready"
        with (
            suppress(urllib.error.URLError, ConnectionError, TimeoutError),
            urllib.request.urlopen(health_url, timeout=5),
        ):
            return ""
        time.sleep(_LOOK_SECONDS)
    return f"was not ready within {ready_seconds:g} s"


def last_lines(log: Path) -> list[str]:
    """The end of a log."""
    try:
        content = log.read_bytes()[-_LOG_BYTES:]
    except OSError:
        return []
    return content.decode(errors="replace").strip().splitlines()[-_LOG_LINES:]


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on at present."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
