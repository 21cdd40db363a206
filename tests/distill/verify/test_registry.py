"""A verifier is built by its kind; a mistake says what was meant and what there is."""

import subprocess
import sys
from pathlib import Path

import pytest

from distill.errors import RecipeError
from distill.types import Completion, Prompt
from distill.verify import KINDS, build_verifier

OPTIONS: dict[str, dict[str, object]] = {
    "schema": {"schema": {"type": "object"}},
    "custom": {"function": "distill.verify.custom:has_answer"},
}


@pytest.mark.parametrize("kind", ["answer", "choice", "exact", "schema", "agreement", "custom"])
def test_each_kind_is_built_and_judges_anything(kind: str) -> None:
    verifier = build_verifier(kind, **OPTIONS.get(kind, {}))
    assert verifier.name.startswith(f"{kind}/1" if kind != "answer" else "answer/2")
    for text in ("", r"\boxed{", "{", "\ud800", "a\x00b"):
        for answer in (None, "", "B", "\ud800"):
            verdict = verifier.verify(Prompt("p", "?", answer=answer), Completion(text, "work"))
            assert verdict.verifier == verifier.name
            assert verdict.reward == (verdict.is_accepted is True)
            assert verdict.milliseconds >= 0


def test_a_cut_completion_is_wrong_for_every_kind_that_judges_answers() -> None:
    for kind in ("answer", "choice", "exact", "schema"):
        verifier = build_verifier(kind, **OPTIONS.get(kind, {}))
        cut = Completion(r"\boxed{B}", "work", finish="length")
        assert verifier.verify(Prompt("p", "?", answer="B"), cut).is_accepted is False


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("anwser", {}, "unknown verifier 'anwser'; did you mean 'answer'?"),
        ("zebra", {}, "unknown verifier 'zebra'"),
        ("exact", {"ignorecase": True}, "did you mean 'ignore_case'"),
        ("choice", {"letters": 4}, "unknown option 'letters'"),
        ("schema", {}, "option 'schema' is missing"),
        ("agreement", {"at_least": 2}, "at_least=2 must be in"),
        ("no_such_module:judge", {}, "no_such_module cannot be imported"),
    ],
)
def test_a_mistake_says_what_was_meant(kind: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        build_verifier(kind, **options)
    assert message in str(caught.value)


def test_an_unknown_kind_lists_the_kinds() -> None:
    with pytest.raises(RecipeError) as caught:
        build_verifier("zebra")
    assert all(kind in caught.value.hint for kind in KINDS)


def test_importing_the_verifiers_loads_no_heavy_library() -> None:
    code = (
        "import sys; from distill.verify import build_verifier; build_verifier('answer');"
        "heavy = {'sympy', 'math_verify', 'numpy', 'jsonschema', 'pydantic', 'mpmath'};"
        "bad = heavy & set(sys.modules);"
        "sys.exit(str(bad) if bad else 0)"
    )
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
