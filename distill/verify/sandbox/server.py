"""The fork server: reads requests on stdin, forks a child for each, and says what came of it.

It runs as a script of its own (``python -I server.py``) with an empty environment and no module of
this project but ``kernel`` beside it, which is given as text. A request and an answer are each a
line of JSON. One child lives at a time; when it is answered for, nothing of it is left.
"""

# Loaded before the first fork: solutions import these, and may not read files of a closed home.
import bisect  # noqa: F401
import cmath  # noqa: F401
import collections  # noqa: F401
import copy  # noqa: F401
import datetime  # noqa: F401
import decimal  # noqa: F401
import fractions  # noqa: F401
import functools  # noqa: F401
import heapq  # noqa: F401
import io
import itertools  # noqa: F401
import json
import math  # noqa: F401
import operator  # noqa: F401
import os
import queue  # noqa: F401
import random  # noqa: F401
import re  # noqa: F401
import resource
import select
import signal
import socket  # noqa: F401
import statistics  # noqa: F401
import string  # noqa: F401
import sys
import textwrap  # noqa: F401
import threading  # noqa: F401
import time
import typing  # noqa: F401
from types import ModuleType
from typing import Any

_PIECE = 65_536
_LONGEST_ERROR = 2_000


def main() -> None:
    """Serve until stdin ends."""
    settings = json.loads(sys.stdin.readline())
    kernel = ModuleType("kernel")
    exec(compile(settings.pop("kernel"), "kernel.py", "exec"), kernel.__dict__)
    # What a killed child leaves behind comes to this process, and is ended here.
    kernel._libc.prctl(36, 1, 0, 0, 0)
    for line in sys.stdin:
        answer = _run(json.loads(line), settings, kernel)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _run(request: dict[str, Any], settings: dict[str, Any], kernel: ModuleType) -> dict[str, Any]:
    """Fork a child for one request and watch it to its end."""
    input_read, input_write = os.pipe()
    output_read, output_write = os.pipe()
    error_read, error_write = os.pipe()
    result_read, result_write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            for descriptor, place in ((input_read, 0), (output_write, 1), (error_write, 2)):
                os.dup2(descriptor, place)
            os.dup2(result_write, 3)
            os.closerange(4, 256)
            _be_the_child(request, settings, kernel)
        finally:
            os._exit(99)
    for descriptor in (input_read, output_write, error_write, result_write):
        os.close(descriptor)
    started = time.monotonic()
    readers = {"stdout": output_read, "stderr": error_read, "result": result_read}
    data = request["stdin"].encode("utf-8", "replace")
    pipes = _Pipes(data, input_write, readers, settings["output_bytes"])
    pipes.watch(started + settings["seconds"])
    pipes.close()
    watched: dict[str, Any] = {**pipes.texts(), "reason": pipes.reason}
    watched["stderr"] = watched["stderr"][-_LONGEST_ERROR:]
    _end(child, watched)
    watched["seconds"] = time.monotonic() - started
    return watched


class _Pipes:
    """The ends of a child's pipes that stay with the server."""

    def __init__(self, data: bytes, writer: int, readers: dict[str, int], most: int) -> None:
        self.reason = ""
        self._data = data
        self._writer = writer
        self._names = {descriptor: name for name, descriptor in readers.items()}
        self._open = list(self._names)
        self._parts: dict[str, list[bytes]] = {name: [] for name in readers}
        self._sizes = dict.fromkeys(readers, 0)
        self._most = most
        os.set_blocking(writer, False)

    def watch(self, deadline: float) -> None:
        """Feed and read until the child closes its ends, writes too much, or its time is over."""
        while self._open and not self.reason:
            left = deadline - time.monotonic()
            if left <= 0:
                self.reason = "timeout"
                break
            if not self._data:
                self._close_writer()
            writers = [self._writer] if self._writer >= 0 else []
            ready, writable, _ = select.select(self._open, writers, [], left)
            if writable:
                self._feed()
            for descriptor in ready:
                self._read(descriptor)

    def texts(self) -> dict[str, str]:
        """What the child wrote, by pipe."""
        return {
            name: b"".join(pieces).decode("utf-8", "replace")
            for name, pieces in self._parts.items()
        }

    def close(self) -> None:
        """Close what is left open."""
        self._close_writer()
        for descriptor in self._names:
            os.close(descriptor)

    def _feed(self) -> None:
        try:
            self._data = self._data[os.write(self._writer, self._data[:_PIECE]) :]
        except OSError:  # nobody reads any more
            self._data = b""

    def _read(self, descriptor: int) -> None:
        piece, name = os.read(descriptor, _PIECE), self._names[descriptor]
        if not piece:
            self._open.remove(descriptor)
            return
        self._sizes[name] += len(piece)
        if self._sizes[name] <= self._most:
            self._parts[name].append(piece)
        elif name != "stderr":
            self.reason = "output"

    def _close_writer(self) -> None:
        if self._writer >= 0:
            os.close(self._writer)
            self._writer = -1


def _end(child: int, watched: dict[str, Any]) -> None:
    """Make sure that nothing of the child is left, and say how it ended."""
    if watched["reason"]:
        os.kill(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    while True:  # whatever it left behind came to us
        try:
            orphan, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            break
        if not orphan:
            break
    watched["cpu_seconds"] = usage.ru_utime + usage.ru_stime
    watched["exit_code"] = os.waitstatus_to_exitcode(status)


def _be_the_child(request: dict[str, Any], settings: dict[str, Any], kernel: ModuleType) -> None:
    """Close in, run the code, and never return."""
    os.setsid()
    os.chdir("/")
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0)), encoding="utf-8")
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w")), encoding="utf-8")
    sys.stderr = io.TextIOWrapper(io.FileIO(2, "w"), encoding="utf-8", write_through=True)
    resource.setrlimit(resource.RLIMIT_STACK, (1 << 26, 1 << 26))
    if settings["is_closed"]:
        kernel.close_in(
            readable=settings["readable"],
            memory_bytes=settings["memory_bytes"],
            cpu_seconds=int(settings["seconds"]) + 1,
            uses_landlock=settings["uses_landlock"],
        )
    code = 0
    space: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
    try:
        exec(compile(request["code"], "solution.py", "exec"), space)
        if request["function"]:
            _call(space, request)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 0
    except BaseException as error:  # noqa: BLE001 - any failure of the solution
        sys.stderr.write(f"{type(error).__name__}: {error}"[:_LONGEST_ERROR])
        code = 1
    try:
        sys.stdout.flush()
    finally:
        os._exit(code)


def _call(space: dict[str, Any], request: dict[str, Any]) -> None:
    """Call the solution's function for each case; what it returns goes out with the nonce."""
    function = space.get(request["function"])
    if function is None and isinstance(space.get("Solution"), type):
        function = getattr(space["Solution"](), request["function"], None)
    if function is None:
        raise NameError(f"there is no function {request['function']}")
    for place, arguments in enumerate(request["arguments"]):
        try:
            found = {"value": function(*arguments)}
        except Exception as error:  # noqa: BLE001 - one case says nothing about the others
            found = {"error": f"{type(error).__name__}: {error}"[:200]}
        try:
            line = json.dumps({"nonce": request["nonce"], "case": place, **found})
        except (TypeError, ValueError):
            text = f"returned what JSON has no word for: {type(found.get('value')).__name__}"
            line = json.dumps({"nonce": request["nonce"], "case": place, "error": text})
        os.write(3, line.encode() + b"\n")


if __name__ == "__main__":
    main()
