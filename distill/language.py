"""Mixed language: sentences of a trace that are in another language than its prompt.

Languages with a script of their own are told by it, those in Latin letters by function words,
sentence by sentence: whole-text detectors find nothing where one sentence in twenty is foreign.
Formulas, code, names and LaTeX are written in Latin letters everywhere and are never foreign.

Work is done on bytes, for most texts without looking at single sentences: a foreign sentence
needs some words that only its language has, and few texts hold them anywhere.
"""

import re
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from distill.function_words import AMBIGUOUS, CODE_WORDS, NAMES, PARTICLES, WORDS
from distill.rule_table import LANGUAGE
from distill.scripts import foreign_script, script_language
from distill.types import Check


@dataclass(frozen=True, slots=True)
class ForeignSentence:
    """A sentence in another language, as it stands in the text."""

    language: str
    text: str


def check_language(
    text: str, prompt: str, *, target: str | None = None, threshold: float | None = None
) -> Check:
    """Hold the share of foreign sentences against a threshold.

    Args:
        text: Of a trace; reasoning and answer.
        prompt: Sets the languages that are allowed: its own, and those of any foreign sentences
            in it, as a problem about translation has.
        target: The one language that is allowed instead, such as ``"en"``.
        threshold: Share of bytes in foreign sentences that still passes.

    Example:
        >>> text = "We add. Das ist aber nicht richtig. So it is 4."
        >>> check_language(text, "What is 2 + 2?").reason
        "55 % is not in the prompt's English but in German: 'Das ist aber nicht richtig'"
    """
    limit = LANGUAGE.default or 0.0 if threshold is None else threshold
    allowed = frozenset({target}) if target else prompt_languages(prompt)
    if not allowed and (own := language_of(text)):
        allowed = frozenset({own})
    found = foreign_sentences(text, allowed)
    share = _share(text, found) if found else 0.0
    is_ok = share <= limit
    return Check(
        LANGUAGE.name,
        LANGUAGE.version,
        round(share, 4),
        limit,
        ok=is_ok,
        reason="" if is_ok else _reason(share, allowed, found[0]),
    )


def language_of(text: str) -> str | None:
    """The language that most of a text is in, such as ``"en"``; ``None`` if nothing tells.

    Example:
        >>> [language_of(text) for text in ("Wie viele sind es?", "答案是42", "정답은 42", "2 + 2")]
        ['de', 'zh', 'ko', None]
    """
    if not text.isascii() and (language := script_language(text)):
        return language
    words = _word_set(_fold(text))
    counts = sorted(
        ((len(words & own), language) for language, own in _ALL_WORDS.items()), reverse=True
    )
    (most, language), (second, _) = counts[:2]
    return language if most > second else None


@lru_cache(maxsize=1024)
def prompt_languages(prompt: str) -> frozenset[str]:
    """The language of a prompt and those of foreign sentences in it; empty if nothing tells."""
    own = language_of(prompt)
    if own is None:
        return frozenset()
    found = foreign_sentences(prompt, frozenset({own}))
    return frozenset({own, *(sentence.language for sentence in found)})


def foreign_sentences(text: str, allowed: frozenset[str]) -> list[ForeignSentence]:
    """The sentences of a text that are in none of the allowed languages, in no special order.

    Args:
        text: Code in backticks is passed over.
        allowed: Language codes; if empty, only other scripts than Latin are foreign.
    """
    text = _without_code(text)
    found = [] if text.isascii() else list(map(_sentence, foreign_script(text, allowed)))
    if not allowed:
        return found
    if allowed & _ALL_WORDS.keys():
        return found + list(_foreign_latin(text, allowed))
    return found + list(_latin_runs(text))


_SHOWN_LENGTH: Final = 60
_LEAST_WORDS: Final = 3
_STRONG_EVIDENCE: Final = 2
_WEAK_EVIDENCE: Final = 3
_LEAST_SHARE: Final = 0.25
_LEAST_LEAD: Final = 1.5

_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
_SIGNS: Final = {
    b"\xe2\x80": tuple(map(str.encode, "\u201c\u201e\u2014")),
    b"\xc2": tuple(map(str.encode, "\xab\xbf\xa1\xa0")),
}
"""Quotes, dashes and the like before a word, which would stick to it, by their first bytes."""
_LATIN_RUN = re.compile(r"(?<![\\A-Za-z])[A-Za-zÀ-ɏ]+(?:['\u2019 ,]{1,3}[A-Za-zÀ-ɏ]+){3,}")

_ENDS: Final = b".!?:;\n"
_SIGN_LEADS: Final = b"\xc2\xe2"
"""First bytes of signs, never of letters: the word before a sign ends there."""


def _folded(byte: int) -> int:
    if byte in _ENDS:
        return ord("\n")
    if byte in _SIGN_LEADS:
        return ord(" ")
    if byte < ord("\x80") and byte != ord("\\"):  # LaTeX's "\sin" is a word of its own, not "sin"
        return ord(chr(byte).lower()) if chr(byte).isalpha() else ord(" ")
    return byte


_FOLD: Final = bytes(map(_folded, range(256)))


def _encoded(words: frozenset[str]) -> frozenset[bytes]:
    return frozenset(word.encode() for word in words)


