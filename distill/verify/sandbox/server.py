"""The fork server: reads requests on stdin, forks a child for each, and says what came of it.

It runs as a script of its own (``python -P -s -S server.py``) with a bare environment and no module
of this project but those it is given as text. A request and an answer are each a line of
JSON. One child lives at a time; when it is answered for, nothing of it is left. The server ends
when its stdin does, in the middle of a run too. ``child`` is what happens after the fork.
"""

import gc
import importlib
import json
import os
import platform
import select
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

_PIECE = 65_536
_LONGEST_ERROR = 2_000
_FIRST_PAUSE, _LONGEST_PAUSE = 5e-5, 5e-3
_PIPES = ("stdout", "stderr", "result")
_TRIES_TO_END_STRAYS = 1_000
# Solutions import these, and may not be able to read the files of a home folder that is closed.
_LOADED = (
    "__future__ array ast asyncio atexit base64 binascii bisect bz2 calendar cmath collections"
    " collections.abc concurrent.futures.thread contextlib copy csv ctypes dataclasses datetime"
    " decimal difflib encodings.ascii encodings.cp1252 encodings.latin_1 encodings.utf_16"
    " encodings.utf_16_be encodings.utf_16_le encodings.utf_32 encodings.utf_32_le"
    " encodings.utf_8_sig enum fcntl fractions functools gzip hashlib heapq hmac html inspect io"
    " itertools json keyword locale logging lzma math mmap numbers operator pickle platform"
    " posixpath pprint queue random re resource sched secrets select shutil signal socket"
    " statistics string struct subprocess tempfile textwrap threading time timeit traceback"
    " types typing unicodedata unittest uuid warnings weakref zlib"
)


class Watch:
    """The ends of a child's pipes that stay with the server."""

    def __init__(self, child: int, readers: dict[str, int], most: int, deadline: float) -> None:
        """Take who is watched, its pipes, what it may write to each, and until when."""
        self.reason = ""
        self._child = child
        self._names = {descriptor: name for name, descriptor in readers.items()}
        self._open = list(self._names)
        self._parts: dict[str, list[bytes]] = {name: [] for name in readers}
        self._sizes = dict.fromkeys(readers, 0)
        self._most = most
        self._deadline = deadline

    def to_the_end(self) -> int:
        """Read until the child ends, writes too much, or its time is over; its exit code."""
        while self._open and not self.reason:
            left = self._deadline - time.monotonic()
            ready = select.select([*self._open, 0], [], [], left)[0] if left > 0 else []
            if left <= 0:
                self.reason = "timeout"
            elif 0 in ready:  # nobody asks in the middle of a run: the client is gone
                end_process(self._child)
                os._exit(0)
            for descriptor in ready:
                self._read(descriptor)
        for descriptor in self._names:
            os.close(descriptor)
        return self._exit_code()

    def text(self, name: str) -> str:
        """What the child wrote to a pipe."""
        return b"".join(self._parts[name]).decode("utf-8", "replace")

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

    def _exit_code(self) -> int:
        """Wait for the end; a child that closed its pipes may go on for all that."""
        pause = _FIRST_PAUSE
        while not self.reason:
            pid, status = os.waitpid(self._child, os.WNOHANG)
            if pid:
                end_strays(self._child)
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > self._deadline:
                self.reason = "timeout"
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        return os.waitstatus_to_exitcode(end_process(self._child))


def end_process(child: int) -> int:
    """Kill a child and all that is its own; its status."""
    for end in (os.killpg, os.kill):
        with suppress(ProcessLookupError, PermissionError):
            end(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    end_strays(child)
    return status


def end_strays(group: int) -> None:
    """End what a child left behind: a closed in one nothing, any other perhaps a daemon."""
    for _ in range(_TRIES_TO_END_STRAYS):
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid:
            continue
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
        for stray in _children():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(stray, signal.SIGKILL)
        time.sleep(_FIRST_PAUSE)


def run(
    request: dict[str, Any], settings: dict[str, Any], modules: dict[str, ModuleType]
) -> dict[str, Any]:
    """Fork a child for one request and watch it to its end."""
    started = time.monotonic()
    server = os.getpid()
    stdin = _file_of(request.pop("stdin").encode("utf-8", "replace"))
    pipes = {name: os.pipe() for name in _PIPES}
    child = os.fork()
    if child == 0:
        writers = [writer for _, writer in pipes.values()]
        modules["child"].live(request, settings, modules, [stdin, *writers], server)
        os._exit(0)  # never reached
    os.close(stdin)
    for _, writer in pipes.values():
        os.close(writer)
    readers = {name: reader for name, (reader, _) in pipes.items()}
    watch = Watch(child, readers, request["output_bytes"], started + settings["seconds"])
    exit_code = watch.to_the_end()
    return {
        "stdout": watch.text("stdout"),
        "stderr": watch.text("stderr")[-_LONGEST_ERROR:],
        "result": watch.text("result"),
        "exit_code": exit_code,
        "reason": watch.reason,
        "seconds": time.monotonic() - started,
    }


def main() -> None:
    """Serve until stdin ends."""
    requests = _lines(0)
    settings = json.loads(next(requests))
    modules = {name: _module(name, text) for name, text in settings.pop("modules").items()}
    for name in _LOADED.split():
        with suppress(ImportError):
            importlib.import_module(name)
    modules["kernel"].adopt_orphans()
    settings["threads"] = modules["kernel"].thread_limit()
    if settings["is_closed"]:
        modules["calls"].filter_bytes(platform.machine(), 0)  # so that no child has to build it
    gc.collect()
    gc.freeze()  # the children share this memory as long as nobody writes to it
    for line in requests:
        _write(1, json.dumps(run(json.loads(line), settings, modules)).encode() + b"\n")
    os._exit(0)


def _module(name: str, text: str) -> ModuleType:
    module = ModuleType(name)
    exec(compile(text, f"{name}.py", "exec"), module.__dict__)
    return module


def _lines(descriptor: int) -> Iterator[bytes]:
    """Lines as they come; an end of the input during a run is seen by ``Watch``."""
    line = b""
    while piece := os.read(descriptor, _PIECE):
        first, *others = piece.split(b"\n")
        line += first
        for other in others:
            yield line
            line = other


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _file_of(data: bytes) -> int:
    """A descriptor to read it from, as from a file: some programs ask for its size first."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("stdin")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    _write(descriptor, data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _children() -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            parent = (entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1]
            if int(parent) == os.getpid():
                found.append(int(entry.name))
    return found


if __name__ == "__main__":
    main()
