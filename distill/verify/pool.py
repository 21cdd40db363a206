"""Worker processes that can be killed from outside and stay warm in between.

Works from threads, from ``asyncio`` (in a thread), and after a fork or a spawn: each process starts
its own workers when it first needs one. ``distill.verify.keeper`` is the other side.
"""

import atexit
import json
import os
import subprocess
import sys
import threading
import weakref
from dataclasses import dataclass
from typing import Any, Literal

from distill.verify.keeper import START_SECONDS, WAIT_FACTOR, read_line, write_line

_GRACE_SECONDS = 2.0
_RUN = (
    "import json, sys; settings = json.loads(sys.argv[1]); sys.path[:] = settings['path'];"
    " from distill.verify.keeper import keep; keep(settings)"
)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a request.

    Attributes:
        status: ``"done"``; ``"timeout"`` and was killed; ``"lost"`` when the work ended its own
            process, for instance for memory; ``"broken"`` when there is no work function.
        value: What the work function returned, or what is broken.
    """

    status: Literal["done", "timeout", "lost", "broken"]
    value: Any = None


class WorkerPool:
    """Up to ``workers`` processes; a request waits for a free one."""

    def __init__(
        self,
        load: str,
        argument: object = None,
        *,
        seconds: float,
        memory_bytes: int = 0,
        workers: int | None = None,
        is_loaded_first: bool = True,
    ) -> None:
        """Start nothing yet.

        Args:
            load: ``module:function`` that makes the work function, in the worker.
            argument: What ``load`` is called with; JSON.
            seconds: Of processor time that one request may take before it is killed; one that
                waits may take ``WAIT_FACTOR`` times as long.
            memory_bytes: What it may allocate; 0 for no limit.
            workers: At most; ``None`` is one for each core.
            is_loaded_first: Load once and fork, rather than again after each kill. Not for modules
                that start threads when imported.
        """
        self._settings = {
            "load": load,
            "argument": argument,
            "is_loaded_first": is_loaded_first,
            "seconds": seconds,
            "memory_bytes": memory_bytes,
        }
        self._most = workers or os.cpu_count() or 1
        self._changed = threading.Condition()
        self._idle: list[_Worker] = []
        self._count = 0
        _pools.add(self)

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_idle"):
            self.close()

    def ask(self, *request: object) -> Reply:
        """Call the work function; takes little longer than the limits, and never raises for it."""
        worker = self._borrow()
        reply = Reply("lost")
        try:
            reply = worker.ask(request)
        finally:
            self._give_back(worker, is_alive=worker.is_alive)
        return reply

    def close(self) -> None:
        """End all idle workers; the next request starts new ones."""
        with self._changed:
            idle, self._idle = self._idle, []
            self._count -= len(idle)
        for worker in idle:
            worker.close()

    def forget(self) -> None:
        """In a forked child: the workers are the parent's, and so may be the lock."""
        for worker in self._idle:
            worker.disown()
        self._changed = threading.Condition()
        self._idle = []
        self._count = 0

    def _borrow(self) -> "_Worker":
        with self._changed:
            while not self._idle and self._count >= self._most:
                self._changed.wait()
            if self._idle:
                return self._idle.pop()
            self._count += 1
        try:
            return _Worker({**self._settings, "path": sys.path})
        except BaseException:
            with self._changed:
                self._count -= 1
                self._changed.notify()
            raise

    def _give_back(self, worker: "_Worker", *, is_alive: bool) -> None:
        with self._changed:
            if is_alive:
                self._idle.append(worker)
            else:
                self._count -= 1
            self._changed.notify()
        if not is_alive:
            worker.close()


class _Worker:
    """One keeper process and the pipes to it."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._seconds: float = settings["seconds"]
        self._is_ready = False
        self.is_alive = True
        # Run by import path and not by file: the file's folder must not come first on the path.
        self._process = subprocess.Popen(
            [sys.executable, "-c", _RUN, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,  # Ctrl-C in a terminal is not meant for it
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests = self._process.stdin
        self._replies = self._process.stdout

    def ask(self, request: tuple[object, ...]) -> Reply:
        self.is_alive = False  # until it has replied
        if not self._is_ready:
            first = self._reply(START_SECONDS)
            if first.get("status") != "ready":
                return Reply("broken", first.get("value", "it did not start"))
            self._is_ready = True
        try:
            write_line(self._requests.fileno(), request)
        except OSError:
            return Reply("lost")
        # A killed worker may have to load anew before it replies.
        reply = self._reply(self._seconds * WAIT_FACTOR + _GRACE_SECONDS + START_SECONDS)
        status = reply.get("status", "lost")
        self.is_alive = bool(reply) and status != "broken"
        return Reply(status, reply.get("value"))

    def close(self) -> None:
        """End the process: it goes when its input ends, else it is killed."""
        self.disown()
        try:
            self._process.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def disown(self) -> None:
        """Close the pipes, without a word to the process."""
        self._requests.close()
        self._replies.close()

    def _reply(self, seconds: float) -> dict[str, Any]:
        line = read_line(self._replies.fileno(), seconds)
        return json.loads(line) if line else {}


_pools: "weakref.WeakSet[WorkerPool]" = weakref.WeakSet()


def _forget_all() -> None:
    for pool in list(_pools):
        pool.forget()


@atexit.register
def _close_all() -> None:
    for pool in list(_pools):
        pool.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