_ALL_WORDS: Final = {language: _encoded(words) for language, words in WORDS.items()}
_WEAK: Final = _encoded(AMBIGUOUS | PARTICLES | WORDS["en"])
_WEAK_ENGLISH: Final = _encoded(AMBIGUOUS | PARTICLES | CODE_WORDS)


@dataclass(frozen=True, slots=True)
class _Evidence:
    """Words that speak for one language and for no allowed one; the strong ones among them."""

    language: str
    words: frozenset[bytes]
    strong: frozenset[bytes]

    def is_enough(self, found: Set[bytes]) -> bool:
        """Two strong words, or a strong one and two others."""
        strong = len(found & self.strong)
        return strong >= _STRONG_EVIDENCE or (
            strong > 0 and len(found & self.words) >= _WEAK_EVIDENCE
        )


@dataclass(frozen=True, slots=True)
class _Judge:
    """What speaks for each language that is not allowed, and for the allowed ones."""

    evidence: tuple[_Evidence, ...]
    strong: frozenset[bytes]
    own: tuple[frozenset[bytes], ...]

    def suspects(self, words: Set[bytes]) -> list[_Evidence]:
        """What speaks for the languages that a text may hold sentences of, by all its words."""
        if self.strong.isdisjoint(words):
            return []
        return [one for one in self.evidence if one.is_enough(words)]

    def language_of(self, words: list[bytes], suspects: Iterable[_Evidence]) -> str | None:
        """The foreign language of a sentence, if its words make that clear."""
        if len(words) < _LEAST_WORDS:
            return None
        distinct = set(words)
        counts = [
            (_count(words, _ALL_WORDS[one.language]), one.language)
            for one in suspects
            if one.is_enough(distinct)
        ]
        if not counts:
            return None
        most, language = max(counts)
        own = max((_count(words, one) for one in self.own), default=0)
        is_clear = most >= _LEAST_SHARE * len(words) and most >= _LEAST_LEAD * own
        return language if is_clear else None


@lru_cache(maxsize=256)
def _judge(allowed: frozenset[str]) -> _Judge:
    own = tuple(_ALL_WORDS[one] for one in sorted(allowed) if one in _ALL_WORDS)
    owned = frozenset[bytes]().union(*own)
    evidence = tuple(
        _Evidence(
            language, words - owned, words - owned - (_WEAK_ENGLISH if language == "en" else _WEAK)
        )
        for language, words in _ALL_WORDS.items()
        if language not in allowed
    )
    return _Judge(evidence, frozenset[bytes]().union(*(one.strong for one in evidence)), own)


def _count(words: list[bytes], some: frozenset[bytes]) -> int:
    return sum(word in some for word in words)


def _share(text: str, found: Sequence[ForeignSentence]) -> float:
    foreign = sum(_bytes(one.text) for one in found)
    return min(1.0, foreign / _bytes(_without_code(text).strip()))


def _bytes(text: str) -> int:
    """Size of a text; a Chinese character has three bytes and says as much as three letters."""
    return len(text.encode("utf-8", "surrogatepass"))


def _sentence(found: tuple[str, str]) -> ForeignSentence:
    return ForeignSentence(*found)


def _without_code(text: str) -> str:
    return _CODE.sub(" ", text) if "`" in text else text


def _fold(text: str) -> bytes:
    """Lower-case words between spaces, sentences between line breaks, every byte in its place."""
    data = text.encode("utf-8", "surrogatepass")
    if len(data) != len(text):
        for lead, signs in _SIGNS.items():
            if lead in data:
                for sign in signs:
                    data = data.replace(sign, b" " * len(sign))
    return data.translate(_FOLD)


def _word_set(folded: bytes) -> set[bytes]:
    return set(folded.split())


def _foreign_latin(text: str, allowed: frozenset[str]) -> Iterator[ForeignSentence]:
    """Foreign sentences in Latin letters within a text in Latin letters."""
    judge = _judge(allowed)
    sentences = _fold(text).split(b"\n")
    words_of = [sentence.split() for sentence in sentences]
    words = set[bytes]().union(*words_of)
    suspects = judge.suspects(words)
    if not suspects:
        return
    strong = words & judge.strong
    encoded = text.encode("utf-8", "surrogatepass")
    start = 0
    for sentence, here in zip(sentences, words_of, strict=True):
        if not strong.isdisjoint(here) and (language := judge.language_of(here, suspects)):
            shown = encoded[start : start + len(sentence)].decode("utf-8", "replace").strip()
            yield ForeignSentence(language, shown)
        start += len(sentence) + 1


def _latin_runs(text: str) -> Iterator[ForeignSentence]:
    """Sentences in Latin letters within a text in another script: four words in a row or more."""
    judge = _judge(frozenset())
    for run in _LATIN_RUN.finditer(text):
        if language := judge.language_of(_fold(run[0]).split(), judge.evidence):
            yield ForeignSentence(language, run[0])


def _reason(share: float, allowed: frozenset[str], first: ForeignSentence) -> str:
    text = " ".join(first.text.split())
    shown = text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}..."
    own = " or ".join(NAMES.get(one, one) for one in sorted(allowed)) or "language"
    foreign = NAMES[first.language]
    return f"{100 * share:.2g} % is not in the prompt's {own} but in {foreign}: '{shown}'"
