"""One fork server as its client sees it: started, asked, ended."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent
_GIVEN = ("calls", "kernel", "child")
"""Modules that the server is given as text: it may not be able to import them."""
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
_START_SECONDS = 30.0
_GRACE_SECONDS = 2.0
_END_SECONDS = 1.0
_PIECE = 65_536


class ServerProcess:
    """A fork server and the pipes to it; used by one thread at a time."""

    def __init__(self, outer: Sequence[str], settings: dict[str, Any]) -> None:
        """Start it.

        Args:
            outer: Command that it is started through; may be empty.
            settings: Of the sandbox.

        Raises:
            OSError: If it cannot be started.
        """
        self._process = subprocess.Popen(
            [*outer, sys.executable, "-P", "-s", "-S", str(_FOLDER / "server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=_ENVIRONMENT,
            cwd="/",
            start_new_session=True,  # Ctrl-C in a terminal is not meant for it
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests = self._process.stdin
        self._answers = self._process.stdout
        self._is_asked = False
        texts = {name: (_FOLDER / f"{name}.py").read_text(encoding="utf-8") for name in _GIVEN}
        with suppress(OSError):  # then it is not alive
            self._send({**settings, "modules": texts})

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None and not self._requests.closed

    def ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any] | None:
        """The answer; ``None`` if none came in time, and the server is ended then.

        Args:
            request: What to run.
            seconds: What the run may take; a first one also waits for the start.
        """
        patience = seconds + _GRACE_SECONDS + (0 if self._is_asked else _START_SECONDS)
        answer: dict[str, Any] | None = None
        try:
            self._send(request)
            answer = json.loads(self._line(time.monotonic() + patience))
        except (OSError, ValueError):
            return None
        finally:
            if answer is None:  # Ctrl-C too: a late answer would be taken for that of the next run
                self.end()
        self._is_asked = True
        return answer

    def end(self) -> None:
        """End the server with its child: it goes when its input ends, else it is killed."""
        self._requests.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            with suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._answers.close()  # after the end, which whoever reads it must see

    def forget(self) -> None:
        """In a forked child: the process is the parent's."""
        self._requests.close()
        self._answers.close()
        self._process.returncode = 0  # nothing to wait for, nothing to warn of

    def _send(self, value: dict[str, Any]) -> None:
        data = memoryview(json.dumps(value).encode() + b"\n")
        while data:
            data = data[self._requests.write(data) or 0 :]

    def _line(self, deadline: float) -> bytes:
        parts: list[bytes] = []
        waiting = select.poll()  # not select.select: this process may have 1,000 files open
        waiting.register(self._answers, select.POLLIN)
        while not parts or not parts[-1].endswith(b"\n"):
            left = max(deadline - time.monotonic(), 0)
            ready = waiting.poll(1000 * left)
            piece = self._answers.read(_PIECE) if ready else b""
            if not piece:
                raise TimeoutError
            parts.append(piece)
        return b"".join(parts)


def read_results(text: str, nonce: str) -> dict[int, dict[str, Any]]:
    r"""By case, results that carry the nonce; whatever else was written there counts for nothing.

    Example:
        >>> read_results('{"nonce": "n", "case": 0, "value": 7}\n[[[', "n")
        {0: {'value': 7}}
    """
    found: dict[int, dict[str, Any]] = {}
    for line in text.splitlines():
        try:
            result = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(result, dict) or result.pop("nonce", None) != nonce:
            continue
        place = result.pop("case", None)
        if type(place) is int:
            found[place] = result
    return found
