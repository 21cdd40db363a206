"""``CustomVerifier``: a user's own Python function as a verifier.

It is named ``module:function`` or ``file.py:function``, is called with a ``Prompt`` and a
``Completion``, and returns ``True``, ``False``, ``None`` for unknown, a number in [0, 1], or any of
these with a reason: ``(False, "no units")``. It runs in a process of its own: one that raises,
hangs or exits makes the verdict unknown, with the place, and the run goes on.
"""

import difflib
import importlib
import importlib.util
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

from distill.errors import RecipeError
from distill.types import Completion, Prompt, Usage, Verdict
from distill.verify.keeper import WAIT_FACTOR
from distill.verify.pool import WorkerPool

_EXPLAINED = "Name it 'module:function' or 'file.py:function'."
_SHOWN_LENGTH = 200


class CustomVerifier:
    """Calls a user's function, with a time limit.

    Example:
        >>> verifier = CustomVerifier("distill.verify.custom:has_answer")
        >>> verdict = verifier.verify(Prompt("p", "?"), Completion("42"))
        >>> verdict.is_accepted, verdict.reason
        (True, 'there is an answer')
    """

    name = "custom/1"

    def __init__(
        self,
        function: str,
        *,
        seconds: float = 5.0,
        workers: int | None = None,
        folder: Path | None = None,
    ) -> None:
        """Find the function, in its own process.

        Args:
            function: Where it is, ``module:function`` or ``file.py:function``.
            seconds: Of processor time that one call may take; one that waits may take
                ``WAIT_FACTOR`` times as long.
            workers: Processes at most; ``None`` is one for each core.
            folder: Where modules are looked for first; ``None`` is the current folder.

        Raises:
            RecipeError: If it is not there or its module cannot be imported.
        """
        module, colon, name = function.rpartition(":")
        if not (colon and module and name):
            raise RecipeError(f"verifier {function!r}: no function is named", hint=_EXPLAINED)
        self.name = f"{CustomVerifier.name} {function}"
        self._seconds = seconds
        self._pool = WorkerPool(
            "distill.verify.custom:load",
            [module, name, str((folder or Path.cwd()).resolve())],
            seconds=seconds,
            workers=workers,
            is_loaded_first=False,  # a user's module may start threads, which do not survive a fork
        )
        reply = self._pool.ask(None, None)
        if reply.status == "broken":
            raise RecipeError(f"verifier {function!r}: {reply.value}", hint=_EXPLAINED)

    def verify(self, prompt: Prompt, completion: Completion) -> Verdict:
        """Judge one completion; unknown if the function raises, hangs or returns nonsense."""
        start = time.perf_counter()
        reply = self._pool.ask(asdict(prompt), asdict(completion))
        milliseconds = (time.perf_counter() - start) * 1000
        if reply.status == "done":
            is_accepted, reward, reason = reply.value
            return Verdict(is_accepted, reason, self.name, reward, milliseconds)
        reason = {
            "timeout": f"took more than {self._seconds:g} s of processor time,"
            f" or {self._seconds * WAIT_FACTOR:g} s in all, and was stopped",
            "broken": f"could not be loaded again: {reply.value}",
        }.get(reply.status, "ended its own process")
        return Verdict(None, reason, self.name, 0.0, milliseconds)

    def close(self) -> None:
        """End its processes; the next call starts new ones."""
        self._pool.close()


def has_answer(prompt: Prompt, completion: Completion) -> tuple[bool, str]:
    """An example of such a function."""
    is_there = bool(completion.text.strip())
    return is_there, "there is an answer" if is_there else "the answer is empty"


def load(argument: list[str]) -> Callable[..., object]:
    """In a worker: import the function and wrap it."""
    module_name, name, folder = argument
    sys.path.insert(0, folder)
    module = _import(module_name, folder)
    function = getattr(module, name, None)
    if not callable(function):
        names = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
        meant = difflib.get_close_matches(name, names, n=1)
        allowed = f"did you mean {meant[0]!r}?" if meant else f"it has {', '.join(names) or 'none'}"
        raise LookupError(  # noqa: TRY004 - nothing to call is there
            f"{module_name} has no function {name!r}; {allowed}"
        )

    def call(
        prompt: dict[str, Any] | None, completion: dict[str, Any]
    ) -> tuple[bool | None, float, str] | None:
        if prompt is None:  # the question whether it is there at all
            return None
        completion["usage"] = Usage(**completion["usage"])
        try:
            found = function(Prompt(**prompt), Completion(**completion))
            return read_finding(found)
        except BaseException as error:  # noqa: BLE001 - a user's function may do anything
            return (
                None,
                0.0,
                f"raised {type(error).__name__}: {error!s:.{_SHOWN_LENGTH}} ({_where(error)})",
            )

    return call


def read_finding(found: object) -> tuple[bool | None, float, str]:
    """Verdict, reward and reason of what a user's function returned.

    Example:
        >>> read_finding(True), read_finding((0.5, "half of the tests"))
        ((True, 1.0, 'accepted'), (False, 0.5, 'half of the tests'))
    """
    if isinstance(found, Verdict):
        return found.is_accepted, float(found.reward), str(found.reason)
    reason = ""
    if isinstance(found, tuple) and len(found) == 2:  # noqa: PLR2004 - finding and reason
        finding: tuple[object, object] = found
        found, reason = finding[0], str(finding[1])
    if found is None:
        return None, 0.0, reason or "unknown"
    if isinstance(found, bool):
        return found, float(found), reason or ("accepted" if found else "rejected")
    try:
        number = float(found)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number <= 1:
        return (
            None,
            0.0,
            f"returned {found!r:.60}; allowed are true, false, None, or a number in [0, 1]",
        )
    return number == 1, number, reason or f"reward {number:g}"


def _import(name: str, folder: str) -> ModuleType:
    if not name.endswith(".py"):
        try:
            return importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - whatever a module raises
            raise LookupError(f"{name} cannot be imported: {_described(error)}") from None
    path = Path(folder, name)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise LookupError(f"there is no file {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # noqa: BLE001 - whatever a module raises
        raise LookupError(f"{name} cannot be imported: {_described(error)}") from None
    return module


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error!s:.{_SHOWN_LENGTH}} ({_where(error)})"


def _where(error: BaseException) -> str:
    """File and line of the last frame outside the library."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}:{error.lineno}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != __file__ and "importlib" not in frame.filename
    ]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "at its call"
