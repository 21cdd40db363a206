r"""Finding the answer in an answer part: the last box, else what "the answer is" gives.

Boxes side by side are one answer: ``\boxed{1} and \boxed{2}``. With ``anywhere`` the last formula
or number of the text is taken where nothing marks an answer.
"""

import re
from dataclasses import dataclass

from distill.reasoning import THINK_CLOSE, THINK_OPEN
from distill.verify.boxes import find_boxes
from distill.verify.kinds import Words
from distill.verify.phrases import find_phrase, sentence
from distill.verify.plain import plain
from distill.verify.readings import read

_SEARCHED = 20_000
_LONGEST_BARE = 200
_MOST_WORDS = 4
_BOX_START = re.compile(r"\\boxed\s*\{")
_SPACE = r"(?:\\quad|\\qquad|\\[,;()\[\] ]|[\s$])*"
_AND = r"(?:\\text\s*\{[^{}]{0,30}\b(?:and|or)\s*\}|and|or|和|그리고|et|und|y|и)"
_CONNECTOR = re.compile(
    rf"{_SPACE}(?:(?:[,;]{_SPACE})?{_AND}|[,;]|){_SPACE}(?:[A-Za-z](?:_\{{?\w+\}}?)?\s*=\s*)?"
    rf"|{_SPACE}(?:(?!not|no|wrong|false|but|instead)[A-Za-z]+\s+){{1,3}}and\s{_SPACE}"
)
_UNIT_BEHIND = re.compile(r"\s*\$?\s*(?:\\?%|percent\b|pct\b|°|\^\s*\{?\s*\\circ\s*\}?)")
_GOLD_MARK = re.compile(r"^[ \t]*####[ \t]*(.+?)[ \t]*$", re.MULTILINE)
_FORMULAS = re.compile(
    r"(?<!\\)\$\$(?P<dollars>.+?)(?<!\\)\$\$|\\\[(?P<square>.+?)\\\]|\\\((?P<round>[^\n]+?)\\\)"
    r"|(?<![\\\d])\$(?P<inline>(?:\\\$|[^$\n])+?)(?<!\\)\$|(?P<fraction>-?\\d?frac\{\d+\}\{\d+\})"
    r"|(?P<number>(?<![\w.,])[-+]?[€£¥$]?(?:\d{1,3}(?:[ ,]\d{3})+|\d+)(?:[.,]\d+)?(?:/\d+)?"
    r"(?:\s*(?:%|percent|pct)|[€$]|\s?m²)?)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Found:
    """An answer in a text.

    Attributes:
        text: What was answered; ``None`` if nothing.
        how: ``"boxed"``, ``"answered"`` or ``"last"``.
        fault: Why nothing was found.
    """

    text: str | None
    how: str = ""
    fault: str = ""


def answer_part(text: str) -> str:
    """What lies outside the reasoning, even if think tags were left in the text.

    A box in reasoning that was put into the answer by mistake is not an answer.
    """
    return text.rpartition(THINK_CLOSE)[2].partition(THINK_OPEN)[0]


def find_answer(text: str, *, anywhere: bool = False) -> Found:
    r"""The answer of an answer part.

    Example:
        >>> find_answer(r"So \boxed{3} is right.").text, find_answer("The answer is 3.").text
        ('3', '3')
        >>> find_answer("It is 3.").fault, find_answer("It is 3.", anywhere=True).text
        ('no box in the answer', '3')
    """
    boxes = find_boxes(text)
    if boxes.is_cut:
        return Found(None, fault="the last box is not closed")
    if boxes.contents:
        return _boxed(text, boxes.contents)
    if (phrase := find_phrase(text)) is not None:
        if anywhere and len(phrase.split()) > _MOST_WORDS:
            phrase = _last_formula(phrase) or phrase
        return Found(phrase, "answered")
    if anywhere and (last := _last_formula(text)) is not None:
        return Found(last, "last")
    return Found(None, fault="no box in the answer")


def gold_answer(text: str) -> str:
    """The answer of a gold text, which may be a whole solution with a mark or a box."""
    if r"\boxed" in text:
        found = find_answer(text)
        opening = list(_BOX_START.finditer(text))
        # A box that the data set cut off still says what it holds.
        return found.text or (text[opening[-1].end() :] if opening else text)
    if marks := _GOLD_MARK.findall(text[-_SEARCHED:]):
        return str(marks[-1])
    if len(text) > _LONGEST_BARE and (phrase := find_phrase(text)) is not None:
        return phrase
    return text


def _boxed(text: str, contents: tuple[str, ...]) -> Found:
    """The last box, with those that are joined to it, and a per cent sign behind it."""
    ends = _box_ends(text, contents)
    last, (start, end) = len(contents) - 1, ends[-1]
    answer = contents[-1]
    if unit := _UNIT_BEHIND.match(text, end):
        answer += unit[0].strip().lstrip("$")
    joined = [answer]
    while last > 0 and _CONNECTOR.fullmatch(text[ends[last - 1][1] : start]):
        last -= 1
        start = ends[last][0]
        joined.append(contents[last])
    return Found(" , ".join(dict.fromkeys(reversed(joined))), "boxed")


def _box_ends(text: str, contents: tuple[str, ...]) -> list[tuple[int, int]]:
    """Where each box begins and ends."""
    ends, position = [], 0
    for content in contents:
        opening = _BOX_START.search(text, position)
        if opening is None:  # pragma: no cover - the boxes were found in this text
            return [(0, len(text))] * len(contents)
        position = opening.end() + len(content) + 1
        ends.append((opening.start(), position))
    return ends


def _last_formula(text: str) -> str | None:
    r"""The last formula, fraction or number; formulas joined by ``and`` are one answer."""
    text = text[-_SEARCHED:].strip()
    if len(text) <= _LONGEST_BARE and _is_formula(text):
        return text
    found = list(_FORMULAS.finditer(text))
    if not found:
        return text if 0 < len(text.split()) <= _MOST_WORDS else None
    last = found[-1]
    answer = _formula(last)
    if unit := _UNIT_BEHIND.match(text, last.end()):
        answer += unit[0].strip()
    parts = [answer]
    for earlier, later in zip(found[-2::-1], found[:0:-1], strict=False):
        if not _CONNECTOR.fullmatch(text[earlier.end() : later.start()]):
            break
        parts.append(_formula(earlier))
    return sentence(" , ".join(reversed(parts)))


def _is_formula(text: str) -> bool:
    """Whether a bare text is an answer as it stands, such as ``x = 5``."""
    if len(text.split()) > _MOST_WORDS:
        return False
    is_marked = text.count("$") > 1 or r"\[" in text or r"\(" in text
    return not is_marked and not any(isinstance(one, Words) for one in read(plain(text)))


def _formula(match: re.Match[str]) -> str:
    return next(group for group in match.groups() if group is not None).strip()
