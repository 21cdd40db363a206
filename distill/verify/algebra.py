"""Computer algebra at arm's length: worker processes that can be killed and stay warm.

Works from threads, from ``asyncio`` (in a thread), and after a fork or a spawn: each process starts
its own workers when it first needs one. The main process never loads sympy.
"""

import atexit
import json
import os
import select
import subprocess
import sys
import threading
import time
from functools import cache

from distill.verify.algebra_worker import Reply

SECONDS = 1.0
MEMORY_BYTES = 1 << 30
_START_SECONDS = 120.0
_GRACE_SECONDS = 2.0
_RUN = "import json,sys; sys.path[:]=json.loads(sys.argv.pop(1)); from distill.verify.algebra_worker import keep; keep(float(sys.argv[1]), int(sys.argv[2]))"  # fmt: skip # noqa: E501


class AlgebraPool:
    """Up to ``workers`` processes; a request waits for a free one.

    Example:
        >>> with AlgebraPool(workers=1) as pool:
        ...     pool.ask("x+x", "2x"), pool.ask("x", "y")
        ('same', 'different')
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        seconds: float = SECONDS,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        """Start nothing yet.

        Args:
            workers: At most; ``None`` is one for each core.
            seconds: What one comparison may take before it is killed.
            memory_bytes: What it may allocate.
        """
        self._most = workers or os.cpu_count() or 1
        self._limits = (seconds, memory_bytes)
        self._changed = threading.Condition()
        self._idle: list[_Worker] = []
        self._count = 0

    def __enter__(self) -> "AlgebraPool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(self, left: str, right: str) -> Reply:
        """Compare two LaTeX texts; never raises and never takes much longer than the limit."""
        worker = self._borrow()
        reply: Reply | None = None
        try:
            reply = worker.ask(left, right)
        finally:
            self._return(worker, is_alive=reply is not None)
        return reply or "failed"

    def close(self) -> None:
        """End all workers; the next request starts new ones."""
        with self._changed:
            idle, self._idle = self._idle, []
            self._count -= len(idle)
        for worker in idle:
            worker.close()

    def forget(self) -> None:
        """In a forked child: the workers are the parent's."""
        for worker in self._idle:
            worker.disown()
        self._changed = threading.Condition()  # the parent may hold it
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
            return _Worker(*self._limits)
        except BaseException:
            self._return(None, is_alive=False)
            raise

    def _return(self, worker: "_Worker | None", *, is_alive: bool) -> None:
        with self._changed:
            if worker is not None and is_alive:
                self._idle.append(worker)
            else:
                self._count -= 1
            self._changed.notify()
        if worker is not None and not is_alive:
            worker.close()


class _Worker:
    """One keeper process and the pipes to it."""

    def __init__(self, seconds: float, memory_bytes: int) -> None:
        self._seconds = seconds
        self._is_ready = False
        # Run by import path and not by file: the file's folder must not come first on the path.
        self._process = subprocess.Popen(
            [sys.executable, "-c", _RUN, json.dumps(sys.path), str(seconds), str(memory_bytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,  # Ctrl-C in a terminal is not meant for it
        )

    def ask(self, left: str, right: str) -> Reply | None:
        """The reply; ``None`` if the worker is lost."""
        if not self._is_ready and self._line(_START_SECONDS) != "ready":
            return None
        self._is_ready = True
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps([left, right, self._seconds]).encode() + b"\n")
        except OSError:
            return None
        return self._line(self._seconds + _GRACE_SECONDS)  # type: ignore[return-value]

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
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _line(self, seconds: float) -> str | None:
        assert self._process.stdout is not None
        descriptor, line, deadline = self._process.stdout.fileno(), b"", time.monotonic() + seconds
        while not line.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                return None
            chunk = os.read(descriptor, 256)
            if not chunk:
                return None
            line += chunk
        return line.decode().strip()


@cache
def shared_pool() -> AlgebraPool:
    """The process's own pool."""
    pool = AlgebraPool()
    owner = os.getpid()
    atexit.register(lambda: pool.close() if os.getpid() == owner else None)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=pool.forget)
    return pool
