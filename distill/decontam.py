"""Decontamination: prompts that hold a benchmark's question must not be trained on.

Questions and prompts are compared as runs of eight words, in lower case, without punctuation and
with every number masked, so that a question with other numbers in it is found too. A character of
Chinese or Japanese counts as half a word.

One run in common is often a phrase (*what is the sum of the first 10*), so a prompt must hold
two fifths of a question's runs, or twenty words of it in a row. Runs that five different
questions share are phrases of the benchmark and do not count.

A question of fewer than eight words must be there whole, as sentences of its own: masked if it has
at least four words beside numbers, and else (*Compute 17 + 25*) with its numbers and signs.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from distill.function_words import NUMERALS
from distill.rule_table import CONTAMINATION
from distill.types import Check
from distill.words import SPACELESS, split_words

RUN_WORDS: Final = 8
ROW_WORDS: Final = 20
"""Thirteen, as is often used, is the beginning of many tasks: *Write a Python function that takes a
list of integers and returns the* ...: 7 false of 132 (``benchmarks/decontam.py``)."""
PHRASE_QUESTIONS: Final = 5
"""A run that so many different questions share is a phrase."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question that students will be measured by.

    Attributes:
        benchmark: Its benchmark or file, such as ``"aime24.jsonl"``.
        item: Its id there.
        text: The question.
    """

    benchmark: str
    item: str
    text: str


@dataclass(frozen=True, slots=True)
class Overlap:
    """What a prompt and a question have in common.

    Attributes:
        question: The question.
        share: Of its runs that the prompt holds, in (0, 1].
        words: The longest stretch in common, numbers as ``0``.
    """

    question: Question
    share: float
    words: str


class BenchmarkIndex:
    """Finds questions of benchmarks in prompts.

    Example:
        >>> text = "Tom has 3 red hats and buys 4 more. How many hats has he now?"
        >>> index = BenchmarkIndex([Question("gsm.jsonl", "line-7", text)])
        >>> index.find("Solve: " + text.replace("3", "15")).question.item
        'line-7'
    """

    def __init__(
        self, questions: Iterable[Question], *, threshold: float = CONTAMINATION.default or 0.0
    ) -> None:
        """Read the questions.

        Args:
            questions: Of all benchmarks; of those that are equal but for numbers, the first is
                named.
            threshold: Share of a question's runs from which a prompt holds it; 0 for any one run.
        """
        self._threshold = threshold
        self._questions: list[Question] = []
        self._run_counts: list[int] = []
        self._of_run: dict[_Run, list[int]] = {}
        self._short: dict[str, int] = {}
        self._read(questions)

    def __len__(self) -> int:
        """How many different questions there are."""
        return len(self._questions)

    def find(self, text: str) -> Overlap | None:
        """The question that a prompt holds most of; ``None`` if it holds none."""
        words = _masked_words(text)
        hits = [_Hit(at, run) for at, run in enumerate(_runs(words)) if run in self._of_run]
        found = self._longest(words, hits) if hits else None
        return found or self._find_short(text)

    def check(self, text: str) -> Check:
        """The finding on one prompt as a check of each of its traces."""
        rule, found = CONTAMINATION, self.find(text)
        if found is None:
            return Check(rule.name, rule.version, 0.0, self._threshold, ok=True)
        one = found.question
        reason = f"holds {one.item} of {one.benchmark}: '{_shown(found.words)}'"
        value = round(found.share, 4)
        return Check(rule.name, rule.version, value, self._threshold, ok=False, reason=reason)

    def _read(self, questions: Iterable[Question]) -> None:
        seen: set[tuple[str, ...]] = set()
        runs_of: list[list[_Run]] = []
        for question in questions:
            words = _masked_words(question.text)
            runs = list(dict.fromkeys(_runs(words)))
            if not runs:
                for key in _short_keys(question.text):
                    self._short.setdefault(key, len(self._questions))
            elif tuple(words) in seen:
                continue
            seen.add(tuple(words))
            self._questions.append(question)
            runs_of.append(runs)
        common = Counter(run for runs in runs_of for run in runs)
        for number, runs in enumerate(runs_of):
            own = [run for run in runs if common[run] < PHRASE_QUESTIONS]
            kept = own or runs  # all phrases: then their sum is what makes the question
            self._run_counts.append(len(kept))
            for run in kept:
                self._of_run.setdefault(run, []).append(number)

    def _longest(self, words: Sequence[str], hits: Sequence["_Hit"]) -> Overlap | None:
        hits_of: dict[int, list[_Hit]] = {}
        for hit in hits:
            for number in self._of_run[hit.run]:
                hits_of.setdefault(number, []).append(hit)
        best: Overlap | None = None
        for number in sorted(hits_of):
            own = hits_of[number]
            share = len({hit.run for hit in own}) / self._run_counts[number]
            row = _longest_row(words, own)
            is_found = share >= self._threshold or _weight(row) >= ROW_WORDS
            if is_found and (best is None or share > best.share):
                best = Overlap(self._questions[number], share, " ".join(row))
        return best

    def _find_short(self, text: str) -> Overlap | None:
        if not self._short:
            return None
        for key in _sentence_keys(text):
            if key in self._short:
                return Overlap(self._questions[self._short[key]], 1.0, key)
        return None


_Run = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Hit:
    """A run of a prompt that a question has too, and at which word it begins."""

    start: int
    run: _Run


_SHOWN_LENGTH: Final = 80
_LEAST_PLAIN_WORDS: Final = 4
_LEAST_SIGNS: Final = 3
_MOST_SENTENCES: Final = 3
"""Sentences that a question of fewer than eight words can have."""
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_CHARACTER = re.compile(f"[{SPACELESS}]")
_SENTENCE_END = re.compile(r"(?<=[.!?:])\s+|\n+|(?<=[\u3002\uff01\uff1f\uff1a])")
_EXACT = re.compile(r"[^\W_]+|[-+*/^=<>!%]")


def _masked_words(text: str) -> list[str]:
    """Words of a text with ``0`` for each number, in digits or as a word."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    words = split_words(_NUMBER.sub("0", text))
    return ["0" if word in NUMERALS else word for word in words]


