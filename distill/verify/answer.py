r"""``AnswerVerifier``: the final answer of a completion against the gold answer.

The answer is the last ``\boxed{...}`` of the answer part, else what "the answer is" gives
(``distill.verify.extract``). It is compared exactly (``distill.verify.equal``): numbers,
units, sets, intervals and expressions in this process, the rest by computer algebra in a worker
that is killed after a second. The comparison is symmetric.
"""

import time
from typing import Literal

from distill.types import Completion, Prompt, Verdict
from distill.verify.equal import Equality, answer_key, compare_answers
from distill.verify.extract import Found, answer_part, find_answer, gold_answer
from distill.verify.form import unfinished_fault
from distill.verify.units import is_named_in

__all__ = ["AnswerVerifier", "answer_key", "answer_part", "final_answer"]

_SHOWN_LENGTH = 60


class AnswerVerifier:
    r"""Accepts a finished completion whose final answer equals the gold answer.

    Example:
        >>> prompt = Prompt("p", "What is 7 + 7?", answer="14")
        >>> AnswerVerifier().verify(prompt, Completion(r"It is \boxed{15}.", "7 + 7 = 15")).reason
        'boxed 15, gold 14'
    """

    name = "answer/2"

    def __init__(
        self, *, units: Literal["compared", "optional"] = "compared", anywhere: bool = False
    ) -> None:
        r"""Take what to accept.

        Args:
            units: What becomes of a unit that stands on one side only. ``"compared"``: it is right
                if the prompt names it ("how many dollars" makes ``18`` and ``\$18`` one answer).
                ``"optional"``: it is always right. Units on both sides are compared anyway.
            anywhere: Whether the last formula or number counts where nothing marks an answer.
        """
        self._has_optional_units = units == "optional"
        self._anywhere = anywhere
        options = [*(["units=optional"] * self._has_optional_units), *(["anywhere"] * anywhere)]
        self.name = "+".join([AnswerVerifier.name, *options])

    def verify(self, prompt: Prompt, completion: Completion) -> Verdict:
        """Judge one completion; unknown (``None``) if there is no readable gold answer."""
        start = time.perf_counter()
        is_accepted, reason = self._judge(prompt, completion)
        milliseconds = (time.perf_counter() - start) * 1000
        reward = 1.0 if is_accepted else 0.0
        return Verdict(is_accepted, reason, self.name, reward, milliseconds)

    def _judge(self, prompt: Prompt, completion: Completion) -> tuple[bool | None, str]:
        if fault := unfinished_fault(completion):
            return False, fault
        gold = gold_answer(prompt.answer or "")
        if not any(char.isalnum() for char in gold) and not answer_key(gold):
            return None, "no gold answer"
        found = find_answer(answer_part(completion.text), anywhere=self._anywhere)
        if found.text is None:
            return False, found.fault
        if not found.text.strip():
            return False, "the box is empty"
        equality = compare_answers(gold, found.text)
        return self._finding(prompt, gold, found, equality)

    def _finding(
        self, prompt: Prompt, gold: str, found: Found, equality: Equality
    ) -> tuple[bool | None, str]:
        reason = f"{found.how} {_shown(found.text or '')}, gold {_shown(gold)}"
        if equality.is_same is None:
            return None, f"{reason}: {equality.note or 'nobody can tell'}"
        if equality.missing is None:
            return equality.is_same, reason
        if self._has_optional_units or is_named_in(equality.missing, prompt.text):
            return True, reason
        return False, f"{reason}: the unit is on one side only"


def final_answer(completion: Completion) -> str | None:
    """The canonical final answer of a completion; ``None`` if unfinished or without one."""
    if completion.finish != "stop":
        return None
    found = find_answer(answer_part(completion.text))
    return None if found.text is None else answer_key(found.text)


def _shown(text: str) -> str:
    text = " ".join(text[: 4 * _SHOWN_LENGTH].split())
    return text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}..."
