"""Each rule drops what it says, with a reason a person can check, and nothing else."""

from typing import Any

import pytest

from distill.filter_sections import FilterSection
from distill.rules import Rule, rules_of
from distill.types import Completion, FinishReason, JudgedTrace, Trace, Usage, Verdict

BOX = r"The answer is \boxed{1}."


def _judged(
    sample_index: int = 0,
    text: str = BOX,
    reasoning: str | None = "",
    *,
    finish: FinishReason = "stop",
    is_accepted: bool | None = True,
    reasoning_tokens: int = 0,
    reason: str = "boxed 1, gold 2",
) -> JudgedTrace:
    """A trace that no rule drops, unless told otherwise."""
    own = f"work {sample_index}" if reasoning == "" else reasoning
    usage = Usage(output_tokens=9, reasoning_tokens=reasoning_tokens)
    completion = Completion(text, own, finish, usage, "lost" if finish == "error" else None)
    trace = Trace("p", sample_index, "m", completion)
    return JudgedTrace(trace, Verdict(is_accepted, reason, "answer/1"))


def _rule(name: str, **settings: Any) -> Rule:
    per_prompt = settings.pop("per_prompt", 4)
    section = FilterSection(**{"correct": "only"} | settings)
    return next(one for one in rules_of(section, None, per_prompt) if one.name == name)


def _reasons(name: str, *group: JudgedTrace, **settings: Any) -> list[str]:
    return list(_rule(name, **settings).reasons(group))


def test_rules_come_in_the_order_of_what_is_worst() -> None:
    names = [rule.name for rule in rules_of(FilterSection())]
    assert names == ["failed", "truncated", "malformed", "wrong", "duplicate", "length", "limit"]


def test_no_rule_drops_good_traces() -> None:
    group = [_judged(index) for index in range(4)]
    for rule in rules_of(FilterSection()):
        assert list(rule.reasons(group)) == [""] * 4


def test_a_failed_trace_is_dropped_with_its_error() -> None:
    assert _reasons("failed", _judged(finish="error"), _judged()) == ["failed: lost", ""]


def test_a_truncated_trace_is_dropped_with_its_length() -> None:
    reasons = _reasons("truncated", _judged(finish="length"), _judged(finish="error"))
    assert reasons == ["cut at the token limit after 9 tokens", ""]


def test_a_malformed_trace_is_dropped_with_its_fault() -> None:
    group = [_judged(reasoning=None), _judged(text="1"), _judged(text=f"<think>{BOX}")]
    assert _reasons("malformed", *group) == [
        "no reasoning",
        "no box in the answer",
        "stray <think> in the answer",
    ]
    assert _reasons("malformed", *group, needs_reasoning=False, needs_box=False)[:2] == ["", ""]


def test_only_right_traces_are_kept() -> None:
    group = [
        _judged(is_accepted=True),
        _judged(is_accepted=False),
        _judged(is_accepted=None, reason="no gold answer"),
    ]
    assert _reasons("wrong", *group) == ["", "boxed 1, gold 2", "no gold answer"]


def test_prefer_keeps_wrong_traces_of_prompts_without_a_right_one() -> None:
    right, wrong = _judged(is_accepted=True), _judged(is_accepted=False)
    assert _reasons("wrong", right, wrong, correct="prefer") == ["", "boxed 1, gold 2"]
    assert _reasons("wrong", wrong, wrong, correct="prefer") == ["", ""]


def test_label_keeps_all() -> None:
    group = [_judged(is_accepted=verdict) for verdict in (True, False, None)]
    assert _reasons("wrong", *group, correct="label") == ["", "", ""]


def test_the_same_reasoning_twice_is_kept_once_even_in_other_white_space() -> None:
    group = [
        _judged(0, reasoning="a b"),
        _judged(1, reasoning="a c"),
        _judged(2, reasoning="a\n b ", text=f"So: {BOX}"),
    ]
    assert _reasons("duplicate", *group) == ["", "", "same reasoning as p#0"]


def test_without_reasoning_the_same_answer_text_is_a_duplicate() -> None:
    group = [_judged(0, reasoning=None), _judged(1, reasoning=None)]
    assert _reasons("duplicate", *group) == ["", "same reasoning as p#0"]


@pytest.mark.parametrize(
    ("tokens", "reason"),
    [
        (9, "9 reasoning tokens, fewer than 10"),
        (10, ""),
        (20, ""),
        (21, "21 reasoning tokens, more than 20"),
        (0, ""),  # the teacher did not count: nobody knows
    ],
)
def test_reasoning_must_have_its_length(tokens: int, reason: str) -> None:
    settings = {"min_reasoning_tokens": 10, "max_reasoning_tokens": 20}
    assert _reasons("length", _judged(reasoning_tokens=tokens), **settings) == [reason]


def test_length_is_counted_with_the_students_tokenizer_where_there_is_one() -> None:
    section = FilterSection(max_reasoning_tokens=2)
    rules = rules_of(section, count_tokens=lambda text: len(text.split()))
    (rule,) = [rule for rule in rules if rule.name == "length"]
    judged = _judged(reasoning="one two three", reasoning_tokens=1)
    assert list(rule.reasons([judged])) == ["3 reasoning tokens, more than 2"]


def test_no_more_than_the_limit_is_kept() -> None:
    group = [_judged(index) for index in (2, 5, 7)]
    assert _reasons("limit", *group, per_prompt=2) == [
        "",
        "",
        "the prompt has 2 kept traces already",
    ]
