"""Code is right if it passes all tests; nothing it says about itself counts."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from distill.types import Completion, Prompt
from distill.verify import build_verifier
from distill.verify.code import CodeVerifier, find_code, read_tests
from distill.verify.sandbox.client import find_backend

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
    with CodeVerifier(seconds=2, workers=1) as made:
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
        ("while True: pass", {**SUM, "cases": SUM["cases"][:1]}, 0.0, "took more than 2 s"),
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
def test_what_is_expected_is_not_in_the_sandbox(verifier: CodeVerifier) -> None:
    code = (
        "import gc, sys\n"
        "print([o for o in gc.get_objects() if isinstance(o, (dict, list)) and 987654 in o])\n"
        "frame = sys._getframe()\n"
        "while frame: print(frame.f_locals.get('request')); frame = frame.f_back"
    )
    tests = {"kind": "stdio", "cases": [{"stdin": "", "stdout": "987654"}]}
    assert judged(verifier, code, tests).is_accepted is False


@needs_walls
def test_an_answer_without_code_is_wrong_and_a_prompt_without_tests_unknown(
    verifier: CodeVerifier,
) -> None:
    prompt = Prompt("p", "?", json.dumps(ADD))
    assert verifier.verify(prompt, Completion("no code")).is_accepted is False
    cut = Completion("```python\nx\n```", finish="length")
    assert verifier.verify(prompt, cut).is_accepted is False
    for answer in (None, "42", "{}", '{"kind": "stdio", "cases": []}'):
        verdict = verifier.verify(Prompt("p", "?", answer), Completion("```python\nx=1\n```"))
        assert verdict.is_accepted is None
        assert verdict.reason.startswith("no tests: ")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("```python\na\n```\n```py\nb\n```", "b\n"),
        ("```\na\n```", "a\n"),
        ("<think>```python\na\n```</think>none", ""),
        ("```python\nnever closed", "never closed"),
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
