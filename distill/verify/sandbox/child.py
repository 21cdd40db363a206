"""What a child of the fork server does: it closes itself in, runs the code, and ends.

The code finds what a program of its own would: it is ``__main__`` (a module, if a function of it is
called), its threads are waited for, its ``atexit`` functions run. This file is loaded by the fork
server, so it imports the standard library only.
"""

import atexit
import json
import os
import platform
import sys
import threading
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import Any, NoReturn, TextIO

_RESULTS = 3
_LONGEST_ERROR = 2_000
_LONGEST_FAULT = 200
_NO_WALLS = 99
_FILE = "solution.py"


def live(
    request: dict[str, Any],
    settings: dict[str, Any],
    modules: dict[str, ModuleType],
    descriptors: list[int],
    server: int,
) -> NoReturn:
    """Be the child from its first to its last moment.

    Args:
        request: ``code``, ``setup`` that is run before it, and ``function`` with ``arguments``.
        settings: Of the sandbox.
        modules: The walls, by name.
        descriptors: What becomes standard input, output, error and the pipe for results.
        server: Process id of the parent; without it, nobody waits for this run.
    """
    try:
        for place, descriptor in enumerate(_moved_away(descriptors)):
            os.dup2(descriptor, place)
        os.closerange(len(descriptors), 256)
        os.setsid()
        os.chdir("/")
        if settings["is_closed"]:
            _close_in(settings, modules)
        else:
            modules["kernel"].limit_use(settings["memory_bytes"], int(settings["seconds"]) + 1)
        if os.getppid() != server:
            os._exit(_NO_WALLS)
    except BaseException as error:  # noqa: BLE001 - whatever it was, nothing may be run
        os.write(2, f"the walls cannot be built: {error}".encode()[:_LONGEST_ERROR])
        os._exit(_NO_WALLS)
    try:
        os._exit(_run(request))
    finally:
        os._exit(1)


def _moved_away(descriptors: list[int]) -> list[int]:
    """The same files at numbers that the standard ones do not overwrite."""
    return [os.dup(each) if each <= len(descriptors) else each for each in descriptors]


def _close_in(settings: dict[str, Any], modules: dict[str, ModuleType]) -> None:
    modules["kernel"].close_in(
        calls=modules["calls"].filter_bytes(platform.machine(), os.getpid()),
        readable=settings["readable"],
        memory_bytes=settings["memory_bytes"],
        cpu_seconds=int(settings["seconds"]) + 1,
        threads=settings["threads"],
        uses_landlock=settings["uses_landlock"],
    )


def _run(request: dict[str, Any]) -> int:
    """Run the code as the main module; the exit code."""
    sys.stdin, sys.stdout, sys.stderr = _streams()
    own_stdout = sys.stdout
    sys.argv = [_FILE]
    # Only a program runs what stands under ``if __name__ == "__main__"``, which may read input.
    module = ModuleType("solution" if request["function"] else "__main__")
    sys.modules[module.__name__] = module
    code = _exit_code(lambda: _execute(request, module.__dict__))
    ends: tuple[Callable[[], object], ...] = (
        threading._shutdown,  # type: ignore[attr-defined]
        atexit._run_exitfuncs,
        lambda: [out.flush() for out in (sys.stdout, own_stdout) if out and not out.closed],
    )
    for end in ends:
        code = _exit_code(end) or code
    return code


def _streams() -> tuple[TextIO, TextIO, TextIO]:
    return (
        open(0, encoding="utf-8", closefd=False),
        open(1, "w", encoding="utf-8", closefd=False),
        open(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False),
    )


def _exit_code(work: Callable[[], object]) -> int:
    try:
        work()
    except SystemExit as stop:
        if stop.code is None or isinstance(stop.code, int):
            return (stop.code or 0) & 0xFF
        sys.stderr.write(str(stop.code)[:_LONGEST_ERROR])
        return 1
    except BaseException as error:  # noqa: BLE001 - any failure of the solution
        sys.stderr.write(_described(error)[:_LONGEST_ERROR])
        return 1
    return 0


def _described(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == _FILE]
    where = f" (line {lines[-1]})" if lines else ""
    return f"{type(error).__name__}: {error}{where}"


def _execute(request: dict[str, Any], space: dict[str, Any]) -> None:
    for part, name in ((request["setup"], "setup.py"), (request["code"], _FILE)):
        exec(compile(part, name, "exec", dont_inherit=True), space)
    if not request["function"]:
        return
    for place, arguments in request["arguments"]:
        _answer(request["nonce"], place, lambda: _function(space, request["function"]), arguments)


def _function(space: dict[str, Any], name: str) -> Callable[..., object]:
    """The function, or the method of a fresh ``Solution``."""
    function = space.get(name)
    if function is None and isinstance(space.get("Solution"), type):
        function = getattr(space["Solution"](), name, None)
    if not callable(function):
        raise NameError(f"there is no function {name}")  # noqa: TRY004 - what Python says too
    return function  # type: ignore[no-any-return]


def _answer(
    nonce: str, place: int, find: Callable[[], Callable[..., object]], arguments: list[object]
) -> None:
    """Call it for one case; what it returns goes out with the nonce."""
    try:
        found: dict[str, object] = {"value": find()(*arguments)}
    except Exception as error:  # noqa: BLE001 - one case says nothing about the others
        found = {"error": _described(error)[:_LONGEST_FAULT]}
    try:
        line = json.dumps({"nonce": nonce, "case": place, **found})
    except (TypeError, ValueError, RecursionError):
        kind = type(found.get("value")).__name__
        text = f"returned what JSON has no word for: {kind}"
        line = json.dumps({"nonce": nonce, "case": place, "error": text})
    data = memoryview(line.encode() + b"\n")
    while data:
        data = data[os.write(_RESULTS, data) :]
