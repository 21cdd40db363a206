"""A completion is whole, or its first fault is said in words."""

import pytest

from distill.types import Completion, Usage
from distill.verify.form import structure_fault, unfinished_fault


def test_a_finished_completion_has_no_unfinished_fault() -> None:
    assert unfinished_fault(Completion("")) == ""


def test_a_cut_completion_says_at_how_many_tokens() -> None:
    cut = Completion("", "so far", finish="length", usage=Usage(output_tokens=300))
    assert unfinished_fault(cut) == "cut at the token limit after 300 tokens"


def test_a_failed_completion_says_why() -> None:
    assert unfinished_fault(Completion("", finish="error", error="lost")) == "failed: lost"
    assert unfinished_fault(Completion("", finish="error")) == "failed: no reason given"


@pytest.mark.parametrize(
    ("reasoning", "text", "fault"),
    [
        ("1 + 2 = 3", r"The answer is \boxed{3}.", ""),
        ("tried \\boxed{4}, no", r"The answer is \boxed{3}.", ""),
        (None, r"\boxed{3}", "no reasoning"),
        ("  ", r"\boxed{3}", "the reasoning is empty"),
        ("work", "", "the answer is empty"),
        ("work", "3", "no box in the answer"),
        ("work", r"\boxed{3} \boxed{3}", "2 boxes in the answer"),
        ("work", r"\boxed{ }", "the box is empty"),
        ("work", r"\boxed{3", "the last box is not closed"),
        ("a<think>b", r"\boxed{3}", "stray <think> in the reasoning"),
        ("work", r"b</think>\boxed{3}", "stray </think> in the answer"),
        (None, r"hello <think>a</think>\boxed{3}", "stray <think> in the answer"),
    ],
)
def test_the_first_fault_of_structure_is_named(
    reasoning: str | None, text: str, fault: str
) -> None:
    assert structure_fault(Completion(text, reasoning)) == fault


def test_reasoning_and_box_can_be_made_optional() -> None:
    bare = Completion("3")
    assert structure_fault(bare, needs_reasoning=False, needs_box=False) == ""
    assert structure_fault(bare, needs_reasoning=False) == "no box in the answer"
    assert structure_fault(bare, needs_box=False) == "no reasoning"
