"""``ChoiceVerifier``: multiple choice. The letter that was answered against the gold letter.

The letter stands in a box, in a phrase such as "the answer is (B)", or alone at the end. An answer
that gives the text of an option instead is traced to its letter through the prompt.
"""

import re
import time

from distill.types import Completion, Prompt, Verdict
from distill.verify.equal import compare_answers
from distill.verify.extract import answer_part, find_answer, gold_answer
from distill.verify.form import unfinished_fault
from distill.verify.plain import plain

_OPTION = re.compile(r"^[ \t]*[(（\[]?([A-J])[)）\].:：、][ \t]*(\S.*?)[ \t]*$", re.MULTILINE)  # noqa: RUF001
_LETTER = re.compile(
    r"(?:(?:option|choice|answer)\s+)?[(\[]?([A-Ja-j])[)\]]?(?:[.:)]|$)(.*)",
    re.DOTALL | re.IGNORECASE,
)
_LAST = re.compile(r"(?:^|[\s*(（])\(?([A-J])\)?(?=[\s*.)）。]*\Z)")  # noqa: RUF001
_SEARCHED = 2_000


class ChoiceVerifier:
    r"""Accepts a finished completion that chose the gold option.

    Example:
        >>> prompt = Prompt("p", "Which is prime?\nA) 4\nB) 7", answer="B")
        >>> verifier = ChoiceVerifier()
        >>> [verifier.verify(prompt, Completion(text)).is_accepted
        ...  for text in (r"\boxed{B}", "The answer is (B).", r"\boxed{7}", r"\boxed{A}")]
        [True, True, True, False]
    """

    name = "choice/1"

    def verify(self, prompt: Prompt, completion: Completion) -> Verdict:
        """Judge one completion; unknown if the gold answer is no option."""
        start = time.perf_counter()
        is_accepted, reason = self._judge(prompt, completion)
        milliseconds = (time.perf_counter() - start) * 1000
        return Verdict(is_accepted, reason, self.name, float(is_accepted is True), milliseconds)

    def _judge(self, prompt: Prompt, completion: Completion) -> tuple[bool | None, str]:
        if fault := unfinished_fault(completion):
            return False, fault
        options = dict(_OPTION.findall(prompt.text))
        if not (prompt.answer or "").strip():
            return None, "no gold answer"
        gold = _letter(gold_answer(prompt.answer or ""), options)
        if gold is None:
            return None, f"the gold answer {prompt.answer!r:.60} is no option"
        chosen, how = _choose(completion, options)
        if chosen is None:
            return False, how
        return chosen == gold, f"{how} {chosen}, gold {gold}"


def chosen_letter(prompt: Prompt, completion: Completion) -> str | None:
    """The letter that a completion chose; ``None`` if it is unfinished or chose none.

    Example:
        >>> chosen_letter(Prompt("p", "Which?"), Completion("So the answer is (b)."))
        'B'
    """
    if completion.finish != "stop":
        return None
    return _choose(completion, dict(_OPTION.findall(prompt.text)))[0]


def _choose(completion: Completion, options: dict[str, str]) -> tuple[str | None, str]:
    """The letter and how it is marked, or ``None`` and why there is none."""
    text = answer_part(completion.text)
    found = find_answer(text)
    if found.text is not None:
        chosen, how = _letter(found.text, options), found.how
    elif found.fault == "the last box is not closed":
        return None, found.fault
    else:
        last = _LAST.search(text[-_SEARCHED:])
        chosen, how = (last[1] if last else None), "ends with"
    return (chosen, how) if chosen is not None else (None, "no choice in the answer")


def _letter(text: str, options: dict[str, str]) -> str | None:
    """The letter that a text is, begins with, or whose option it repeats."""
    text = plain(text)
    match = _LETTER.fullmatch(text)
    if match is not None:
        letter, rest = match[1].upper(), match[2].strip()
        if not rest or letter not in options or _is_option(rest, options[letter]):
            return letter
    chosen = [letter for letter, option in options.items() if _is_option(text, option)]
    return chosen[0] if len(chosen) == 1 else None


def _is_option(text: str, option: str) -> bool:
    return plain(text).casefold() == plain(option).casefold() or (
        compare_answers(option, text).is_same is True
    )
