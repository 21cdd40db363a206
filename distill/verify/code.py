r"""``CodeVerifier``: runs the code of an answer against the prompt's tests, in a sandbox.

The tests stand in the prompt's ``answer``, as JSON text of one of two forms:

    {"kind": "stdio", "cases": [{"stdin": "1 2\n", "stdout": "3\n"}]}
    {"kind": "function", "name": "add", "cases": [{"args": [1, 2], "expected": 3}]}

What is expected never enters the sandbox: outputs and return values are compared outside, so code
that prints "passed", exits with 0 or digs through its process cannot pass. Printed lines are
compared without white space at their ends; floats of a function to a relative 1e-6.
"""

import json
import math
import re
import time
from dataclasses import dataclass
from typing import Any, cast

from distill.closing import Closing
from distill.types import Completion, Prompt, Verdict
from distill.verify.answer import answer_part
from distill.verify.form import unfinished_fault
from distill.verify.sandbox.client import Ran, Sandbox

_BLOCK = re.compile(r"```(?:python3?|py)?[ \t]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE)
_TOLERANCE = 1e-6
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class CodeTests:
    """CodeTests of a prompt.

    Attributes:
        function: What is called; empty for programs that read and write.
        cases: Of a program ``(stdin, stdout)``, of a function ``(args, expected)``.
    """

    function: str
    cases: tuple[tuple[Any, Any], ...]


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
            seconds: What one run may take.
            memory_bytes: Memory of one run.
            workers: Runs at once; ``None`` is one for each core.
            unsafe: Run code even where it cannot be closed in.

        Raises:
            MissingDependencyError: If the sandbox does not hold here, and ``unsafe`` is not set.
        """
        self._sandbox = Sandbox(
            seconds=seconds, memory_bytes=memory_bytes, workers=workers, unsafe=unsafe
        )

    def verify(self, prompt: Prompt, completion: Completion) -> Verdict:
        """Judge; unknown if the prompt has no tests that can be read."""
        started = time.perf_counter()
        finding, reason, reward = self._judge(prompt, completion)
        spent = (time.perf_counter() - started) * 1000
        return Verdict(finding, reason, self.name, reward, round(spent, 3))

    def close(self) -> None:
        """End the sandbox."""
        self._sandbox.close()

    def _judge(self, prompt: Prompt, completion: Completion) -> tuple[bool | None, str, float]:
        if fault := unfinished_fault(completion):
            return False, fault, 0.0
        try:
            tests = read_tests(prompt.answer or "")
        except ValueError as error:
            return None, f"no tests: {error}", 0.0
        code = find_code(completion.text)
        if not code:
            return False, "no code in the answer", 0.0
        faults = self._faults(code, tests)
        if faults is None:
            return None, "the sandbox was lost", 0.0
        failed = [fault for fault in faults if fault]
        share = 1 - len(failed) / len(faults)
        if failed:
            passed = len(faults) - len(failed)
            return False, f"{passed} of {len(faults)} tests passed; {failed[0]}", share
        return True, f"all {len(faults)} tests passed", 1.0

    def _faults(self, code: str, tests: CodeTests) -> list[str] | None:
        """For each test what is wrong, empty if nothing is; ``None`` if nobody can say."""
        if tests.function:
            ran = self._sandbox.call(code, tests.function, [args for args, _ in tests.cases])
            if ran.reason == "server":
                return None
            return [
                _call_fault(place, expected, ran) for place, (_, expected) in enumerate(tests.cases)
            ]
        faults = []
        for place, (stdin, expected) in enumerate(tests.cases):
            ran = self._sandbox.run(code, stdin)
            if ran.reason == "server":
                return None
            faults.append(_output_fault(place, expected, ran))
        return faults


def find_code(text: str) -> str:
    r"""The last block of Python in the answer part; empty if there is none.

    Example:
        >>> find_code("First:\n```python\nx = 1\n```\nBetter:\n```python\nx = 2\n```")
        'x = 2\n'
    """
    blocks = _BLOCK.findall(answer_part(text))
    return str(blocks[-1]) if blocks else ""


def read_tests(text: str) -> CodeTests:
    """The tests in a prompt's answer.

    Raises:
        ValueError: If there are none, or they have another form; says what is wrong.
    """
    try:
        table = json.loads(text)
    except ValueError:
        raise ValueError("the prompt's answer is no JSON") from None
    kind = table.get("kind") if isinstance(table, dict) else None
    if kind not in ("stdio", "function"):
        raise ValueError(f"kind must be 'stdio' or 'function', not {kind!r}")
    keys = ("stdin", "stdout") if kind == "stdio" else ("args", "expected")
    cases = table.get("cases")
    if not isinstance(cases, list) or not cases:
        raise ValueError("there are no cases")
    for place, case in enumerate(cases):
        if not isinstance(case, dict) or any(key not in case for key in keys):
            raise ValueError(f"case {place} needs {keys[0]} and {keys[1]}")
        first = case[keys[0]]
        if not isinstance(first, str if kind == "stdio" else list):
            raise ValueError(  # noqa: TRY004 - of a text, like all mistakes here
                f"case {place}: {keys[0]} has the wrong type"
            )
    name = str(table.get("name") or "") if kind == "function" else ""
    if kind == "function" and not name.isidentifier():
        raise ValueError("a function needs a name")
    return CodeTests(name, tuple((case[keys[0]], case[keys[1]]) for case in cases))


def _call_fault(place: int, expected: object, ran: Ran) -> str:
    result = ran.results.get(place)
    if result is None:
        return f"case {place} {_ending(ran)}"
    if "error" in result:
        return f"case {place} raised {result['error']}"
    found = result.get("value")
    if _is_same(found, expected):
        return ""
    return f"case {place} gave {_shown(found)}, expected {_shown(expected)}"


def _output_fault(place: int, expected: object, ran: Ran) -> str:
    if ran.reason or ran.exit_code != 0:
        return f"case {place} {_ending(ran)}"
    if _lines(ran.stdout) == _lines(str(expected)):
        return ""
    return f"case {place} printed {_shown(ran.stdout)}, expected {_shown(expected)}"


def _ending(ran: Ran) -> str:
    """How a run ended that gave nothing."""
    if ran.reason == "timeout":
        return f"took more than {ran.seconds:.0f} s"
    if ran.reason == "output":
        return "printed without end"
    complaint = ran.stderr.strip().splitlines()
    return f"ended with {ran.exit_code}: {complaint[-1] if complaint else 'no word'}"


def _is_same(found: object, expected: object) -> bool:
    if isinstance(found, bool) or isinstance(expected, bool):
        return found is expected
    if isinstance(found, int | float) and isinstance(expected, int | float):
        if isinstance(found, int) and isinstance(expected, int):
            return found == expected
        return math.isclose(found, expected, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    if isinstance(found, list) and isinstance(expected, list):
        both = zip(found, cast("list[object]", expected), strict=False)
        return len(found) == len(expected) and all(_is_same(one, other) for one, other in both)
    if isinstance(found, dict) and isinstance(expected, dict):
        return found.keys() == expected.keys() and all(
            _is_same(value, expected[key]) for key, value in found.items()
        )
    return type(found) is type(expected) and found == expected


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
