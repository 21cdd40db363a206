r"""``AnswerVerifier``: the last ``\boxed{...}`` of the answer against the gold answer.

Numbers are compared by exact value (``0.5``, ``1/2`` and ``\frac{1}{2}`` are one answer), all
else by normalised text. Both go through ``answer_key``, one canonical text per answer, so the
comparison is symmetric and groups answers for a majority vote as well. Units are compared, not
dropped. Nothing is evaluated: ``2+2`` is not ``4``, and no input takes more than linear time.
"""

import re
import unicodedata
from fractions import Fraction

from distill.reasoning import THINK_CLOSE, THINK_OPEN
from distill.types import Completion, Prompt, Verdict
from distill.verify.boxes import find_boxes
from distill.verify.form import unfinished_fault

_LARGEST_DIGITS = 400
"""Longer numbers are compared as text: ``int`` takes quadratic time, then refuses."""
_SHOWN_LENGTH = 60

_MINUSES = dict.fromkeys(map(ord, "\u2212\u2010\u2011\u2012\u2013\ufe63"), "-")
_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff"))
_FULL_WIDTH = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
_PLAIN = {**_FULL_WIDTH, **_MINUSES, **_INVISIBLE, 0x2044: "/", 0x3002: "."}

_WRAPPED = re.compile(r"\\(?:boxed|text|textbf|textit|textrm|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
_WRAPPED_DEPTH = 4
_LATEX = (
    (re.compile(r"\\(?:left|right)(?![A-Za-z])|\\!|\\[()\[\]]|(?<!\\)\$"), ""),
    (re.compile(r"\\[,;: ]|\\q?quad(?![A-Za-z])|~"), " "),
    (re.compile(r"\\[dtc]frac(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\%"), "%"),
)
_LOOSE_SPACE = re.compile(r"(?<![\w.]) | (?![\w.])")
_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)"
_DECIMAL = re.compile(rf"([+-]?)({_NUMBER})", re.ASCII)
_SLASHED = re.compile(rf"([+-]?{_NUMBER})/({_NUMBER})", re.ASCII)
_FRACTION = re.compile(rf"([+-]?)\\frac\{{({_NUMBER})\}}\{{({_NUMBER})\}}", re.ASCII)
_GROUPED = re.compile(r"[+-]?\d{1,3}([, ])\d{3}(?:\1\d{3})*(?:\.\d*)?", re.ASCII)


class AnswerVerifier:
    r"""Accepts a finished completion whose last box holds the gold answer.

    Example:
        >>> prompt = Prompt("p", "What is 7 + 7?", answer="14")
        >>> AnswerVerifier().verify(prompt, Completion(r"It is \boxed{15}.", "7 + 7 = 15")).reason
        'boxed 15, gold 14'
    """

    name = "answer/1"

    def verify(self, prompt: Prompt, completion: Completion) -> Verdict:
        """Judge one completion; unknown (``None``) if there is no gold answer."""
        if fault := unfinished_fault(completion):
            return self._verdict(False, fault)
        if prompt.answer is None or not (gold := answer_key(prompt.answer)):
            return self._verdict(None, "no gold answer")
        boxes = find_boxes(answer_part(completion.text))
        if boxes.is_cut:
            return self._verdict(False, "the last box is not closed")
        if not boxes.contents:
            return self._verdict(False, "no box in the answer")
        boxed = boxes.contents[-1]
        reason = f"boxed {_shown(boxed)}, gold {_shown(prompt.answer)}"
        return self._verdict(answer_key(boxed) == gold, reason)

    def _verdict(self, is_accepted: bool | None, reason: str) -> Verdict:
        return Verdict(is_accepted, reason, self.name, 1.0 if is_accepted else 0.0)


def final_answer(completion: Completion) -> str | None:
    """The canonical final answer of a completion; ``None`` if unfinished or without a box."""
    boxes = find_boxes(answer_part(completion.text))
    if completion.finish != "stop" or boxes.is_cut or not boxes.contents:
        return None
    return answer_key(boxes.contents[-1])


def answer_part(text: str) -> str:
    """What lies outside the reasoning, even if think tags were left in the text.

    A box in reasoning that was put into the answer by mistake is not an answer.
    """
    return text.rpartition(THINK_CLOSE)[2].partition(THINK_OPEN)[0]


def answer_key(text: str) -> str:
    r"""One text for all ways to write an answer: equal keys are equal answers.

    Example:
        >>> [answer_key(text) for text in ("14", "+014.0", "$14$", r"\text{14}.", "1,400")]
        ['14', '14', '14', '14', '1400']
        >>> answer_key(r"\frac{2}{4}"), answer_key("0.50")
        ('1/2', '1/2')
    """
    plain = _normalise(text)
    number = re.sub(r"[, ]", "", plain) if _GROUPED.fullmatch(plain) else plain
    if len(number) > _LARGEST_DIGITS:
        return _long_key(number)
    value = _value(number)
    return plain if value is None else str(value)


def _normalise(text: str) -> str:
    """Plain signs, no formatting, no space but between words, no period at the end."""
    text = text.translate(_PLAIN)
    if not text.isascii():
        text = "".join(_ascii_digit(char) for char in text)
    for pattern, plain in _LATEX:
        text = pattern.sub(plain, text)
    for _ in range(_WRAPPED_DEPTH):
        text = _WRAPPED.sub(r"\1", text)
    text = text.strip().rstrip(".").strip()
    if text.startswith("{") and text.find("}") == len(text) - 1 and text.count("{") == 1:
        text = text[1:-1]
    return _LOOSE_SPACE.sub("", " ".join(text.split()))


def _ascii_digit(char: str) -> str:
    """``٣`` becomes ``3``; a superscript is no digit, ``10²`` is not ``102``."""
    digit = unicodedata.decimal(char, None)
    return char if digit is None else str(digit)


def _value(text: str) -> Fraction | None:
    """Exact value of an integer, a decimal or a fraction of two such."""
    if match := _DECIMAL.fullmatch(text):
        return Fraction(text)
    if match := _SLASHED.fullmatch(text):
        above, below = Fraction(match[1]), Fraction(match[2])
    elif match := _FRACTION.fullmatch(text):
        above, below = Fraction(match[1] + match[2]), Fraction(match[3])
    else:
        return None
    return above / below if below else None


def _long_key(text: str) -> str:
    """Key of a long integer or decimal by its digits, without making a number of it."""
    match = _DECIMAL.fullmatch(text)
    if match is None:
        return text
    whole, _, rest = match[2].partition(".")
    digits = whole.lstrip("0") or "0"
    rest = rest.rstrip("0")
    sign = "-" if match[1] == "-" and (digits != "0" or rest) else ""
    return f"{sign}{digits}.{rest}" if rest else f"{sign}{digits}"


def _shown(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}..."
