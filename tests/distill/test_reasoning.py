"""Reasoning is split from the answer for every shape that models and templates produce."""

import random

import pytest

from distill.reasoning import SplitText, join_reasoning, split_reasoning


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>\nwork\n</think>\n\nanswer", SplitText("work", "answer")),
        ("<think>work</think>answer", SplitText("work", "answer")),
        ("\n <think> work </think> answer \n", SplitText("work", "answer")),
        ("<think></think>answer", SplitText("", "answer")),
    ],
)
def test_whole_tags_are_split(text: str, expected: SplitText) -> None:
    assert split_reasoning(text) == expected


def test_opening_tag_written_by_the_template_is_inferred_from_the_closing_one() -> None:
    assert split_reasoning("work\n</think>\n\nanswer") == SplitText("work", "answer")


def test_text_without_tags_has_no_reasoning() -> None:
    assert split_reasoning("just an answer") == SplitText(None, "just an answer")
    assert split_reasoning("") == SplitText(None, "")


def test_unclosed_reasoning_is_all_reasoning() -> None:
    assert split_reasoning("<think>\nstill at it") == SplitText("still at it", "")
    assert split_reasoning("still at it", is_opened=True) == SplitText("still at it", "")


def test_opened_text_that_closes_is_split_at_the_closing_tag() -> None:
    assert split_reasoning("work</think>answer", is_opened=True) == SplitText("work", "answer")


def test_a_tag_that_the_template_opened_and_the_model_opened_again_stays_visible() -> None:
    split = split_reasoning("<think>work</think>answer", is_opened=True)
    assert split == SplitText("<think>work", "answer")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>a<think>b</think>c", SplitText("a<think>b", "c")),
        ("<think>a</think>b</think>c", SplitText("a", "b</think>c")),
        ("<think>a</think>b<think>c</think>d", SplitText("a", "b<think>c</think>d")),
        ("hello <think>a</think>b", SplitText(None, "hello <think>a</think>b")),
        ("hello <think>a", SplitText(None, "hello <think>a")),
    ],
)
def test_stray_and_doubled_tags_stay_in_the_text(text: str, expected: SplitText) -> None:
    assert split_reasoning(text) == expected


def test_split_undoes_join() -> None:
    rng = random.Random(0)
    alphabet = "ab1 \n\t<>/think{}\\é日"
    for _ in range(500):
        reasoning = "".join(rng.choices(alphabet, k=rng.randrange(20))).strip()
        answer = "".join(rng.choices(alphabet, k=rng.randrange(20))).strip()
        expected = SplitText(reasoning, answer)
        assert split_reasoning(join_reasoning(reasoning, answer)) == expected
        assert split_reasoning(join_reasoning(None, answer)) == SplitText(None, answer)
