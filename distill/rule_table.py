"""What the filter can measure on a trace: each rule's name, version, default and source.

The one place for the defaults. The rules themselves stand in ``distill.checks``,
``distill.language``, ``distill.repetition``, ``distill.decontam`` and ``distill.dedup``.

This module imports nothing heavy and knows no traces.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class RuleInfo:
    """One rule, as ``distill filters`` shows it.

    Attributes:
        name: What a ``Check`` calls itself.
        version: Raised when the rule could find otherwise on the same trace.
        default: What the measure is held against; ``None`` if nothing is set or it is a label.
        source: Where the rule or its number comes from.
        meaning: What passes, in one line.
        is_label: Whether it only measures and never fails.
    """

    name: str
    version: int
    default: float | None
    source: str
    meaning: str
    is_label: bool = False


FINISHED: Final = RuleInfo(
    "finished",
    1,
    None,
    "structure must be whole: shuffled steps cost 13 points, wrong answers 3 (Sky-T1 study)",
    "came to its own end, think tags whole and in order, answer not empty",
)
LENGTH: Final = RuleInfo(
    "length",
    1,
    None,
    "whatever the student's context holds; no limit unless the recipe sets one",
    "reasoning tokens, by the given counter, lie between the two limits",
)
LANGUAGE: Final = RuleInfo(
    "language",
    1,
    0.005,
    "DeepSeek-R1 drops mixed language; whole-text detectors miss 2-10 %, so sentences are judged",
    "at most this share of the bytes stands in sentences of another language than the prompt's",
)
REPETITION: Final = RuleInfo(
    "repetition",
    1,
    0.7,
    "own choice: long reasoning repeats up to half of its 4-grams, a loop nearly all",
    "at most this share of the 4-grams (words; characters in Chinese and Japanese) is a repetition",
)
LOOP: Final = RuleInfo(
    "loop",
    1,
    10,
    "AM-Thinking (arXiv 2505.14464) drops a 20-gram that comes more than 20 times; stricter here",
    "no passage of 20 words (characters in Chinese and Japanese) comes more often than this",
)
AGREEMENT: Final = RuleInfo(
    "agreement",
    1,
    None,
    "own choice: an answer that its reasoning does not reach teaches guessing",
    "the last result of the reasoning is the answer; passes where either cannot be read",
)
CODE_SYNTAX: Final = RuleInfo(
    "code_syntax",
    1,
    0,
    "own choice: tests need a program that parses",
    "at most this many Python blocks of the answer do not parse",
)
CONTAMINATION: Final = RuleInfo(
    "contamination",
    1,
    0.4,
    "8 words, digits masked, punctuation dropped: 12 of 12 number-changed questions found, 0 of "
    "132 others; any one run in common would call 88 of these (benchmarks/decontam.py)",
    "the prompt holds less than this share of a benchmark question's 8-word runs, and no 20 words "
    "of one in a row",
)
DUPLICATE: Final = RuleInfo(
    "duplicate",
    1,
    None,
    "own choice: the same text twice teaches nothing new",
    "no earlier trace has the same reasoning but for white space",
)
NEAR_DUPLICATE: Final = RuleInfo(
    "near_duplicate",
    1,
    0.8,
    "Lee et al. 2022 (arXiv 2107.06499): Jaccard similarity 0.8 of 5-word runs",
    "no earlier kept trace is at least this similar",
)
LONG_PARAGRAPH: Final = RuleInfo(
    "long_paragraph",
    1,
    None,
    "DeepSeek-R1 drops long paragraphs and prints no ablation, so this only measures",
    "characters of the reasoning's longest paragraph",
    is_label=True,
)
CODE_IN_REASONING: Final = RuleInfo(
    "code_in_reasoning",
    1,
    None,
    "DeepSeek-R1 drops code blocks and prints no ablation, so this only measures",
    "code blocks in the reasoning",
    is_label=True,
)

RULES: Final = (
    FINISHED,
    LENGTH,
    LANGUAGE,
    REPETITION,
    LOOP,
    AGREEMENT,
    CODE_SYNTAX,
    CONTAMINATION,
    DUPLICATE,
    NEAR_DUPLICATE,
    LONG_PARAGRAPH,
    CODE_IN_REASONING,
)
"""All rules, in the order in which a trace meets them."""
