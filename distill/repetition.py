"""Repetition: how much of a trace says again what it said, and whether it is caught in a loop.

A word is a word, or a character in Chinese and Japanese. Long reasoning repeats itself for
good reasons (the problem's own words, one case after another), so the share of repeated
4-grams must be high to fail; a passage of 20 words that comes again and again is a loop.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from distill.rule_table import LOOP, REPETITION, RuleInfo
from distill.types import Check
from distill.words import split_words

SHORT: Final = 4
LONG: Final = 20
_LEAST_WORDS: Final = 40
"""Fewer words than this say nothing about repetition: a short text repeats by chance."""
_SHOWN_WORDS: Final = 8

_Run = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Repetition:
    """What was measured on a text.

    Attributes:
        share: Of its 4-grams that came before in it, in [0, 1]; 0 for a short text.
        count: How often its most frequent 20-gram comes, runs of numbers aside; 0 if it has none.
        passage: How that 20-gram begins.
    """

    share: float
    count: int
    passage: str


def check_repetition(text: str, *, threshold: float | None = None) -> Check:
    """Hold the share of repeated 4-grams against a threshold.

    Example:
        >>> check_repetition("wait let me check that again " * 20).reason
        '95 % of its 4-grams are repetitions'
    """
    share = measure(text).share
    shown = f"{share:.0%}".replace("%", " %")
    return _check(REPETITION, share, threshold, f"{shown} of its 4-grams are repetitions")


def check_loop(text: str, *, threshold: float | None = None) -> Check:
    """Hold how often the most frequent 20-gram comes against a threshold.

    Example:
        >>> text = "".join(f"word{number} " for number in range(20))
        >>> check_loop(text * 11).reason
        "20 words come 11 times: 'word0 word1 word2 word3 word4 word5 word6 word7 ...'"
    """
    found = measure(text)
    reason = f"{LONG} words come {found.count} times: '{found.passage} ...'"
    return _check(LOOP, found.count, threshold, reason)


@lru_cache(maxsize=1)
def measure(text: str) -> Repetition:
    """Measure a text; the last one is remembered, for two rules ask in a row."""
    words = split_words(text)
    runs = list(zip(words, words[1:], words[2:], words[3:], strict=False))
    numbers: dict[_Run, int] = {}
    ids = [numbers.setdefault(run, len(numbers)) for run in runs]
    share = round(1 - len(numbers) / len(ids), 4) if len(words) >= _LEAST_WORDS else 0.0
    start, count = _most_frequent(ids, list(numbers))
    return Repetition(share, count, " ".join(words[start : start + _SHOWN_WORDS]))


def _most_frequent(ids: Sequence[int], runs: Sequence[_Run]) -> tuple[int, int]:
    """Where the most frequent 20-gram that is not all numbers begins, and how often it comes.

    Args:
        ids: Numbers of the text's 4-grams, in its order: five side by side are a 20-gram.
        runs: The distinct 4-grams.
    """
    if len(ids) <= LONG - SHORT:
        return 0, 0
    if len(ids) - len(runs) <= LONG - SHORT:  # a 20-gram that comes twice repeats 17 of them
        return 0, 1
    long_runs = list(zip(*(ids[start:] for start in range(0, LONG, SHORT)), strict=False))
    for run, count in Counter(long_runs).most_common():
        if not all(word.isdigit() for one in run for word in runs[one]):  # a table is no loop
            return long_runs.index(run), count
    return 0, 0


def _check(rule: RuleInfo, value: float, threshold: float | None, reason: str) -> Check:
    limit = threshold if threshold is not None else rule.default or 0.0
    is_ok = value <= limit
    return Check(rule.name, rule.version, value, limit, ok=is_ok, reason="" if is_ok else reason)
