"""The rules of the filter: reasons why a trace must not teach.

A rule looks at the traces of one prompt that are still left and says for each why it must go, or
``""``. Rules are pure and are asked in order, so every dropped trace has one first reason.

This module knows no files and no models.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from distill.filter_sections import FilterSection
from distill.types import FinishReason, JudgedTrace
from distill.verify.form import structure_fault, unfinished_fault

Group = Sequence[JudgedTrace]
TokenCounter = Callable[[str], int]


@dataclass(frozen=True, slots=True)
class Rule:
    """A reason to drop traces.

    Attributes:
        name: Names the rule in the funnel and on dropped traces.
        reasons: For the traces of one prompt: why each must go, ``""`` to keep it.
        is_choice: Whether it drops good traces, because others like them are kept.
    """

    name: str
    reasons: Callable[[Group], Sequence[str]]
    is_choice: bool = False


def rules_of(
    section: FilterSection, count_tokens: TokenCounter | None = None, per_prompt: int = 4
) -> tuple[Rule, ...]:
    """The rules that a recipe asks for, in order.

    Args:
        section: The recipe's section.
        count_tokens: Tokens of a text by the student's tokenizer; without it, the length of
            reasoning is what the teacher counted, and unknown lengths pass.
        per_prompt: Traces of one prompt that are kept at most.
    """

    def structure(judged: JudgedTrace) -> str:
        return structure_fault(
            judged.trace.completion,
            needs_reasoning=section.needs_reasoning,
            needs_box=section.needs_box,
        )

    def length(judged: JudgedTrace) -> str:
        tokens = _reasoning_tokens(judged, count_tokens)
        least, most = section.min_reasoning_tokens, section.max_reasoning_tokens
        if tokens is None:
            return ""
        if tokens < least:
            return f"{tokens} reasoning tokens, fewer than {least}"
        if most is not None and tokens > most:
            return f"{tokens} reasoning tokens, more than {most}"
        return ""

    correct = {"only": _each(_wrong), "prefer": _prefer_right, "label": _each(lambda judged: "")}
    return (
        Rule("failed", _each(lambda judged: _unfinished(judged, "error"))),
        Rule("truncated", _each(lambda judged: _unfinished(judged, "length"))),
        Rule("malformed", _each(structure)),
        Rule("wrong", correct[section.correct]),
        Rule("duplicate", _duplicates, is_choice=True),
        Rule("length", _each(length)),
        Rule("limit", lambda group: _over_limit(group, per_prompt), is_choice=True),
    )


def _each(reason: Callable[[JudgedTrace], str]) -> Callable[[Group], Sequence[str]]:
    """A rule that looks at one trace at a time."""
    return lambda group: [reason(judged) for judged in group]


def _unfinished(judged: JudgedTrace, finish: FinishReason) -> str:
    completion = judged.trace.completion
    return unfinished_fault(completion) if completion.finish == finish else ""


def _wrong(judged: JudgedTrace) -> str:
    if judged.verdict.is_accepted:
        return ""
    return judged.verdict.reason or "not accepted by the verifier"


def _prefer_right(group: Group) -> Sequence[str]:
    """Wrong traces go only where the prompt has a right one: hard prompts stay."""
    has_right = any(judged.verdict.is_accepted for judged in group)
    return [_wrong(judged) if has_right else "" for judged in group]


def _reasoning_tokens(judged: JudgedTrace, count_tokens: TokenCounter | None) -> int | None:
    completion = judged.trace.completion
    if not completion.reasoning:
        return 0
    if count_tokens is not None:
        return count_tokens(completion.reasoning)
    return completion.usage.reasoning_tokens or None


def _duplicates(group: Group) -> Sequence[str]:
    """All but the first of the traces whose reasoning is the same but for white space."""
    first: dict[str, str] = {}
    reasons = []
    for judged in group:
        completion = judged.trace.completion
        text = completion.text if completion.reasoning is None else completion.reasoning
        earlier = first.setdefault(" ".join(text.split()), judged.trace.id)
        reasons.append("" if earlier == judged.trace.id else f"same reasoning as {earlier}")
    return reasons


def _over_limit(group: Group, limit: int) -> Sequence[str]:
    """All but the first ``limit`` samples: samples of one prompt are alike, so the first do."""
    return [
        "" if place < limit else f"the prompt has {limit} kept traces already"
        for place in range(len(group))
    ]
