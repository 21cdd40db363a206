"""``Sandbox``: asks fork servers to run code, and refuses to work where the walls do not hold."""

import json
import os
import queue
import secrets
import select
import shutil
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from distill.closing import Closing
from distill.errors import MissingDependencyError
from distill.verify.sandbox.kernel import has_seccomp, landlock_abi

Backend = Literal["landlock", "bubblewrap", "none"]
Reason = Literal["", "timeout", "output", "server"]

_SERVER = Path(__file__).with_name("server.py")
_KERNEL = Path(__file__).with_name("kernel.py")
_GRACE_SECONDS = 2.0

_LISTS = "lists a folder"
# Each must fail inside; what it prints says that it did not.
_PROBES = {
    "reads a file": "print(open('/etc/passwd').read()[:20])",
    _LISTS: "import os; print(os.listdir('/'))",
    "writes a file": "import os; open('/tmp/distill-probe', 'w').write('x'); print('written')",
    "opens a socket": "import socket; socket.socket(); print('opened')",
    "starts a process": "import os; print('forked') if os.fork() else os._exit(0)",
    "starts a program": "import os; os.execv('/bin/echo', ['echo', 'started'])",
    "signals its parent": "import os; os.kill(os.getppid(), 0); print('signalled')",
    "sees a secret": "import os; print([name for name in os.environ if 'PROBE' in name] or '')",
}


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


class Sandbox(Closing):
    """Runs Python code that nobody has read."""

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
            output_bytes: What a run may print; more ends it.
            workers: Runs at once; ``None`` is one for each core.
            backend: Who closes the file system; ``None`` takes what is there.
            unsafe: Run the code even where it cannot be closed in.

        Raises:
            MissingDependencyError: If the walls do not hold here, and ``unsafe`` is not set.
        """
        self.backend = backend or find_backend()
        self._settings = {
            "seconds": seconds,
            "memory_bytes": memory_bytes,
            "output_bytes": output_bytes,
            "readable": readable_folders(),
            "uses_landlock": self.backend == "landlock",
            "is_closed": self.backend != "none",
        }
        self._seconds = seconds
        self._free: queue.LifoQueue[_Server | None] = queue.LifoQueue()
        self._servers: list[_Server] = []
        self._lock = threading.Lock()
        for _ in range(workers or len(os.sched_getaffinity(0))):
            self._free.put(None)
        if not unsafe:
            self._refuse_open_walls()

    def run(self, code: str, stdin: str = "") -> Ran:
        """Run code as a program."""
        return self._ask({"code": code, "stdin": stdin, "function": "", "arguments": []})

    def call(self, code: str, function: str, arguments: Sequence[Sequence[object]]) -> Ran:
        """Run code, then call a function of it once for each list of arguments."""
        wanted = [list(each) for each in arguments]
        return self._ask({"code": code, "stdin": "", "function": function, "arguments": wanted})

    def close(self) -> None:
        """End the servers; a second call does nothing."""
        with self._lock:
            servers, self._servers = self._servers, []
        for server in servers:
            server.end()

    def _ask(self, request: dict[str, Any]) -> Ran:
        server = self._free.get()
        try:
            if server is None or not server.is_alive:
                server = _Server(self.backend, self._settings)
                with self._lock:
                    self._servers.append(server)
            nonce = secrets.token_hex(16)
            answer = server.ask({**request, "nonce": nonce}, self._seconds + _GRACE_SECONDS)
        finally:
            self._free.put(server)
        if answer is None:
            return Ran("", "the server of the sandbox was lost", {}, -1, "server", 0.0)
        return Ran(
            stdout=answer["stdout"],
            stderr=answer["stderr"],
            results=_results(answer["result"], nonce),
            exit_code=answer["exit_code"],
            reason=answer["reason"],
            seconds=answer["seconds"],
        )

    def _probes(self) -> dict[str, str]:
        """Attacks to try; bubblewrap shows an all but empty root, and no more than that."""
        is_landlock = self.backend == "landlock"
        return {what: _PROBES[what] for what in _PROBES if is_landlock or what != _LISTS}

    def _refuse_open_walls(self) -> None:
        if self.backend == "none":
            raise MissingDependencyError(
                "code cannot be run safely here: this system has neither Landlock (Linux 5.13 or"
                " newer) nor bubblewrap",
                hint="On Debian: apt install bubblewrap; or, if you trust the code, unsafe = true"
                " in [verify.options].",
            )
        os.environ["DISTILL_PROBE"] = "secret"
        try:
            held = {what: self.run(code) for what, code in self._probes().items()}
            works = self.run("print(6 * 7)")
        finally:
            del os.environ["DISTILL_PROBE"]
        open_walls = [what for what, ran in held.items() if ran.stdout.strip()]
        if open_walls or works.stdout != "42\n":
            problem = f"code {', '.join(open_walls)}" if open_walls else f"{works.stderr} {works}"
            self.close()
            raise MissingDependencyError(
                f"the sandbox ({self.backend}) does not hold here: {problem}",
                hint="Use another machine, or, if you trust the code, unsafe = true in"
                " [verify.options].",
            )


def find_backend() -> Backend:
    """Who can close the file system here."""
    if not has_seccomp():
        return "none"
    if landlock_abi():
        return "landlock"
    return "bubblewrap" if shutil.which("bwrap") else "none"


def readable_folders() -> list[str]:
    """What code needs of the file system: the standard library, not what was installed to it."""
    paths = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]
    return sorted({path for path in paths if path})


class _Server:
    """One fork server."""

    def __init__(self, backend: Backend, settings: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            [*_walls(backend), sys.executable, "-I", "-S", str(_SERVER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"},
            cwd="/",
            start_new_session=True,
        )
        self._send({**settings, "kernel": _KERNEL.read_text(encoding="utf-8")})

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any] | None:
        """The answer; ``None`` if none came in time or the server was lost."""
        assert self._process.stdout is not None
        try:
            self._send(request)
            ready, _, _ = select.select([self._process.stdout], [], [], seconds)
            line = self._process.stdout.readline() if ready else b""
            answer: dict[str, Any] | None = json.loads(line)
        except (OSError, ValueError):
            self.end()
            return None
        return answer

    def end(self) -> None:
        """Kill the server; its child dies with it."""
        with suppress(OSError):
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()

    def _send(self, value: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(value).encode() + b"\n")
        self._process.stdin.flush()


def _walls(backend: Backend) -> list[str]:
    """What closes the server in, where Landlock does not close in its children."""
    if backend != "bubblewrap":
        return []
    shown = sorted({sys.prefix, sys.base_prefix, str(_SERVER.parent)})
    binds = [part for folder in shown for part in ("--ro-bind", folder, folder)]
    return [
        "bwrap",
        *("--unshare-all", "--uid", "65534", "--gid", "65534"),
        *("--die-with-parent", "--new-session"),
        *("--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib"),
        *("--symlink", "usr/lib64", "/lib64", "--symlink", "usr/bin", "/bin"),
        *binds,
        *("--dev-bind", "/dev/null", "/dev/null"),
        *("--dev-bind", "/dev/urandom", "/dev/urandom"),
        *("--remount-ro", "/"),
    ]


def _results(text: str, nonce: str) -> dict[int, dict[str, Any]]:
    """Results that carry the nonce; whatever else was written there counts for nothing."""
    found: dict[int, dict[str, Any]] = {}
    for line in text.splitlines():
        with suppress(ValueError, TypeError, KeyError):
            result = json.loads(line)
            if result.pop("nonce") == nonce:
                found[int(result.pop("case"))] = result
    return found
