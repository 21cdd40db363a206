r"""The process that holds computer algebra: asks Math-Verify, and kills what takes too long.

Two processes. The *keeper* loads Math-Verify once and forks a *calculator* that does the work under
a memory limit. When an answer is late, the keeper kills the calculator and forks the next one,
which takes milliseconds. Run by ``distill.verify.algebra``; requests and replies are JSON lines.
"""

import contextlib
import gc
import json
import logging
import os
import resource
import select
import signal
import sys
import warnings
from typing import Any, Literal

Reply = Literal[
    "same", "different", "left unread", "right unread", "both unread", "timeout", "failed"
]

_LONGEST_LINE = 1 << 20
_PATIENCE = 2


def keep(seconds: float, memory_bytes: int) -> None:
    """Answer requests from standard input until it ends."""
    requests, replies = os.dup(0), os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    _load()
    calculator = Calculator(memory_bytes, (requests, replies))
    os.write(replies, b"ready\n")
    with os.fdopen(requests, "rb") as lines:
        for line in lines:
            reply = calculator.ask(line, seconds)
            os.write(replies, reply.encode() + b"\n")
    calculator.kill()


class Calculator:
    """A forked child that compares pairs, and dies with the pair that is too much for it."""

    def __init__(self, memory_bytes: int, closed_in_child: tuple[int, ...]) -> None:
        """Fork the first child; ``closed_in_child`` are the keeper's own pipes."""
        self._memory_bytes = memory_bytes
        self._closed_in_child = closed_in_child
        self._fork()

    def ask(self, line: bytes, seconds: float) -> Reply:
        """Reply to one request, within the time limit."""
        try:
            os.write(self._requests, line)
            ready, _, _ = select.select([self._replies], [], [], seconds)
            reply = os.read(self._replies, 64).decode().strip() if ready else "timeout"
        except OSError:
            reply = ""
        if reply in ("", "timeout"):
            self.kill()
            self._fork()
        return reply or "failed"  # type: ignore[return-value]

    def kill(self) -> None:
        """End the child, whatever it does."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._requests)
        os.close(self._replies)

    def _fork(self) -> None:
        requests, self._requests = os.pipe()
        self._replies, replies = os.pipe()
        self._pid = os.fork()
        if self._pid:
            os.close(requests)
            os.close(replies)
            return
        status = 1
        try:
            for descriptor in (self._requests, self._replies, *self._closed_in_child):
                os.close(descriptor)
            _calculate(requests, replies, self._memory_bytes)
            status = 0
        finally:
            os._exit(status)


def _load() -> None:
    """Load and warm up once; every child starts with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.disable()
    warnings.simplefilter("ignore")
    compare_texts(r"\frac{x+1}{2}", r"\frac{x}{2}+\frac{1}{2}")
    gc.collect()
    gc.freeze()


def _calculate(requests: int, replies: int, memory_bytes: int) -> None:
    _limit_memory(memory_bytes)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with os.fdopen(requests, "rb") as lines:
        for line in lines:
            left, right, seconds = json.loads(line)
            # Ends an orphan as well: nobody is left to kill it.
            signal.alarm(int(seconds) + _PATIENCE)
            reply = compare_texts(left, right)
            signal.alarm(0)
            os.write(replies, reply.encode() + b"\n")


def _limit_memory(memory_bytes: int) -> None:
    """So much more address space than now; where the system has no such limit, none."""
    with contextlib.suppress(ValueError, OSError):
        used = _address_space()
        resource.setrlimit(resource.RLIMIT_AS, (used + memory_bytes, used + memory_bytes))


def _address_space() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123 - one read
        return int(statm.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def compare_texts(left: str, right: str) -> Reply:
    """What Math-Verify finds; the same only if it says so in both directions."""
    from math_verify import verify  # type: ignore[import-untyped]

    try:
        parsed = [_parse(text) for text in (left, right)]
        if not all(parsed):
            sides = ("left", "right", "both")
            return f"{sides[2 if not any(parsed) else bool(parsed[0])]} unread"  # type: ignore[return-value]
        is_same = all(
            verify(
                one,
                other,
                float_rounding=10,
                timeout_seconds=None,
                allow_set_relation_comp=True,
                raise_on_error=True,
            )
            for one, other in (parsed, parsed[::-1])
        )
    except (Exception, RecursionError):  # noqa: BLE001 - whatever computer algebra raises
        return "failed"
    return "same" if is_same else "different"


def _parse(text: str) -> list[Any]:
    from math_verify import LatexExtractionConfig, parse

    return parse(  # type: ignore[no-any-return]
        f"${text}$",
        [LatexExtractionConfig(boxed_match_priority=-1)],
        fallback_mode="no_fallback",
        extraction_mode="first_match",
        parsing_timeout=None,
    )


if __name__ == "__main__":
    keep(float(sys.argv[1]), int(sys.argv[2]))
