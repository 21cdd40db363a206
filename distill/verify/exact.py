"""``ExactVerifier``: the answer must be the gold text, letter for letter.

For names, words, codes and anything that must not be interpreted: ``1/2`` is not ``0.5`` here. Only
white space at the ends, and between words its amount, makes no difference.
"""

import time
import unicodedata

from distill.types import Completion, Prompt, Verdict
from distill.verify.boxes import find_boxes
from distill.verify.extract import answer_part
from distill.verify.form import unfinished_fault

_SHOWN_LENGTH = 60


class ExactVerifier:
    r"""Accepts a finished completion whose last box, or else whole answer, is the gold text.

    Example:
        >>> prompt = Prompt("p", "Name the largest planet.", answer="Jupiter")
        >>> ExactVerifier().verify(prompt, Completion("jupiter")).reason
        "answered 'jupiter', gold 'Jupiter'"
        >>> ExactVerifier(ignore_case=True).verify(prompt, Completion(r"\boxed{jupiter}")).reward
        1.0
    """

    name = "exact/1"

    def __init__(self, *, ignore_case: bool = False) -> None:
        """Take whether capitals make no difference."""
        self._ignore_case = ignore_case
        self.name = f"{ExactVerifier.name}+ignore_case" if ignore_case else ExactVerifier.name

    def verify(self, prompt: Prompt, completion: Completion) -> Verdict:
        """Judge one completion; unknown if there is no gold answer."""
        start = time.perf_counter()
        is_accepted, reason = self._judge(prompt, completion)
        milliseconds = (time.perf_counter() - start) * 1000
        return Verdict(is_accepted, reason, self.name, float(is_accepted is True), milliseconds)

    def _judge(self, prompt: Prompt, completion: Completion) -> tuple[bool | None, str]:
        if fault := unfinished_fault(completion):
            return False, fault
        gold = self._canonical(prompt.answer or "")
        if not gold:
            return None, "no gold answer"
        text = answer_part(completion.text)
        boxes = find_boxes(text)
        if boxes.is_cut:
            return False, "the last box is not closed"
        answer = self._canonical(_answered(text))
        how = "boxed" if boxes.contents else "answered"
        return answer == gold, f"{how} {_shown(answer)}, gold {_shown(gold)}"

    def _canonical(self, text: str) -> str:
        text = _plain(text)
        return text.casefold() if self._ignore_case else text


def exact_answer(completion: Completion) -> str | None:
    """The last box, or else the whole answer; ``None`` if it is unfinished or empty."""
    if completion.finish != "stop":
        return None
    return _plain(_answered(answer_part(completion.text))) or None


def _answered(text: str) -> str:
    boxes = find_boxes(text)
    return boxes.contents[-1] if boxes.contents else text


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}...")
