r"""Whether two answers are equal: by key, by value, and only then by computer algebra.

What each pair came to is remembered, so the sixteen samples of a prompt cost little more than one.
"""

import re
import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from distill.verify import algebra
from distill.verify.compare import compare
from distill.verify.finding import Finding
from distill.verify.kinds import (
    Infinity,
    Interval,
    Named,
    Number,
    Quantity,
    Reading,
    Readings,
    Series,
    Words,
)
from distill.verify.plain import is_balanced, plain
from distill.verify.readings import LARGEST_DIGITS, LONGEST_REMEMBERED, number, read
from distill.verify.units import Unit

_LONGEST_FOR_ALGEBRA = 600
_MOST_REMEMBERED = 1 << 16
_LONG_GROUPED = re.compile(r"[+-]?\d{1,3}([, ])\d{3}(?:\1\d{3})*(?:\.\d*)?", re.ASCII)
_LONG_DECIMAL = re.compile(r"([+-]?)(\d+(?:\.\d*)?|\.\d+)", re.ASCII)

_plain_again = lru_cache(maxsize=8192)(plain)


def _is_whole_number(text: str) -> bool:
    return text.isdigit() and text.isascii()


def _plain(text: str) -> str:
    if _is_whole_number(text):
        return text
    return _plain_again(text) if len(text) <= LONGEST_REMEMBERED else plain(text)


@dataclass(frozen=True, slots=True)
class Equality:
    """What comparing a gold answer with another came to.

    Attributes:
        is_same: ``None`` if nobody can tell.
        by: ``"text"``, ``"value"`` or ``"algebra"``.
        missing: A unit that stands on one side only.
        note: Why it is unknown.
    """

    is_same: bool | None
    by: Literal["text", "value", "algebra"]
    missing: Unit | None = None
    note: str = ""


def compare_answers(gold: str, answer: str) -> Equality:
    r"""Hold an answer against the gold answer.

    Example:
        >>> compare_answers(r"\frac{1}{2}", "0.50").is_same, compare_answers("5 km", "5 m").is_same
        (True, False)
    """
    left, right = _plain(gold), _plain(answer)
    if left == right or _key(left) == _key(right):
        return Equality(True, "text")
    if _is_whole_number(left) and _is_whole_number(right):
        return Equality(False, "value")
    return _compare_others(gold, answer, left, right)


def _compare_others(gold: str, answer: str, left: str, right: str) -> Equality:
    """Hold answers with different keys against each other; ``left`` and ``right`` are plain."""
    if not is_balanced(gold):
        return Equality(None, "text", note="the gold answer cannot be read")
    if not is_balanced(answer):
        return Equality(False, "text")
    finding, by = _remembered(*sorted((left, right)))
    if finding.is_same is False and _is_garbled(left):
        return Equality(None, by, note="the gold answer cannot be read")
    if finding.note.endswith(_UNREAD):
        return _unread(finding.note.removesuffix(_UNREAD), left, right)
    return Equality(finding.is_same, by, finding.missing, finding.note)


def answer_key(text: str) -> str:
    r"""One text for ways to write an answer: equal keys are equal answers.

    Example:
        >>> [answer_key(text) for text in ("14", "+014.0", "$14$", r"\text{14}.", "1,400")]
        ['14', '14', '14', '14', '1400']
        >>> answer_key(r"\frac{2}{4}"), answer_key("0.50"), answer_key(r"\{2, 1\}")
        ('1/2', '1/2', '{1,2}')
    """
    return _key(_plain(text))


def _key(text: str) -> str:
    if _is_whole_number(text):
        return text.lstrip("0") or "0"
    return _long_key(text) if len(text) > LARGEST_DIGITS else _short_key(text)


@lru_cache(maxsize=8192)
def _short_key(text: str) -> str:
    return _readings_key(read(text), text)


def _readings_key(readings: Readings, text: str) -> str:
    reading = readings[0]
    if isinstance(reading, Number):
        return str(reading.value)
    if isinstance(reading, Quantity) and isinstance(amount := reading.amount[0], Number):
        value = str(amount.value * reading.unit.size)
        is_share = reading.unit.dimension == "percent"
        return value if is_share else f"{value} {reading.unit.dimension}"
    if isinstance(reading, Series):
        return _series_key(reading) or text
    return text


