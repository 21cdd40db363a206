"""Code is right if it passes all tests; nothing it says about itself counts."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from distill.types import Completion, Prompt
from distill.verify import build_verifier
from distill.verify.code import CodeVerifier, find_code, read_tests
from distill.verify.sandbox.walls import find_backend
from tests.distill.verify.attacks import FAKED_FUNCTION, FAKED_PROGRAM, FAKES

needs_walls = pytest.mark.skipif(
    find_backend() == "none", reason="code cannot be closed in on this kernel, and is refused"
)
SUM = {"kind": "stdio", "cases": [{"stdin": f"{n} 2\n", "stdout": f"{n + 2}\n"} for n in range(4)]}
ADD = {
    "kind": "function",
    "name": "add",
    "cases": [{"args": [1, 2], "expected": 3}, {"args": [0.1, 0.2], "expected": 0.3}],
}


@pytest.fixture(scope="module")
def verifier() -> Iterator[CodeVerifier]:
    with CodeVerifier(seconds=0.5, workers=1) as made:
        yield made


def judged(verifier: CodeVerifier, code: str, tests: dict[str, Any]) -> Any:
    completion = Completion(f"Here it is:\n```python\n{code}\n```", "why")
    return verifier.verify(Prompt("p", "?", json.dumps(tests)), completion)


@needs_walls
@pytest.mark.parametrize(
    ("code", "tests", "reward", "words"),
    [
        ("a, b = map(int, input().split())\nprint(a + b)", SUM, 1.0, "all 4 tests passed"),
        ("print(2)", SUM, 0.25, "1 of 4 tests passed; case 1 printed 2, expected 3"),
        ("print('passed')\nraise SystemExit(0)", SUM, 0.0, "printed passed, expected 2"),
        ("1 / 0", SUM, 0.0, "ended with 1: ZeroDivisionError: division by zero"),
        ("while True: pass", {**SUM, "cases": SUM["cases"][:1]}, 0.0, "took more than 0.5 s"),
        ("def add(a, b): return a + b", ADD, 1.0, "all 2 tests passed"),
        ("class Solution:\n def add(self, a, b): return a + b", ADD, 1.0, "all 2 tests passed"),
        ("def add(a, b): return 3", ADD, 0.5, "case 1 gave 3, expected 0.3"),
        ("def add(a, b): return True", ADD, 0.0, "case 0 gave true, expected 3"),
        ("def add(a, b): raise KeyError(a)", ADD, 0.0, "case 0 raised KeyError: 1"),
        ("def add(a, b): return {1}", ADD, 0.0, "JSON has no word for: set"),
        ("import os\ndef add(a, b): os._exit(0)", ADD, 0.0, "case 0 ended with 0"),
        ("def sub(a, b): return 3", ADD, 0.0, "there is no function add"),
        ("def add(a, b:", ADD, 0.0, "SyntaxError"),
    ],
)
def test_code_is_judged_by_its_tests(
    verifier: CodeVerifier, code: str, tests: dict[str, Any], reward: float, words: str
) -> None:
    verdict = judged(verifier, code, tests)
    assert verdict.reward == pytest.approx(reward)
    assert verdict.is_accepted is (reward == 1.0)
    assert words in verdict.reason
    assert verdict.verifier == "code/1"
    assert verdict.milliseconds > 0


@needs_walls
@pytest.mark.parametrize("fake", FAKES)
def test_a_fake_passes_nothing(verifier: CodeVerifier, fake: str) -> None:
    for tests in (FAKED_PROGRAM, FAKED_FUNCTION):
        verdict = judged(verifier, FAKES[fake], tests)
        assert (verdict.is_accepted, verdict.reward) == (False, 0.0), verdict.reason


@needs_walls
def test_a_case_that_ends_the_run_fails_alone(verifier: CodeVerifier) -> None:
    code = (
        "import os\n"
        "def f(n):\n"
        "  if n == 1: os._exit(0)\n"
        "  if n == 2: raise SystemExit\n"
        "  while n == 3: pass\n"
        "  return n"
    )
    cases = [{"args": [n], "expected": n} for n in (0, 1, 4, 2, 5, 3, 6, 7)]
    verdict = judged(verifier, code, {"kind": "function", "name": "f", "cases": cases})
    assert verdict.reward == 3 / 8
    assert verdict.reason == "3 of 8 tests passed; case 1 ended with 0: no word"
    verdict = judged(verifier, code, {"kind": "function", "name": "f", "cases": cases[:5]})
    assert verdict.reward == 3 / 5


@needs_walls
def test_a_program_that_hangs_is_stopped_three_times(verifier: CodeVerifier) -> None:
    tests = {"kind": "stdio", "cases": [{"stdin": "", "stdout": "1"}] * 40}
    started = time.monotonic()
    assert judged(verifier, "while True: pass", tests).reward == 0
    assert time.monotonic() - started < 4


@needs_walls
def test_setup_stands_before_the_code(verifier: CodeVerifier) -> None:
    code = "from __future__ import annotations\ndef add(a: List, b): return a + b"
    assert judged(verifier, code, {**ADD, "setup": "from typing import *"}).is_accepted is True
    code = "def add(a: List, b): return a + b"
    assert "NameError: name 'List'" in judged(verifier, code, ADD).reason


@needs_walls
def test_verifying_works_from_threads(verifier: CodeVerifier) -> None:
    codes = [f"def add(a, b): return a + b + {n % 2}" for n in range(24)]
    with ThreadPoolExecutor(8) as threads:
        verdicts = list(threads.map(lambda code: judged(verifier, code, ADD), codes))
    assert [verdict.is_accepted for verdict in verdicts] == [True, False] * 12


@needs_walls
def test_an_answer_without_code_is_wrong_and_a_prompt_without_tests_unknown(
    verifier: CodeVerifier,
) -> None:
    prompt = Prompt("p", "?", json.dumps(ADD))
    assert verifier.verify(prompt, Completion("no code")).is_accepted is False
    cut = Completion("```python\nx\n```", finish="length")
    assert verifier.verify(prompt, cut).is_accepted is False
    for answer in (None, "42", "{}", "[" * 99_999, '{"kind": "stdio", "cases": []}'):
        verdict = verifier.verify(Prompt("p", "?", answer), Completion("```python\nx=1\n```"))
        assert verdict.is_accepted is None
        assert verdict.reason.startswith("no tests: ")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("```python\na\n```\n```py\nb\n```", "b\n"),
        ("```\na\n```", "a\n"),
        ("```python\na\n```\n```\noutput\n```", "a\n"),
        ("```cpp\nx\n```\nText\n```python\na\n```", "a\n"),
        ("````python\n```\na\n````", "```\na\n"),
        ("1. So:\n   ```Python title=x\n   a\n   ```", "a\n"),
        ("```cpp\nint x;\n```", ""),
        ("<think>```python\na\n```</think>none", ""),
        ("```python\nnever closed", "never closed\n"),
        ("none", ""),
    ],
)
def test_the_last_block_of_the_answer_is_the_code(text: str, code: str) -> None:
    assert find_code(text) == code


def test_a_case_of_the_wrong_shape_is_named() -> None:
    with pytest.raises(ValueError, match="case 1 needs args and expected"):
        read_tests(json.dumps({**ADD, "cases": [ADD["cases"][0], {"args": []}]}))
    with pytest.raises(ValueError, match="case 0: stdin has the wrong type"):
        read_tests('{"kind": "stdio", "cases": [{"stdin": 1, "stdout": "1"}]}')


@needs_walls
def test_the_verifier_is_built_by_its_kind() -> None:
    made = build_verifier("code", seconds=1.0, workers=1)
    assert isinstance(made, CodeVerifier)
    made.close()
