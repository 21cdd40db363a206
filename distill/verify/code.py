r"""``CodeVerifier``: runs the code of an answer against the prompt's tests, in a sandbox.

The tests stand in the prompt's ``answer``, as JSON text of one of two forms:

    {"kind": "stdio", "cases": [{"stdin": "1 2\n", "stdout": "3\n"}]}
    {"kind": "function", "name": "add", "cases": [{"args": [1, 2], "expected": 3}]}

Both may have a ``"setup"``: code that is run before the answer's, such as
``"from typing import List"``. A function may also be a method of a class ``Solution``.

What is expected never enters the sandbox: outputs and return values are compared outside
(``distill.verify.outputs``), so code that prints "passed", exits with 0 or digs through its process
cannot pass. Cases are independent: one that hangs or ends the process fails alone, until the third
that had to be stopped; the rest counts as failed then.
"""

import json
import re
import time
from dataclasses import dataclass
from typing import Any

from distill.closing import Closing
from distill.types import Completion, Prompt, Verdict
from distill.verify.extract import answer_part
from distill.verify.form import unfinished_fault
from distill.verify.outputs import is_same_output, is_same_value, shown
from distill.verify.sandbox.client import Ran, Sandbox

_FENCE = re.compile(r"([ \t]*)(`{3,})[ \t]*([^`\s]*)[^`]*")
_PYTHON = {"python", "python3", "py"}
_MOST_STOPPED = 3
_NOT_RUN = "was not run: too many cases before it had to be stopped"


@dataclass(frozen=True, slots=True)
class CodeTests:
    """Tests of a prompt.

    Attributes:
        function: What is called; empty for programs that read and write.
        cases: Of a program ``(stdin, stdout)``, of a function ``(args, expected)``.
        setup: Code that is run before that of the answer.
        text_bytes: Size of their text: no output that is expected is larger.
    """

    function: str
    cases: tuple[tuple[Any, Any], ...]
    setup: str = ""
    text_bytes: int = 0


class CodeVerifier(Closing):
    """Accepts code that passes all tests; the reward is the share that it passes."""

    name = "code/1"

    def __init__(
        self,
        *,
        seconds: float = 10.0,
        memory_bytes: int = 1 << 30,
        workers: int | None = None,
        unsafe: bool = False,
    ) -> None:
        """Start a sandbox.

        Args:
            seconds: What one run may take: a program for one case, a function for all.
            memory_bytes: Memory of one run.
            workers: Runs at once; ``None`` is one for each core.
            unsafe: Run code even where it cannot be closed in.

        Raises:
            MissingDependencyError: If the sandbox does not hold here, and ``unsafe`` is not set.
            ValueError: If a limit is none.
        """
        for option, value in (("seconds", seconds), ("memory_bytes", memory_bytes)):
            if value <= 0:
                raise ValueError(f"{option}={value} must be more than 0")
        if workers is not None and workers < 1:
            raise ValueError(f"workers={workers} must be at least 1")
        self._sandbox = Sandbox(
            seconds=seconds, memory_bytes=memory_bytes, workers=workers, unsafe=unsafe
        )

    def verify(self, prompt: Prompt, completion: Completion) -> Verdict:
        """Judge; unknown if the prompt has no tests that can be read."""
        started = time.perf_counter()
        finding, reason, reward = self._judge(prompt, completion)
        spent = (time.perf_counter() - started) * 1000
        return Verdict(finding, reason, self.name, reward, spent)

    def close(self) -> None:
        """End the sandbox; the next call starts it anew."""
        self._sandbox.close()

    def _judge(self, prompt: Prompt, completion: Completion) -> tuple[bool | None, str, float]:
        if fault := unfinished_fault(completion):
            return False, fault, 0.0
        try:
            tests = read_tests(prompt.answer or "")
        except ValueError as error:
            return None, f"no tests: {error}", 0.0
        code = find_code(completion.text)
        if not code.strip():
            return False, "no code in the answer", 0.0
        faults = self._call_faults(code, tests) if tests.function else self._faults(code, tests)
        if faults is None:
            return None, "the sandbox was lost", 0.0
        failed = [f"case {place} {fault}" for place, fault in enumerate(faults) if fault]
        if not failed:
            return True, f"all {len(faults)} tests passed", 1.0
        passed = len(faults) - len(failed)
        reason = f"{passed} of {len(faults)} tests passed; {failed[0]}"
        return False, reason, passed / len(faults)

    def _faults(self, code: str, tests: CodeTests) -> list[str] | None:
        """For each case what is wrong, empty if nothing is; ``None`` if nobody can say."""
        faults: list[str] = []
        stopped = 0
        for stdin, expected in tests.cases:
            if stopped == _MOST_STOPPED:
                faults.append(_NOT_RUN)
                continue
            ran = self._sandbox.run(code, stdin, setup=tests.setup, expected_bytes=tests.text_bytes)
            if ran.reason == "server":
                return None
            stopped += bool(ran.reason)
            faults.append(_output_fault(expected, ran))
        return faults

    def _call_faults(self, code: str, tests: CodeTests) -> list[str] | None:
        """The same of a function: after a case that ended the run, the others are run anew."""
        faults: list[str] = []
        stopped = 0
        while len(faults) < len(tests.cases):
            if stopped == _MOST_STOPPED:
                faults.append(_NOT_RUN)
                continue
            left = [(at, args) for at, (args, _) in enumerate(tests.cases) if at >= len(faults)]
            ran = self._sandbox.call(
                code, tests.function, left, setup=tests.setup, expected_bytes=tests.text_bytes
            )
            if ran.reason == "server":
                return None
            while len(faults) < len(tests.cases) and len(faults) in ran.results:
                at = len(faults)
                faults.append(_call_fault(tests.cases[at][1], ran.results[at]))
            if len(faults) < len(tests.cases):
                stopped += 1
                faults.append(_ending(ran))
        return faults


