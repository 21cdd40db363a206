"""A user's own function judges in a process of its own: what it does there harms nobody."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from distill.errors import RecipeError
from distill.types import Completion, Prompt, Verdict
from distill.verify.custom import CustomVerifier, read_finding

FUNCTIONS = """
import os, sys, time

def judge(prompt, completion):
    what = completion.text
    if what == "raise":
        return {}["no such key"]
    if what == "hang":
        while True:
            pass
    if what == "sleep":
        time.sleep(60)
    if what == "exit":
        sys.exit(3)
    if what == "die":
        os._exit(0)
    if what == "print":
        print("x" * 100_000)
    if what == "big":
        return (True, "y" * 100_000)
    if what == "nonsense":
        return ["maybe"]
    if what == "half":
        return 0.5
    return (prompt.answer == what, f"{prompt.id} says {prompt.answer}")
"""


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CustomVerifier]:
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_rules.py").write_text(FUNCTIONS)
    made = CustomVerifier("own_rules.py:judge", seconds=0.3, workers=1, folder=folder)
    yield made
    made.close()


def _verify(verifier: CustomVerifier, text: str) -> Verdict:
    return verifier.verify(Prompt("p1", "?", answer="right"), Completion(text, "work"))


def test_the_function_sees_prompt_and_completion(verifier: CustomVerifier) -> None:
    verdict = _verify(verifier, "right")
    assert (verdict.is_accepted, verdict.reward) == (True, 1.0)
    assert verdict.reason == "p1 says right"
    assert verdict.verifier == "custom/1 own_rules.py:judge"
    assert _verify(verifier, "wrong").is_accepted is False


def test_a_function_that_raises_makes_the_verdict_unknown_with_its_place(
    verifier: CustomVerifier,
) -> None:
    verdict = _verify(verifier, "raise")
    assert (verdict.is_accepted, verdict.reward) == (None, 0.0)
    assert verdict.reason == "raised KeyError: 'no such key' (own_rules.py:7)"


@pytest.mark.parametrize("how", ["hang", "sleep"])
def test_a_function_that_hangs_is_stopped_and_the_next_call_works(
    verifier: CustomVerifier, how: str
) -> None:
    start = time.monotonic()
    verdict = _verify(verifier, how)
    assert time.monotonic() - start < 60  # on a busy machine, too
    reason = "took more than 0.3 s of processor time, or 1.5 s in all, and was stopped"
    assert (verdict.is_accepted, verdict.reason) == (None, reason)
    assert verdict.milliseconds >= 300
    assert _verify(verifier, "right").is_accepted is True


def test_a_function_that_ends_its_process_makes_the_verdict_unknown(
    verifier: CustomVerifier,
) -> None:
    assert _verify(verifier, "exit").reason.startswith("raised SystemExit: 3 (own_rules.py:")
    assert _verify(verifier, "die").reason == "ended its own process"
    assert _verify(verifier, "right").is_accepted is True


def test_what_a_function_prints_does_not_disturb_the_replies(verifier: CustomVerifier) -> None:
    assert _verify(verifier, "print").is_accepted is False
    assert _verify(verifier, "big").is_accepted is True


def test_a_reward_between_none_and_all_is_no_acceptance(verifier: CustomVerifier) -> None:
    verdict = _verify(verifier, "half")
    assert (verdict.is_accepted, verdict.reward) == (False, 0.5)


def test_a_return_value_that_is_not_allowed_is_unknown_and_says_what_is() -> None:
    for found in (["maybe"], 7, -0.1, float("nan"), "yes", object()):
        accepted, reward, reason = read_finding(found)
        assert (accepted, reward) == (None, 0.0)
        assert "allowed are" in reason


def test_a_function_that_is_not_there_stops_at_once_with_what_is(tmp_path: Path) -> None:
    (tmp_path / "own_other.py").write_text("def grade(prompt, completion):\n    return True\n")
    with pytest.raises(RecipeError, match="did you mean 'grade'"):
        CustomVerifier("own_other:grad", folder=tmp_path)
    with pytest.raises(RecipeError, match="there is no file"):
        CustomVerifier("no_such.py:grade", folder=tmp_path)
    with pytest.raises(RecipeError, match="no function is named"):
        CustomVerifier("own_other")


def test_a_module_that_cannot_be_imported_says_where(tmp_path: Path) -> None:
    (tmp_path / "own_broken.py").write_text("x = 1\nraise RuntimeError('bad day')\n")
    with pytest.raises(RecipeError, match=r"RuntimeError: bad day \(own_broken.py:2\)"):
        CustomVerifier("own_broken:judge", folder=tmp_path)
    (tmp_path / "own_syntax.py").write_text("x = (\n")
    with pytest.raises(RecipeError, match=r"SyntaxError.*own_syntax.py:1"):
        CustomVerifier("own_syntax:judge", folder=tmp_path)
    (tmp_path / "own_exit.py").write_text("raise SystemExit(1)\n")
    with pytest.raises(RecipeError, match="own_exit"):
        CustomVerifier("own_exit:judge", folder=tmp_path)
