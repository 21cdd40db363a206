"""An answer is right when its last box has the value of the gold answer, and only then."""

import random
import time

import pytest

from distill.types import Completion, Prompt
from distill.verify.answer import AnswerVerifier, answer_key, final_answer

SAME = [
    ("14", "14"),
    ("14", "014"),
    ("14", "+14"),
    ("14", "14."),
    ("14", " 14 "),
    ("14", "14.0"),
    ("14", "$14$"),
    ("14", r"\(14\)"),
    ("14", r"\text{14}"),
    ("14", r"\mathbf{14}"),
    ("14", r"\boxed{14}"),
    ("14", "{14}"),
    ("14", "１４"),  # noqa: RUF001 - full-width digits are the case
    ("14", "١٤"),
    ("-3", "\u22123"),
    ("-3", "- 3"),
    ("0", "-0"),
    ("1234", "1,234"),
    ("1234", "1{,}234"),
    ("1234567", "1,234,567"),
    ("1234567", "1 234 567"),
    ("1234.5", "1,234.50"),
    ("0.5", ".5"),
    ("0.5", "1/2"),
    ("0.5", r"\frac{1}{2}"),
    ("0.5", r"\dfrac{2}{4}"),
    ("-0.5", r"-\frac{1}{2}"),
    ("0.1", "0.10"),
    ("x+1", "x + 1"),
    ("(1,2)", r"\left( 1, 2 \right)"),
    ("red apples", r"\text{red  apples}"),
    ("50%", r"50\%"),
    ("7" * 5000, "0" + "7" * 5000),
    ("7" * 5000, "7" * 5000 + ".0"),
]
DIFFERENT = [
    ("14", "15"),
    ("14", "-14"),
    ("14", "1.4"),
    ("14", "14 apples"),
    ("14", "14%"),
    ("14", r"\$14"),
    ("14", "1 4"),
    ("12", "1,2"),
    ("1234", "12,34"),
    ("102", "10²"),
    ("21/2", r"2\frac{1}{2}"),
    ("0.333", "1/3"),
    ("9007199254740993", "9007199254740992"),
    ("1", "0.99999999999999999999"),
    ("A", "B"),
    ("7" * 5000, "7" * 5001),
    ("7" * 5000, "-" + "7" * 5000),
    ("14", ""),
]


def _verify(text: str, gold: str | None = "14", **completion: object) -> tuple[bool | None, str]:
    made = Completion(text, "work", **completion)  # type: ignore[arg-type]
    verdict = AnswerVerifier().verify(Prompt("p", "?", answer=gold), made)
    assert verdict.verifier == "answer/2"
    assert verdict.reward == (1.0 if verdict.is_accepted else 0.0)
    return verdict.is_accepted, verdict.reason


@pytest.mark.parametrize(("left", "right"), SAME)
def test_two_ways_to_write_one_answer_are_equal_in_both_directions(left: str, right: str) -> None:
    assert _verify(rf"\boxed{{{left}}}", right)[0] is True
    assert _verify(rf"\boxed{{{right}}}", left)[0] is True


@pytest.mark.parametrize(("left", "right"), DIFFERENT)
def test_different_answers_are_different_in_both_directions(left: str, right: str) -> None:
    assert answer_key(left) != answer_key(right)
    assert _verify(rf"\boxed{{{right}}}", left)[0] is False


def test_the_reason_can_be_checked_by_a_person() -> None:
    assert _verify(r"The answer is \boxed{15}.") == (False, "boxed 15, gold 14")
    assert _verify(r"The answer is \boxed{14}.") == (True, "boxed 14, gold 14")


def test_the_last_box_of_the_answer_counts() -> None:
    assert _verify(r"\boxed{13}, no: \boxed{14}")[0] is True
    assert _verify(r"\boxed{14}, no: \boxed{13}")[0] is False
    assert _verify(r"\boxed{14}, no: \boxed{13") == (False, "the last box is not closed")


def test_a_box_in_the_reasoning_is_no_answer() -> None:
    completion = Completion("That is all.", r"so \boxed{14}")
    verdict = AnswerVerifier().verify(Prompt("p", "?", answer="14"), completion)
    assert (verdict.is_accepted, verdict.reason) == (False, "no box in the answer")


def test_a_box_in_reasoning_that_was_left_in_the_answer_is_no_answer() -> None:
    assert _verify(r"hello <think> \boxed{14}")[0] is False
    assert _verify(r"hello <think> \boxed{14} </think> fifteen")[0] is False
    assert _verify(r"hello <think> \boxed{13} </think> \boxed{14}")[0] is True


def test_without_gold_the_verdict_is_unknown_and_never_a_reward() -> None:
    for gold in (None, "", "  ", "$$"):
        assert _verify(r"\boxed{14}", gold) == (None, "no gold answer")


def test_a_truncated_or_failed_completion_is_wrong_even_with_a_right_box() -> None:
    assert _verify(r"\boxed{14}", finish="length") == (False, "cut at the token limit")
    assert _verify(r"\boxed{14}", finish="error", error="lost") == (False, "failed: lost")
    assert _verify(r"\boxed{14}", None, finish="length")[0] is False


def test_long_answers_are_cut_in_the_reason_only() -> None:
    accepted, reason = _verify(rf"\boxed{{{'7' * 5000}}}", "7" * 5000)
    assert accepted is True
    assert len(reason) < 200


def test_the_final_answer_of_an_unfinished_completion_is_none() -> None:
    assert final_answer(Completion(r"\boxed{014}")) == "14"
    assert final_answer(Completion(r"\boxed{014}", finish="length")) is None
    assert final_answer(Completion("14")) is None


def test_no_text_makes_the_verifier_raise() -> None:
    rng = random.Random(0)
    pieces = r"\boxed{ } { 1 0 , . - + / \frac \text{ $ \left ( ) % <think> </think> é １ ² \ x"  # noqa: RUF001
    for _ in range(3000):
        text = "".join(rng.choices([*pieces.split(), "\ud800", "\n", " "], k=rng.randrange(15)))
        _verify(rf"\boxed{{{text}}}", "1")
        _verify(text, text or "1")


@pytest.mark.parametrize(
    "text",
    [
        "9" * 1_000_000,
        "9" * 1_000_000 + "x",
        "1" + ",000" * 200_000,
        r"\frac{" * 100_000,
        r"\text{" * 100_000 + "}" * 100_000,
        "9^9^9^9",
        " " * 1_000_000 + "x",
        "\u00a0x" * 200_000,
        "." * 1_000_000,
    ],
    ids=lambda text: text[:8],
)
def test_answers_meant_to_hang_are_judged_at_once(text: str) -> None:
    start = time.process_time()
    _verify(rf"\boxed{{{text}}}")
    _verify(r"\boxed{" + text)
    assert time.process_time() - start < 1.2