def find_code(text: str) -> str:
    r"""The last block of Python in the answer part, else the last that names no language.

    Example:
        >>> find_code("First:\n```python\nx = 1\n```\nBetter:\n```python\nx = 2\n```")
        'x = 2\n'
        >>> find_code("```cpp\nint x;\n```\nNo Python.")
        ''
    """
    found: dict[bool, str] = {}
    fence, language, margin = "", "", ""
    lines: list[str] = []
    for line in [*answer_part(text).split("\n"), None]:
        match = _FENCE.fullmatch(line) if line is not None else None
        if not fence and match:
            margin, fence, language, lines = match[1], match[2], match[3].lower(), []
        elif fence and (line is None or _closes(line, fence)):
            if language in _PYTHON or not language:
                found[bool(language)] = "".join(lines)
            fence = ""
        elif fence and line is not None:
            lines.append(f"{line.removeprefix(margin)}\n")
    return found.get(True) or found.get(False) or ""


def _closes(line: str, fence: str) -> bool:
    text = line.strip()
    return len(text) >= len(fence) and not text.strip("`")


def read_tests(text: str) -> CodeTests:
    """The tests in a prompt's answer.

    Raises:
        ValueError: If there are none, or they have another form; says what is wrong.
    """
    try:
        table = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("the prompt's answer is no JSON") from None
    kind = table.get("kind") if isinstance(table, dict) else None
    if kind not in ("stdio", "function"):
        raise ValueError(f"kind must be 'stdio' or 'function', not {kind!r:.40}")
    name = table.get("name") if kind == "function" else ""
    if not isinstance(name, str) or (kind == "function" and not name.isidentifier()):
        raise ValueError("a function needs a name")
    setup = table.get("setup", "")
    if not isinstance(setup, str):
        raise ValueError("setup must be text")  # noqa: TRY004 - of a text, like all mistakes here
    size = len(text.encode("utf-8", "replace"))
    return CodeTests(name, _read_cases(table.get("cases"), kind), setup, size)


def _read_cases(cases: object, kind: str) -> tuple[tuple[Any, Any], ...]:
    keys = {"stdin": str, "stdout": str} if kind == "stdio" else {"args": list, "expected": object}
    if not isinstance(cases, list) or not cases:
        raise ValueError("there are no cases")
    for place, case in enumerate(cases):
        if not isinstance(case, dict) or any(key not in case for key in keys):
            raise ValueError(f"case {place} needs {' and '.join(keys)}")
        for key, wanted in keys.items():
            if not isinstance(case[key], wanted):
                raise ValueError(  # noqa: TRY004 - of a text, like all mistakes here
                    f"case {place}: {key} has the wrong type"
                )
    first, second = keys
    return tuple((case[first], case[second]) for case in cases)


def _call_fault(expected: object, result: dict[str, Any]) -> str:
    if "error" in result:
        return f"raised {shown(result['error'])}"
    found = result.get("value")
    if is_same_value(found, expected):
        return ""
    return f"gave {shown(found)}, expected {shown(expected)}"


def _output_fault(expected: str, ran: Ran) -> str:
    if ran.reason or ran.exit_code != 0:
        return _ending(ran)
    if is_same_output(ran.stdout, expected):
        return ""
    return f"printed {shown(ran.stdout)}, expected {shown(expected)}"


def _ending(ran: Ran) -> str:
    """How a run ended that gave nothing."""
    if ran.reason == "timeout":
        return f"took more than {ran.seconds:.1f} s"
    if ran.reason == "output":
        return "printed without end"
    complaint = ran.stderr.strip().splitlines()
    return f"ended with {ran.exit_code}: {shown(complaint[-1]) if complaint else 'no word'}"
