"""The process behind a pool: runs a function, and kills what takes too long or too much memory.

Two processes. The *keeper* holds the pipes to the main process; it forks a *calculator* that does
the work. When a reply is late, the calculator ends and the keeper forks the next one. What was
loaded before the fork costs nothing then. Requests and replies are JSON lines. Run by
``distill.verify.pool``; nothing here is imported by the main process but names.

The limit counts the calculator's own processor time, so a verdict does not depend on what else the
machine does: the kernel ends it by SIGPROF. Work that waits instead ends after ``WAIT_FACTOR``
times as long by the clock.
"""

import contextlib
import gc
import importlib
import json
import os
import resource
import select
import signal
import time
from collections.abc import Callable
from typing import Any

START_SECONDS = 120.0
WAIT_FACTOR = 5
_PATIENCE = 2
_CHUNK = 1 << 16

Work = Callable[..., Any]


def keep(settings: dict[str, Any]) -> None:
    """Answer requests from standard input until it ends.

    Args:
        settings: ``load`` (``module:function`` that makes the work function), its ``argument``,
            ``is_loaded_first`` (before the fork), ``seconds`` and ``memory_bytes``.
    """
    requests, replies = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        calculator = _Calculator(settings, (requests, replies))
    except _LoadError as error:
        write_line(replies, {"status": "broken", "value": str(error)})
        return
    write_line(replies, {"status": "ready"})
    with os.fdopen(requests, "rb") as lines:
        for line in lines:
            try:
                write_line(replies, calculator.ask(line))
            except _LoadError as error:
                write_line(replies, {"status": "broken", "value": str(error)})
                return
    calculator.kill()


def write_line(descriptor: int, record: object) -> None:
    """Write one JSON line whole, however small the pipe is."""
    data = memoryview(json.dumps(record).encode() + b"\n")
    while data:
        data = data[os.write(descriptor, data) :]


def read_line(descriptor: int, seconds: float) -> bytes | None:
    """One line, ``b""`` at the end of the input, or ``None`` when the time is over."""
    deadline, line = time.monotonic() + seconds, b""
    while not line.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([descriptor], [], [], left)[0]:
            return None
        chunk = os.read(descriptor, _CHUNK)
        if not chunk:
            return b""
        line += chunk
    return line


class _LoadError(Exception):
    """The work function cannot be had; nothing can be asked."""


class _Calculator:
    """A forked child that does the work, and dies with what is too much for it."""

    def __init__(self, settings: dict[str, Any], closed_in_child: tuple[int, ...]) -> None:
        self._settings = settings
        self._closed_in_child = closed_in_child
        self._work: Work | None = None
        if settings["is_loaded_first"]:
            self._work = _load(settings)
            gc.collect()
            gc.freeze()
        self._fork()

    def ask(self, line: bytes) -> dict[str, Any]:
        """Reply to one request, within the time limit."""
        data = memoryview(line)
        reply: bytes | None = b""
        with contextlib.suppress(OSError):
            while data:
                data = data[os.write(self._requests, data) :]
            reply = read_line(self._replies, self._settings["seconds"] * WAIT_FACTOR)
        if reply:
            return json.loads(reply)  # type: ignore[no-any-return]
        is_late = self.kill() == signal.SIGPROF or reply is None
        self._fork()
        return {"status": "timeout" if is_late else "lost"}

    def kill(self) -> int:
        """End the child, whatever it does; return the signal that it died of, 0 for none."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)  # changes nothing for one that has ended
        _, status = os.waitpid(self._pid, 0)
        os.close(self._requests)
        os.close(self._replies)
        return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0

    def _fork(self) -> None:
        requests, self._requests = os.pipe()
        self._replies, replies = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            self._be_child(requests, replies)
        os.close(requests)
        os.close(replies)
        line = read_line(self._replies, START_SECONDS)
        first = json.loads(line) if line else {"value": "it did not start"}
        if first.get("status") != "ready":
            raise _LoadError(first["value"])

    def _be_child(self, requests: int, replies: int) -> None:
        try:
            for descriptor in (self._requests, self._replies, *self._closed_in_child):
                os.close(descriptor)
            _calculate(requests, replies, self._settings, self._work)
        finally:
            os._exit(0)


def _load(settings: dict[str, Any]) -> Work:
    module, _, name = settings["load"].partition(":")
    try:
        return getattr(importlib.import_module(module), name)(settings["argument"])  # type: ignore[no-any-return]
    except BaseException as error:  # noqa: BLE001 - a user's module may do anything, such as exit
        raise _LoadError(str(error) or type(error).__name__) from None


def _calculate(requests: int, replies: int, settings: dict[str, Any], work: Work | None) -> None:
    try:
        work = work or _load(settings)
    except _LoadError as error:
        write_line(replies, {"status": "broken", "value": str(error)})
        return
    _limit_memory(settings["memory_bytes"])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    write_line(replies, {"status": "ready"})
    with os.fdopen(requests, "rb") as lines:
        for line in lines:
            signal.setitimer(signal.ITIMER_PROF, settings["seconds"])
            # Ends an orphan that waits: nobody is left to kill it.
            signal.alarm(int(settings["seconds"] * WAIT_FACTOR) + _PATIENCE)
            value = work(*json.loads(line))
            signal.alarm(0)
            signal.setitimer(signal.ITIMER_PROF, 0)
            write_line(replies, {"status": "done", "value": value})


def _limit_memory(memory_bytes: int) -> None:
    """So much more address space than now; none where the system has no such limit, or for 0."""
    if not memory_bytes:
        return
    with contextlib.suppress(ValueError, OSError):
        with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123 - one read
            used = int(statm.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + memory_bytes, used + memory_bytes))