def _runs(words: Sequence[str]) -> list[_Run]:
    """Runs of eight words; of as many more as it takes where characters are half words."""
    if not _CHARACTER.search(" ".join(words)):
        return list(zip(*(words[start:] for start in range(RUN_WORDS)), strict=False))
    runs: list[_Run] = []
    end, weight = 0, 0.0
    for start in range(len(words)):
        while weight < RUN_WORDS and end < len(words):
            weight += _weight([words[end]])
            end += 1
        if weight < RUN_WORDS:
            break
        runs.append(tuple(words[start:end]))
        weight -= _weight([words[start]])
    return runs


def _weight(words: Sequence[str]) -> float:
    return sum(0.5 if _CHARACTER.match(word) else 1.0 for word in words)


def _longest_row(words: Sequence[str], hits: Sequence[_Hit]) -> Sequence[str]:
    """The words of the longest row of runs that begin one after the other."""
    longest: Sequence[str] = ()
    begin = hits[0].start
    for hit, following in zip(hits, [*hits[1:], None], strict=True):
        if following is None or following.start != hit.start + 1:
            row = words[begin : hit.start + len(hit.run)]
            longest = row if len(row) > len(longest) else longest
            begin = following.start if following else 0
    return longest


def _short_keys(text: str) -> Iterator[str]:
    """What a short question is found by: its masked words, or its words and signs as they are."""
    words = _masked_words(text)
    if _weight([word for word in words if word != "0"]) >= _LEAST_PLAIN_WORDS:
        yield " ".join(words)
    elif len(_EXACT.findall(text)) >= _LEAST_SIGNS:
        yield _exact_key(text)


def _exact_key(text: str) -> str:
    return "= " + " ".join(_EXACT.findall(text.lower()))


def _sentence_keys(text: str) -> Iterator[str]:
    """The keys of up to three sentences in a row that together are shorter than a run."""
    sentences = [one for one in _SENTENCE_END.split(text) if one and not one.isspace()]
    for start in range(len(sentences)):
        for end in range(start + 1, min(start + _MOST_SENTENCES, len(sentences)) + 1):
            part = " ".join(sentences[start:end])
            words = _masked_words(part)
            if _weight(words) >= RUN_WORDS:
                break
            yield " ".join(words)
            yield _exact_key(part)


def _shown(words: str) -> str:
    return words if len(words) <= _SHOWN_LENGTH else f"{words[:_SHOWN_LENGTH]}..."
