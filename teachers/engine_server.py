"""``Watcher``: starts one server, waits until it answers, and starts it again when it must be.

A server must be started again when its process ends, or when it has calls and sends no token, which
the client sees (``teachers.fleet``). One that was joined and not started is only waited for.
"""

import shlex
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from distill.errors import TeacherError
from engine.server_log import keep_log, without_secrets
from engine.server_process import ServerProcess, last_lines
from teachers.fleet import Fleet, Server

_LOOK_SECONDS: Final = 0.2
_VISIT_SECONDS: Final = 2.0
_PAUSE_SECONDS: Final = 1.0
_NOT_YET: Final = (502, 503, 504)
"""What servers and those in front of them say while a model is loaded."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How a server is started; without a command it is joined.

    Attributes:
        command: Program and arguments.
        environment: Set beside what this process has.
        log: File that its output goes to.
        kept: Where that is kept, without secrets, if the server is given up.
        ready_seconds: How long it may take until it answers.
        restarts: How often it is started again without a token in between.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    kept: Path
    ready_seconds: float
    restarts: int

    @property
    def shown(self) -> str:
        """The command line, as one would type it."""
        given = [f"{name}={shlex.quote(value)}" for name, value in self.environment.items()]
        return self.clean(" ".join([*given, shlex.join(self.command)]))

    def clean(self, text: str) -> str:
        """A text without the secrets that the server was given."""
        return without_secrets(text, self.command, self.environment)

    def keep_log(self) -> None:
        """Have the log outlive the server."""
        keep_log(self.log, self.kept, self.command, self.environment)


@dataclass(slots=True)
class Watcher:
    """Looks after one server in a thread of its own, from `start` to `stop`.

    Attributes:
        server: As the client sees it.
        launch: How it is started.
        fleet: All servers; told when this one is given up.
        on_notice: Called with what the user should know.
    """

    server: Server
    launch: Launch
    fleet: Fleet
    on_notice: Callable[[str], None]
    _process: ServerProcess | None = None
    _is_over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread = field(init=False)

    def start(self) -> None:
        """Begin, and return at once."""
        self._thread = threading.Thread(target=self._look_after, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the server if it was started, and the thread."""
        self._is_over.set()
        self._thread.join()

    def _look_after(self) -> None:
        try:
            self._keep_up()
        finally:
            self.server.is_ready = False
            self._end()

    def _keep_up(self) -> None:
        """Let one life follow the other, until it is over or in vain."""
        in_vain, was_ever_ready = 0, False
        while not self._is_over.is_set():
            began = time.monotonic()
            trouble = self._start() or self._wait_ready()
            if not trouble and not self._is_over.is_set():
                was_ever_ready = True
                self.server.come_up(time.monotonic())
                trouble = self._watch()
                self.server.is_ready = False
            if self._is_over.is_set():
                return
            self._end()
            in_vain = 1 if self.server.tokens_at >= began else in_vain + 1
            if in_vain > self.launch.restarts or not was_ever_ready:
                self.fleet.give_up(self.server, self._failure(trouble, in_vain))
                return
            self.server.restarts += 1
            does = "is started again" if self.launch.command else "is asked again when it answers"
            self.on_notice(f"{self.server.name} {trouble}; it {does}")
            self._is_over.wait(_PAUSE_SECONDS)

    def _start(self) -> str:
        """Start the process, if there is a command; what is wrong, or nothing."""
        if not self.launch.command:
            return ""
        launch = self.launch
        self._process = ServerProcess(launch.command, launch.environment, launch.log)
        return ""

    def _wait_ready(self) -> str:
        """Wait until it lists its models; what went wrong, or nothing."""
        deadline = time.monotonic() + self.launch.ready_seconds
        while not self._is_over.wait(_LOOK_SECONDS):
            if self._has_ended():
                return f"ended with exit code {self._code()} before it was ready"
            if self._answers():
                return ""
            if time.monotonic() > deadline:
                return f"was not ready within {self.launch.ready_seconds:g} s"
        return ""

    def _watch(self) -> str:
        """Until something is wrong with a server that was ready; says what."""
        visit = time.monotonic() + _VISIT_SECONDS
        while not self._is_over.wait(_LOOK_SECONDS):
            if self._has_ended():
                return f"ended with exit code {self._code()}"
            if self.server.has_stalled:
                return f"sent no token for {self.fleet.stall_seconds:g} s"
            if not self.launch.command and time.monotonic() > visit:
                if self._is_refused():
                    return "cannot be reached"
                visit = time.monotonic() + _VISIT_SECONDS
        return ""

    def _has_ended(self) -> bool:
        return self._code() is not None

    def _code(self) -> int | None:
        return None if self._process is None else self._process.code

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.server.base_url}/models", timeout=5):
                return True
        except urllib.error.HTTPError as error:
            return error.code not in _NOT_YET  # it wants a key, or has no list: it is there
        except (OSError, ValueError):  # not there yet, or it breaks off
            return False

    def _is_refused(self) -> bool:
        """Whether nobody listens; a server that is busy may be slow to say anything."""
        try:
            with urllib.request.urlopen(f"{self.server.base_url}/models", timeout=5):
                return False
        except urllib.error.URLError as error:
            return isinstance(error.reason, ConnectionRefusedError)
        except (OSError, ValueError):
            return False

    def _end(self) -> None:
        """Close the keeper's input, which ends the server, and wait for that."""
        process, self._process = self._process, None
        if process is not None:
            process.end(is_hopeless=self.server.has_stalled)

    def _failure(self, trouble: str, in_vain: int) -> TeacherError:
        times = f" ({in_vain} times in a row)" if in_vain > 1 else ""
        problem = f"{self.server.name} {trouble}{times}"
        if not self.launch.command:
            hint = (
                f"Is it running at {self.server.base_url}? Start it again, then the same command."
            )
            return TeacherError(problem, hint=hint)
        self.launch.keep_log()
        if lines := last_lines(self.launch.kept):
            problem += "; its last words:\n" + "\n".join(f"  | {line}" for line in lines)
        hint = f"Try it by hand:\n{self.launch.shown}\nIts whole log: {self.launch.kept}"
        return TeacherError(problem, hint=hint)
