"""Whatever a model writes, the verifiers judge it: never an exception, the same both ways round."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distill.types import Completion, Prompt
from distill.verify import algebra, build_verifier
from distill.verify.answer import AnswerVerifier, answer_key, final_answer
from distill.verify.equal import compare_answers
from distill.verify.extract import find_answer, gold_answer
from distill.verify.plain import plain
from distill.verify.readings import read

PIECES = [
    *(
        r"\boxed{",
        "}",
        "{",
        "(",
        ")",
        "[",
        "]",
        r"\{",
        r"\}",
        "1",
        "0",
        "12",
        "3.5",
        ",",
        ";",
        ". ",
    ),
    *("-", "+", "/", "*", "^", "!", "=", "<", r"\le", r"\ge", r"\ne", r"\pm", r"\cup", r"\in", "|"),
    *("x", "y", "e", "A", "(B)", "abc", r"\frac", r"\sqrt", r"\pi", r"\infty", r"\text{", r"\left"),
    *(r"\right", "$", r"\$", "%", "°", r"^\circ", " km", " apples", " and ", " or ", "&", r"\\"),
    *(r"\begin{pmatrix}", r"\end{pmatrix}", "<think>", "</think>", "The answer is ", "정답은 "),
    *("答案是", "#### ", "½", "²", "\uff11", "\ud800", "\n", " ", ":"),
]
ANSWERS = st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text(max_size=30)
QUICK = settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def no_algebra(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The readings alone: algebra is slow, and has its own tests."""
    monkeypatch.setattr(algebra, "ask", lambda _left, _right: "both unread")
    return


@pytest.mark.usefixtures("no_algebra")
@QUICK
@given(ANSWERS, ANSWERS)
def test_comparing_never_raises_and_is_symmetric(left: str, right: str) -> None:
    there, back = compare_answers(left, right), compare_answers(right, left)
    assert (there.is_same is True) == (back.is_same is True)
    assert (there.missing is None) == (back.missing is None)
    if answer_key(left) == answer_key(right):
        assert there.is_same is True


@pytest.mark.usefixtures("no_algebra")
@QUICK
@given(ANSWERS, ANSWERS)
def test_verifying_never_raises(text: str, gold: str) -> None:
    for verifier in (AnswerVerifier(), AnswerVerifier(units="optional", anywhere=True)):
        verdict = verifier.verify(Prompt("p", text, answer=gold), Completion(text))
        assert verdict.reward == (verdict.is_accepted is True)
    for kind in ("choice", "exact"):
        build_verifier(kind).verify(Prompt("p", text, answer=gold), Completion(text))
    final_answer(Completion(text))


@pytest.mark.usefixtures("no_algebra")
@QUICK
@given(ANSWERS)
def test_an_answer_equals_itself_unless_its_gold_cannot_be_read(text: str) -> None:
    assert compare_answers(text, text).is_same is True
    assert plain(plain(text)) is not None
    assert read(plain(text))
    gold_answer(text)
    find_answer(text, anywhere=True)


@settings(max_examples=25, deadline=None)
@given(ANSWERS, ANSWERS)
def test_with_algebra_comparing_is_symmetric_too(left: str, right: str) -> None:
    there, back = compare_answers(left, right), compare_answers(right, left)
    assert (there.is_same is True) == (back.is_same is True)


def test_an_answer_with_an_open_brace_is_no_answer_in_either_direction() -> None:
    assert compare_answers("(B)", r"(B)\boxed{").is_same is False
    assert compare_answers(r"(B)\boxed{", "(B)").is_same is None
