"""``Sandbox``: runs code that nobody has read, and refuses to where the walls do not hold.

Works from threads, and after a fork: each process starts fork servers of its own when it first
needs one. ``server`` is the other side.
"""

import atexit
import os
import queue
import secrets
import sys
import sysconfig
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from distill.closing import Closing
from distill.errors import MissingDependencyError
from distill.verify.sandbox import walls
from distill.verify.sandbox.process import ServerProcess, read_results
from distill.verify.sandbox.walls import Backend

Reason = Literal["", "timeout", "output", "server"]

_TRIES = 2
_UNSAFE = "if you trust the code: distill filter --unsafe, or unsafe = true in [verify.options]."


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of one run.

    Attributes:
        stdout: What it printed, up to the limit.
        stderr: The end of what it complained of.
        results: Of a function: by case, ``{"value": ...}`` or ``{"error": ...}``.
        exit_code: Negative for the signal that ended it.
        reason: Why it was ended from outside; empty when it ended by itself.
        seconds: Of the wall clock.
    """

    stdout: str
    stderr: str
    results: dict[int, dict[str, Any]]
    exit_code: int
    reason: Reason
    seconds: float


_LOST = Ran("", "the server of the sandbox was lost", {}, -1, "server", 0.0)


class Sandbox(Closing):
    """Runs Python code in children of fork servers, each closed in by the kernel.

    Attributes:
        backend: Who closes the file system; ``"none"`` where nothing is closed in.
    """

    def __init__(
        self,
        *,
        seconds: float = 10.0,
        memory_bytes: int = 1 << 30,
        output_bytes: int = 1 << 20,
        workers: int | None = None,
        backend: Backend | None = None,
        unsafe: bool = False,
    ) -> None:
        """Start a server, and try whether its walls hold.

        Args:
            seconds: What one run may take.
            memory_bytes: Address space of a run.
            output_bytes: What a run may print beside what is expected of it; more ends it.
            workers: Runs at once; ``None`` is one for each core.
            backend: Who closes the file system; ``None`` takes what is there.
            unsafe: Run the code even where it cannot be closed in.

        Raises:
            MissingDependencyError: If the walls do not hold here, and ``unsafe`` is not set.
        """
        self.backend: Backend = backend or walls.find_backend()
        self._seconds, self._output_bytes = seconds, output_bytes
        self._settings: dict[str, Any] = {
            "seconds": seconds,
            "memory_bytes": memory_bytes,
            "readable": _readable_folders(),
        }
        self._most = workers or os.cpu_count() or 1
        self._servers: set[ServerProcess] = set()
        self.forget()
        _sandboxes.add(self)
        fault = self._fault()
        if fault and unsafe:
            self.close()
            self.backend = "none"
            fault = ""
        if fault:
            self.close()
            raise MissingDependencyError(
                f"code cannot be run safely here: {fault}", hint=self._hint()
            )

    def __del__(self) -> None:
        if hasattr(self, "_servers"):
            self.close()

    def run(self, code: str, stdin: str = "", *, setup: str = "", expected_bytes: int = 0) -> Ran:
        """Run code as a program, after ``setup`` in the same module."""
        request = {"code": code, "setup": setup, "stdin": stdin, "function": ""}
        return self._ask({**request, "output_bytes": self._output_bytes + expected_bytes})

    def call(
        self,
        code: str,
        function: str,
        arguments: Sequence[tuple[int, Sequence[object]]],
        *,
        setup: str = "",
        expected_bytes: int = 0,
    ) -> Ran:
        """Run code, then call a function of it for each case: its number and its arguments."""
        wanted = [[place, list(each)] for place, each in arguments]
        request = {"code": code, "setup": setup, "stdin": "", "function": function}
        output_bytes = self._output_bytes + expected_bytes
        return self._ask({**request, "arguments": wanted, "output_bytes": output_bytes})

    def close(self) -> None:
        """End the servers; the next run starts new ones."""
        with self._lock:
            servers, self._servers = self._servers, set()
        for server in servers:
            server.end()

    def forget(self) -> None:
        """In a forked child: the servers are the parent's, and so may be the locks."""
        for server in self._servers:
            server.forget()
        self._lock = threading.Lock()
        self._servers = set()
        self._free: queue.LifoQueue[ServerProcess | None] = queue.LifoQueue()
        for _ in range(self._most):
            self._free.put(None)

    def server_pids(self) -> list[int]:
        """Process ids of the servers that are warm now."""
        with self._lock:
            return [server.pid for server in self._servers]

    def _ask(self, request: dict[str, Any]) -> Ran:
        free = self._free  # after a fork it is another one
        server = free.get()
        try:
            for _ in range(_TRIES):
                server = self._warm(server)
                nonce = secrets.token_hex(16)
                answer = server.ask({**request, "nonce": nonce}, self._seconds) if server else None
                if answer is not None:
                    results = read_results(answer.pop("result"), nonce)
                    return Ran(results=results, **answer)
                with self._lock:
                    if server not in self._servers:  # closed meanwhile: nobody waits for this
                        break
        finally:
            free.put(server)
        return _LOST

    def _warm(self, server: ServerProcess | None) -> ServerProcess | None:
        """The server if it is alive, else a new one; ``None`` if none can be started."""
        if server is not None and server.is_alive:
            return server
        if server is not None:
            with self._lock:
                self._servers.discard(server)
            server.end()
        settings = {
            **self._settings,
            "is_closed": self.backend != "none",
            "uses_landlock": self.backend == "landlock",
        }
        try:
            made = ServerProcess(walls.outer_command(self.backend), settings)
        except OSError:
            return None
        with self._lock:
            self._servers.add(made)
        return made

    def _fault(self) -> str:
        """What keeps code from being run safely here; empty if nothing does."""
        if self.backend == "none":
            return walls.missing()
        works = self.run(walls.CONTROL, walls.CONTROL_STDIN)
        if works.stdout != walls.CONTROL_STDOUT:
            found = works.stderr.strip() or f"it ended with {works.exit_code}"
            return f"the sandbox ({self.backend}) does not work here: {found}"
        for what, code in walls.probes(self.backend).items():
            if self.run(code).stdout.strip():
                return f"the sandbox ({self.backend}) does not hold here: code {what}"
        return ""

    def _hint(self) -> str:
        if sys.platform == "linux" and self.backend == "none":
            return f"On Debian: apt install bubblewrap; or, {_UNSAFE}"
        return f"Use Linux 5.13 or newer on x86_64 or aarch64; or, {_UNSAFE}"


def _readable_folders() -> list[str]:
    """What code needs of the file system: the standard library."""
    paths = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]
    return sorted({path for path in paths if path})


_sandboxes: "weakref.WeakSet[Sandbox]" = weakref.WeakSet()


def _forget_all() -> None:
    for sandbox in list(_sandboxes):
        sandbox.forget()


@atexit.register
def _close_all() -> None:
    for sandbox in list(_sandboxes):
        sandbox.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
