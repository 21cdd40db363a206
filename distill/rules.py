"""The rules of the filter on one trace, in order, as a recipe wants them.

Each measures and gives a ``Check``; which failed check drops a trace is decided in
``distill.filter_group``. Rules are pure: they know no files and no models. The rules themselves and
their defaults stand elsewhere (``distill.rule_table``); here are those about boxes, correctness
and choice, which need a recipe or the other traces of a prompt.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from distill import rule_table
from distill.checks import (
    check_agreement,
    check_code_syntax,
    check_finished,
    check_length,
    label_code_in_reasoning,
    label_long_paragraph,
)
from distill.decontam import BenchmarkIndex
from distill.filter_sections import FilterSection
from distill.language import check_language
from distill.repetition import check_loop, check_repetition
from distill.rule_table import RuleInfo
from distill.trace_files import Candidate
from distill.types import Check, Completion
from distill.verify.form import structure_fault

TokenCounter = Callable[[str], int]

BOXED: Final = RuleInfo(
    "boxed",
    1,
    None,
    "own choice: a student must learn one place for its answer",
    "the answer part has exactly one box; asked where answers are verified",
)
CORRECT: Final = RuleInfo(
    "correct",
    1,
    None,
    "prefer: dropping all wrong traces drops the hard problems (OpenThoughts3, OpenCodeReasoning)",
    "the verifier accepts it; with prefer, or no other whole trace of the prompt is right",
)
PASS_RATE: Final = RuleInfo(
    "pass_rate",
    1,
    None,
    "s1 and DED drop what is too easy; no limit unless the recipe sets one",
    "share of the prompt's traces that are right lies in the band that the recipe sets",
)
LIMIT: Final = RuleInfo(
    "limit",
    1,
    4,
    "DED (arXiv 2508.09883): several traces far apart; more prompts beat more traces (AceReason)",
    "among the traces of its prompt that are trained on",
)
SHARE: Final = RuleInfo(
    "share",
    1,
    None,
    "as DeepSeek-R1's 600k reasoning to 200k general examples",
    "drawn by the seed so that sources have their shares of tokens",
)
CHOICES: Final = (PASS_RATE, LIMIT, SHARE)
"""They drop good traces because others are wanted."""

_BEFORE: Final = (rule_table.DUPLICATE, rule_table.NEAR_DUPLICATE)
FAULTS: Final = tuple(
    rule
    for rule in (
        rule_table.FINISHED,
        BOXED,
        *(rule for rule in rule_table.RULES if rule not in (rule_table.FINISHED, *_BEFORE)),
        CORRECT,
        *_BEFORE,
    )
    if not rule.is_label
)
"""They find fault, in this order."""
LABELS: Final = tuple(rule for rule in rule_table.RULES if rule.is_label)
ALL_RULES: Final = (*FAULTS, *CHOICES, *LABELS)
FUNNEL: Final = tuple(rule.name for rule in (*FAULTS, *CHOICES))
"""Names of all rules that can drop a trace, in order."""
IS_CHOICE: Final = frozenset(rule.name for rule in CHOICES)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule that is asked about every trace.

    Attributes:
        name: Its name.
        check: What it finds.
    """

    name: str
    check: Callable[[Candidate], Check]


def trace_rules(
    section: FilterSection,
    *,
    needs_box: bool,
    count_tokens: TokenCounter | None = None,
    benchmarks: BenchmarkIndex | None = None,
) -> tuple[Rule, ...]:
    """The rules that look at one trace alone, in order; labels come last.

    Args:
        section: The recipe's section.
        needs_box: Whether an answer without exactly one box is a fault.
        count_tokens: Tokens of a text by the student's tokenizer; without it the length of
            reasoning is what the teacher counted, and unknown lengths pass.
        benchmarks: Questions that prompts must not hold.
    """
    counter = count_tokens if _limits_length(section) else None
    rules = [
        Rule(
            "finished",
            lambda one: check_finished(
                one.trace.completion, needs_reasoning=section.needs_reasoning
            ),
        ),
        Rule("boxed", lambda one: _boxed(one.trace.completion, section)),
        Rule("length", lambda one: _length(one.trace.completion, section, counter)),
        Rule(
            "language",
            lambda one: check_language(
                whole_text(one), one.prompt.text, threshold=section.language
            ),
        ),
        Rule(
            "repetition",
            lambda one: check_repetition(whole_text(one), threshold=section.repetition),
        ),
        Rule("loop", lambda one: check_loop(whole_text(one), threshold=section.loop)),
        Rule("agreement", lambda one: check_agreement(one.trace.completion)),
        Rule(
            "code_syntax",
            lambda one: check_code_syntax(one.trace.completion, threshold=section.code_syntax),
        ),
        Rule("long_paragraph", lambda one: label_long_paragraph(one.trace.completion)),
        Rule("code_in_reasoning", lambda one: label_code_in_reasoning(one.trace.completion)),
    ]
    if benchmarks is not None:
        found = _Remembered(benchmarks)
        rules.insert(-len(LABELS), Rule("contamination", lambda one: found(one.prompt.text)))
    off = {*section.off, *(() if needs_box and section.needs_box else ("boxed",))}
    return tuple(rule for rule in rules if rule.name not in off)


def whole_text(candidate: Candidate) -> str:
    """Reasoning and answer."""
    completion = candidate.trace.completion
    if completion.reasoning is None:
        return completion.text
    return f"{completion.reasoning}\n\n{completion.text}"


def compared_text(completion: Completion) -> str:
    """What duplicates are told by: the reasoning, or the answer if there is none."""
    return completion.text if completion.reasoning is None else completion.reasoning


def dropping_rules(section: FilterSection, asked: Sequence[str]) -> frozenset[str]:
    """Names of the rules whose failed checks drop a trace."""
    faults = {*asked, "correct", "duplicate", "near_duplicate"} - {rule.name for rule in LABELS}
    return frozenset(faults - {*section.off, *section.label_only}) | IS_CHOICE


class _Remembered:
    """The finding on the last prompt, for its traces come in a row."""

    def __init__(self, benchmarks: BenchmarkIndex) -> None:
        self._benchmarks = benchmarks
        self._last: tuple[str, Check] | None = None

    def __call__(self, text: str) -> Check:
        if self._last is None or self._last[0] != text:
            self._last = text, self._benchmarks.check(text)
        return self._last[1]


def _limits_length(section: FilterSection) -> bool:
    return section.min_reasoning_tokens > 0 or section.max_reasoning_tokens is not None


def _length(
    completion: Completion, section: FilterSection, count_tokens: TokenCounter | None
) -> Check:
    """The teacher's count stands in where the student's tokenizer is not known."""
    tokens = completion.usage.reasoning_tokens
    if count_tokens is None and (not tokens or not _limits_length(section)):
        rule, known = rule_table.LENGTH, tokens or None
        return Check(rule.name, rule.version, known, section.max_reasoning_tokens, ok=True)
    return check_length(
        completion,
        count_tokens or (lambda text: tokens),
        least=section.min_reasoning_tokens,
        most=section.max_reasoning_tokens,
    )


def _boxed(completion: Completion, section: FilterSection) -> Check:
    """Other faults of structure are those of ``finished``."""
    fault = ""
    if completion.finish == "stop":
        without = structure_fault(
            completion, needs_reasoning=section.needs_reasoning, needs_box=False
        )
        fault = (
            ""
            if without
            else structure_fault(
                completion, needs_reasoning=section.needs_reasoning, needs_box=True
            )
        )
    return Check(BOXED.name, BOXED.version, None, None, ok=not fault, reason=fault)
