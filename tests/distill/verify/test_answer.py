"""An answer is right when its last box has the value of the gold answer, and only then."""

import random
import time
import tomllib
import tracemalloc
from pathlib import Path

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


@pytest.mark.parametrize(
    "text",
    [
        "So the answer is 42.",
        "Final answer: 42",
        "**Answer:** 42",
        "The final answer is $42$. I hope it is correct.",
        "The answer is:\n\n$$\n42\n$$",
        "#### 42",
        "정답은 42입니다.",
        "최종 답: 42",
        "答案是42。",
        "最终答案为：42",  # noqa: RUF001
        "答えは42です。",
        "Ответ: 42.",
        "Правильный ответ — 42",
        "La respuesta es 42.",
        "La réponse est 42.",
        "Réponse finale : 42",
        "Die Antwort ist 42.",
        "Die Lösung lautet: 42",
        "First I thought the answer is 41. No, the answer is 42.",
        r"The answer is 41, or rather \boxed{42}.",
    ],
)
def test_the_answer_is_found_in_eight_languages(text: str) -> None:
    assert _verify(text, "42")[0] is True
    assert _verify(text, "43")[0] is False
    assert final_answer(Completion(text)) == "42"


@pytest.mark.parametrize("text", ["It is 42.", "The answer is not 42.", "응답은 42", "42", ""])
def test_what_no_box_or_phrase_marks_is_no_answer(text: str) -> None:
    assert _verify(text, "42") == (False, "no box in the answer")


def test_anywhere_takes_the_last_formula_where_nothing_is_marked() -> None:
    verifier = AnswerVerifier(anywhere=True)
    prompt = Prompt("p", "?", answer="42")
    assert verifier.verify(prompt, Completion("So $x$ is $42$.")).is_accepted is True
    assert verifier.verify(prompt, Completion(r"\boxed{41} and then 42")).is_accepted is False
    assert verifier.name == "answer/2+anywhere"


def test_boxes_side_by_side_are_one_answer() -> None:
    assert _verify(r"\boxed{1} and \boxed{2}", "1, 2")[0] is True
    assert _verify(r"\boxed{1}. \boxed{2}", "1, 2")[0] is False
    assert _verify(r"\boxed{2}, \boxed{2}", "2")[0] is True


def test_a_unit_on_one_side_is_right_if_the_prompt_names_it() -> None:
    verifier, boxed = AnswerVerifier(), Completion(r"\boxed{\$18}")
    asked = Prompt("p", "How many dollars?", answer="18")
    assert verifier.verify(asked, boxed).is_accepted is True
    other = verifier.verify(Prompt("p", "How many apples?", answer="18"), boxed)
    assert other.is_accepted is False
    assert other.reason == r"boxed \$18, gold 18: the unit is on one side only"
    optional = AnswerVerifier(units="optional")
    assert optional.verify(Prompt("p", "?", answer="18"), boxed).is_accepted is True
    assert optional.verify(Prompt("p", "?", answer="18 km"), boxed).is_accepted is False
    assert optional.name == "answer/2+units=optional"


def test_a_gold_answer_may_be_a_whole_solution() -> None:
    assert _verify(r"\boxed{42}", "6 * 7 = 42, so\n#### 42")[0] is True
    assert _verify(r"\boxed{42}", r"We get \boxed{41}, no, \boxed{42}.")[0] is True
    assert _verify(r"\boxed{41}", r"We get \boxed{41}, no, \boxed{42}.")[0] is False


@pytest.mark.parametrize("gold", [r"\frac{1}{", "}{", r"\foo{x}^", r"\begin{cases} 1"])
def test_a_gold_answer_that_cannot_be_read_is_unknown(gold: str) -> None:
    is_accepted, reason = _verify(r"\boxed{3}", gold)
    assert is_accepted is None
    assert "the gold answer cannot be read" in reason


def test_an_answer_that_cannot_be_read_is_wrong() -> None:
    assert _verify(r"\boxed{\foo{x}^}", "3")[0] is False


def test_what_is_too_large_to_tell_apart_is_unknown() -> None:
    assert _verify(r"\boxed{9^{9^{9^{9}}}}", "9^{9^{9^{8}}}")[0] is None
    assert _verify(r"\boxed{9^{9^{9^{9}}}}", "9^9^9^9")[0] is True
    assert _verify(r"\boxed{9^{9^{9^{9}}}}", "9")[0] is False


@pytest.mark.parametrize(
    ("left", "right", "is_same"),
    [
        (r"\sum_{k=1}^{n} k", r"\frac{n(n+1)}{2}", True),
        (r"\int_0^1 x\,dx", "1/2", True),
        (r"\sum_{k=1}^{n} k", r"\frac{n(n-1)}{2}", False),
    ],
)
def test_computer_algebra_decides_what_is_left(left: str, right: str, is_same: bool) -> None:
    assert _verify(rf"\boxed{{{left}}}", right)[0] is is_same
    assert _verify(rf"\boxed{{{right}}}", left)[0] is is_same


def test_a_verdict_carries_its_time_which_is_no_part_of_it() -> None:
    prompt, completion = Prompt("p", "?", answer="14"), Completion(r"\boxed{14}")
    first, second = (AnswerVerifier().verify(prompt, completion) for _ in range(2))
    assert first.milliseconds > 0
    assert first == second


def test_the_tricky_answers_are_judged_as_a_careful_person_does() -> None:
    path = Path(__file__).parents[3] / "benchmarks" / "data" / "tricky_answers.toml"
    wrong = []
    for group in tomllib.loads(path.read_text(encoding="utf-8"))["group"]:
        for key, expected in (("same", True), ("different", False)):
            for pair in group.get(key, []):
                for gold, answer in (pair, pair[::-1]):
                    prompt = Prompt("p", group.get("prompt", "?"), answer=gold)
                    verdict = AnswerVerifier().verify(prompt, Completion(rf"\boxed{{{answer}}}"))
                    if (verdict.is_accepted is True) != expected:
                        wrong.append((gold, answer))
    assert wrong == []


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


@pytest.mark.parametrize("text", ["1 4", "3 +", "= 3", "12 x 5 pens =", "14 14", "((", "14?", "so"])
def test_a_garbled_answer_is_wrong_without_computer_algebra(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(left: str, right: str) -> str:
        raise AssertionError(f"asked for {left!r} and {right!r}")

    monkeypatch.setattr("distill.verify.algebra.ask", refuse)
    assert _verify(rf"\boxed{{{text}}}", "77")[0] is False


def test_a_garbled_gold_answer_is_unknown() -> None:
    for gold in ("1 4", "3 +", "(("):
        assert _verify(r"\boxed{77}", gold)[0] is None


def test_long_answers_are_not_kept_in_memory() -> None:
    tracemalloc.start()
    try:
        _verify(rf"\boxed{{{'x' * 200_000}}}", "14")  # whatever is loaded once
        before, _ = tracemalloc.get_traced_memory()
        for number in range(50):
            _verify(rf"\boxed{{{number}{'x' * 200_000}}}", "14")
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 1_000_000
