"""Where there is no gold answer: the majority of a prompt's own answers (self-consistency).

A verdict of it says so in its name and reason. It judges the samples of a prompt together, so one
completion alone is unknown. Equal answers count as one however they are written.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from distill.types import Completion, Prompt, Verdict
from distill.verify.equal import answer_key, compare_answers
from distill.verify.extract import answer_part, find_answer

NAME = "agreement/1"
_SHOWN_LENGTH = 60


class AgreementVerifier:
    r"""Accepts the completions that share the majority answer of their prompt.

    Example:
        >>> texts = (r"\boxed{1/2}", r"\boxed{0.5}", r"\boxed{2}")
        >>> verdicts = AgreementVerifier().verify_group(Prompt("p", "?"), [*map(Completion, texts)])
        >>> [verdict.is_accepted for verdict in verdicts], verdicts[0].reason
        ([True, True, False], '1/2 is the answer of 2 of 3 samples (no gold answer)')
    """

    name = NAME

    def __init__(self, *, at_least: float = 0.5, fewest: int = 3) -> None:
        """Take what makes a majority.

        Args:
            at_least: Share of all samples that must give the answer, in [0, 1]; more than any
                other answer in any case.
            fewest: Samples without which there is no verdict.

        Raises:
            ValueError: If the share is not in [0, 1] or ``fewest`` is below 1.
        """
        if not 0 <= at_least <= 1 or fewest < 1:
            raise ValueError(f"at_least={at_least} must be in [0, 1], fewest={fewest} at least 1")
        self._at_least, self._fewest = at_least, fewest
        is_default = (at_least, fewest) == (0.5, 3)
        self.name = NAME if is_default else f"{NAME}+at_least={at_least:g},fewest={fewest}"

    def verify(self, prompt: Prompt, completion: Completion) -> Verdict:
        """Unknown: agreement needs all samples of a prompt, see ``verify_group``."""
        return Verdict(None, "agreement needs all samples of the prompt", self.name)

    def verify_group(self, prompt: Prompt, completions: Sequence[Completion]) -> list[Verdict]:
        """One verdict for each sample of a prompt, in their order."""
        start = time.perf_counter()
        answers = [_answer(completion) for completion in completions]
        camps = _camps(answers)
        majority, why = self._majority(camps, len(completions))
        milliseconds = (time.perf_counter() - start) * 1000 / max(len(completions), 1)
        return [
            self._verdict(index, answer, majority, why, milliseconds)
            for index, answer in enumerate(answers)
        ]

    def _majority(self, camps: "list[_Camp]", samples: int) -> "tuple[_Camp | None, str]":
        if samples < self._fewest:
            return None, f"{samples} samples, {self._fewest} are needed to agree"
        if not camps:
            return None, "no sample has an answer"
        first = camps[0]
        size = len(first.members)
        if len(camps) > 1 and len(camps[1].members) == size:
            return None, f"no majority: {size} of {samples} for each of two answers"
        if size < self._at_least * samples:
            return None, f"no majority: the commonest answer has {size} of {samples} samples"
        shown = _shown(first.answer)
        return first, f"{shown} is the answer of {size} of {samples} samples (no gold answer)"

    def _verdict(
        self,
        index: int,
        answer: str | None,
        majority: "_Camp | None",
        why: str,
        milliseconds: float,
    ) -> Verdict:
        if answer is None:
            return Verdict(False, "unfinished or without an answer", self.name, 0.0, milliseconds)
        if majority is None:
            return Verdict(None, why, self.name, 0.0, milliseconds)
        is_accepted = index in majority.members
        reason = why if is_accepted else f"answers {_shown(answer)}, but {why}"
        return Verdict(is_accepted, reason, self.name, float(is_accepted), milliseconds)


@dataclass(slots=True)
class _Camp:
    """Samples with one answer."""

    answer: str
    members: set[int] = field(default_factory=set)


def _answer(completion: Completion) -> str | None:
    if completion.finish != "stop":
        return None
    text = find_answer(answer_part(completion.text)).text
    return text if text and text.strip() else None


def _camps(answers: Sequence[str | None]) -> list[_Camp]:
    """Camps by size; the first to be named comes first among equals."""
    by_key: dict[str, _Camp] = {}
    for index, answer in enumerate(answers):
        if answer is not None:
            by_key.setdefault(answer_key(answer), _Camp(answer)).members.add(index)
    camps: list[_Camp] = []
    for camp in by_key.values():
        for other in camps:
            equality = compare_answers(other.answer, camp.answer)
            if equality.is_same and equality.missing is None:
                other.members |= camp.members
                break
        else:
            camps.append(camp)
    return sorted(camps, key=lambda camp: -len(camp.members))


def _shown(text: str) -> str:
    text = " ".join(text[: 4 * _SHOWN_LENGTH].split())
    return text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}..."