def _series_key(series: Series) -> str:
    keys = [_item_key(item[0]) for item in series.items]
    if "" in keys:
        return ""
    if series.kind in ("list", "set"):
        return f"{{{','.join(sorted(set(keys)))}}}"
    brackets = {"tuple": "()", "bracket": "[]"}.get(series.kind)
    return f"{brackets[0]}{','.join(keys)}{brackets[1]}" if brackets else ""


def _item_key(item: Reading) -> str:
    if isinstance(item, Number):
        return str(item.value)
    return _series_key(item) if isinstance(item, Series) else ""


def _long_key(text: str) -> str:
    """Key of a long integer or decimal by its digits, without making a number of it."""
    number = re.sub(r"[, ]", "", text) if _LONG_GROUPED.fullmatch(text) else text
    match = _LONG_DECIMAL.fullmatch(number)
    if match is None:
        return text
    whole, _, rest = match[2].partition(".")
    digits = whole.lstrip("0") or "0"
    rest = rest.rstrip("0")
    sign = "-" if match[1] == "-" and (digits != "0" or rest) else ""
    return f"{sign}{digits}.{rest}" if rest else f"{sign}{digits}"


_UNREAD = " unread"
_memo: dict[tuple[str, str], tuple[Finding, Literal["value", "algebra"]]] = {}
_memo_lock = threading.Lock()


def _remembered(left: str, right: str) -> tuple[Finding, Literal["value", "algebra"]]:
    if len(left) + len(right) > 2 * LONGEST_REMEMBERED:
        return _compare(left, right)
    known = _memo.get((left, right))
    if known is None:
        known = _compare(left, right)
        with _memo_lock:
            if len(_memo) >= _MOST_REMEMBERED:
                _memo.clear()
            _memo[left, right] = known
    return known


def _compare(left: str, right: str) -> tuple[Finding, Literal["value", "algebra"]]:
    if all(len(text) > LARGEST_DIGITS or number(text) for text in (left, right)) and all(
        _LONG_DECIMAL.fullmatch(_key(text)) for text in (left, right)
    ):
        return Finding(False), "value"  # digits decide: their keys differ
    finding = compare(read(left), read(right))
    if finding.is_same is not None or finding.note:
        return finding, "value"
    if max(len(left), len(right)) > _LONGEST_FOR_ALGEBRA:
        return Finding(None, note=f"both{_UNREAD}"), "value"
    reply = algebra.ask(*(_for_algebra(text) for text in (left, right)))
    if reply in ("same", "different"):
        return Finding(reply == "same"), "algebra"
    notes = {
        "timeout": f"no decision within {algebra.SECONDS:g} s",
        "failed": "computer algebra failed on it",
        "lost": "computer algebra ran out of memory on it",
    }
    sides = {f"left{_UNREAD}": left, f"right{_UNREAD}": right, f"both{_UNREAD}": "both"}
    note = notes.get(reply) or f"{sides[reply]}{_UNREAD}"
    return Finding(None, note=note), "algebra"


def _for_algebra(text: str) -> str:
    return text.replace(";", ", ").replace("\u00b0", r"^\circ")


def _unread(side: str, gold: str, answer: str) -> Equality:
    """What cannot be read is a wrong answer, but an unknown gold answer."""
    is_gold_unread = side in ("both", gold) and _is_open(gold)
    if is_gold_unread or (side == answer and gold == answer):
        return Equality(None, "algebra", note="the gold answer cannot be read")
    return Equality(False, "algebra")


def _is_garbled(text: str) -> bool:
    """Whether a text is digits and signs that make no sense, such as ``1 4`` or ``3 +``."""
    is_word = all(isinstance(one, Words) and not one.is_maths for one in read(text))
    return is_word and not any(char.isalpha() for char in text) and len(text) <= LARGEST_DIGITS


def _is_open(text: str) -> bool:
    """Whether a text has no reading but that of words that look like mathematics."""
    return all(isinstance(one, Words) and one.is_maths for one in read(text)) or _has_open_part(
        read(text)
    )


def _has_open_part(readings: Readings) -> bool:
    parts: list[Readings] = []
    for one in readings:
        if isinstance(one, Series):
            parts.extend(one.items)
        elif isinstance(one, Named):
            parts.append(one.value)
        elif isinstance(one, Interval):
            parts.extend((one.low, one.high))
        elif isinstance(one, Infinity):
            continue
        elif isinstance(one, Words) and one.is_maths:
            return True
    return any(map(_has_open_part, parts))
