"""Scripts: which language a text in other letters than Latin is in, and what does not belong.

A run of two Chinese characters is a word; one alone may be a name for a thing (``中`` as a
label), as a Greek or Hebrew letter is in maths. Greek is never foreign.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_LETTERS: Final = {
    "zh": ("\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff", 2),
    "ja": ("\u3041-\u3096\u30a1-\u30fa", 2),
    "ko": ("\uac00-\ud7a3", 2),
    "ru": ("\u0400-\u052f", 3),
    "ar": ("\u0620-\u064a", 2),
    "he": ("\u05d0-\u05ea", 2),
    "hi": ("\u0904-\u0939", 2),
    "th": ("\u0e01-\u0e4e", 2),
}
"""Letters of each language, and how many of them make a word."""
_ENDS: Final = ".!?\u3002\uff01\uff1f\n"
_SENTENCE = re.compile(f"[^{_ENDS}]+")
_GLOSS = re.compile("[(\uff08][\u4e00-\u9fff]+[)\uff09]")
_KANA = re.compile("[\u3041-\u3096\u30a1-\u30fa]")
_KANA_BYTES = re.compile(rb"\xe3[\x81-\x83]")
_CHINESE_ONLY: Final = frozenset(
    "这们么吗个说对为没还让从过时间问题应该设则给两样边长证结论样页验错误实际关系变满减组"
    "們麼嗎個這沒還讓給呢吧啊哪您她它"
)
"""Characters that Japanese does not write, or not so."""
_CHINESE_COMMON: Final = frozenset("的是在了我把和就也不所可因以此得由令用")
"""Characters that Chinese needs in every sentence; Japanese has them too, but rarely two."""

_LEAD_BYTES: Final = (
    ("zh", bytes(range(0xE4, 0xEA))),
    ("ko", bytes(range(0xEA, 0xEE))),
    ("ru", bytes(range(0xD0, 0xD5))),
    ("he", b"\xd6\xd7"),
    ("ar", bytes(range(0xD8, 0xDC))),
)
_LATIN_BYTES: Final = bytes(range(ord("A"), ord("Z") + 1)) + bytes(range(ord("a"), ord("z") + 1))
_THREE_LETTERS: Final = ("zh", "ja", "ko")
"""Languages in which a character says about as much as three Latin letters."""
_LEAST_PART: Final = 0.5
_LEAST_KANA: Final = 0.1
_LEAST_COMMON: Final = 2


def script_language(text: str) -> str | None:
    """The language of a text that is mainly in letters of its own; ``None`` for Latin letters.

    Formulas and LaTeX are in Latin letters: a script is the main one from half as much as those.

    Example:
        >>> script_language("設 x 為未知數"), script_language("Ответ: 42"), script_language("café")
        ('zh', 'ru', None)
    """
    data = text.encode("utf-8", "surrogatepass")
    counts = {language: _count(data, leads) for language, leads in _LEAD_BYTES}
    kana = len(_KANA_BYTES.findall(data))
    if kana > _LEAST_KANA * (kana + counts["zh"]):
        counts["ja"] = kana + counts.pop("zh")
    counts |= _indic(text) if b"\xe0" in data else {}
    weights = {one: count * (3 if one in _THREE_LETTERS else 1) for one, count in counts.items()}
    language = max(weights, key=lambda one: weights[one])
    latin = _count(data, _LATIN_BYTES)
    return language if weights[language] > _LEAST_PART * latin else None


def foreign_script(text: str, allowed: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Language and text of each sentence that holds words in a script that is not allowed."""
    if "ko" in allowed and "zh" not in allowed:
        text = _GLOSS.sub("", text)
    if "ja" in allowed and "zh" not in allowed:
        yield from (("zh", one.strip()) for one in _SENTENCE.findall(text) if _is_chinese(one))
    foreign = _foreign(allowed)
    if foreign.has_bytes(text):
        yield from _sentences_with(foreign, text)


@dataclass(frozen=True, slots=True)
class _Foreign:
    """How words in scripts that are not allowed are found: ever more closely."""

    leads: bytes
    letters: re.Pattern[str]
    words: re.Pattern[str]

    def has_bytes(self, text: str) -> bool:
        data = text.encode("utf-8", "surrogatepass")
        return _count(data, self.leads) > 0


@lru_cache(maxsize=256)
def _foreign(allowed: frozenset[str]) -> _Foreign:
    own = allowed | ({"zh"} if "ja" in allowed else set())
    others = {one: letters for one, letters in _LETTERS.items() if one not in own}
    span = "".join(letters for letters, _ in others.values())
    groups = [f"(?P<{one}>[{letters}]{{{least},}})" for one, (letters, least) in others.items()]
    ranges = [(span[at].encode(), span[at + 2].encode()) for at in range(0, len(span), len("a-z"))]
    leads = {lead for first, last in ranges for lead in range(first[0], last[0] + 1)}
    return _Foreign(bytes(leads), re.compile(f"[{span}]{{2,}}"), re.compile("|".join(groups)))


def _sentences_with(foreign: _Foreign, text: str) -> Iterator[tuple[str, str]]:
    end = 0
    for letters in foreign.letters.finditer(text):
        if letters.start() < end or not (word := foreign.words.search(letters[0])):
            continue
        start = max(text.rfind(one, end, letters.start()) for one in _ENDS)
        found = _SENTENCE.match(text, max(start + 1, end))
        if found:
            end = found.end()
            yield str(word.lastgroup), found[0].strip()


def _is_chinese(sentence: str) -> bool:
    """Whether a sentence within Japanese is Chinese."""
    if _KANA.search(sentence):
        return False
    common = len(_CHINESE_COMMON.intersection(sentence))
    return common >= _LEAST_COMMON or not _CHINESE_ONLY.isdisjoint(sentence)


def _count(data: bytes, some: bytes) -> int:
    return len(data) - len(data.translate(None, some))


def _indic(text: str) -> dict[str, int]:
    return {one: len(re.findall(f"[{_LETTERS[one][0]}]", text)) for one in ("hi", "th")}
