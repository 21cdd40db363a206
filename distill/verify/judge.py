r"""``JudgeVerifier``: what a judging model found, such as where no gold answer is known.

Asking costs money and takes minutes, so it is not done here: stage ``filter`` asks the judge about
all traces first (``distill.judge``), through the same sampling loop and journal as generation. This
verifier looks the finding up. The same answer to the same prompt is judged once.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from distill.journal import read_journal
from distill.types import Completion, Prompt, Verdict
from distill.verify.boxes import find_boxes
from distill.verify.form import unfinished_fault

_FINDINGS: Mapping[str, bool | None] = {
    "right": True,
    "correct": True,
    "yes": True,
    "true": True,
    "wrong": False,
    "incorrect": False,
    "no": False,
    "false": False,
    "unknown": None,
}
_SHOWN_LENGTH = 200


class JudgeVerifier:
    """Accepts what the judge found right."""

    name = "judge/1"

    def __init__(
        self,
        *,
        teacher: Mapping[str, object] | None = None,
        findings: str | None = None,
        max_tokens: int = 4096,
        shows_reasoning: bool = False,
    ) -> None:
        """Take what a recipe says of the judge; only the findings matter here.

        Args:
            teacher: Who judges, as ``[teacher]`` of a recipe; asked by stage ``filter``.
            findings: Journal of the judge's answers; ``None`` before it was asked.
            max_tokens: New tokens of the judge, at most.
            shows_reasoning: Whether the judge reads the reasoning too, not only the answer.

        Raises:
            ValueError: If nobody is named to judge.
        """
        del max_tokens, shows_reasoning
        if teacher is None and findings is None:
            raise ValueError("no judge is named; [verify.options] teacher = { kind = ... }")
        self._path = Path(findings) if findings is not None else None
        self._findings: dict[str, tuple[bool | None, str]] | None = None

    def verify(self, prompt: Prompt, completion: Completion) -> Verdict:
        """What the judge found; unknown if it was not asked or did not say."""
        if fault := unfinished_fault(completion):
            return Verdict(False, fault, self.name)
        if self._findings is None:
            self._findings = _read_findings(self._path) if self._path is not None else {}
        finding, reason = self._findings.get(
            judged_id(prompt, completion), (None, "the judge was not asked: that is stage filter's")
        )
        return Verdict(finding, reason, self.name, 1.0 if finding else 0.0)


def judged_id(prompt: Prompt, completion: Completion) -> str:
    """What a question to the judge is called: the same prompt and answer are the same question."""
    parts = (prompt.text, prompt.answer or "", completion.reasoning or "", completion.text)
    digest = hashlib.sha256("\x00".join(parts).encode("utf-8", "replace"))
    return digest.hexdigest()[:24]


def read_finding(completion: Completion) -> tuple[bool | None, str]:
    r"""What a judge's answer says, and the end of it in one line.

    Example:
        >>> read_finding(Completion(r"The sum is off by one. \boxed{wrong}"))
        (False, 'The sum is off by one. \\boxed{wrong}')
    """
    text = " ".join(completion.text.split())
    shown = text if len(text) <= _SHOWN_LENGTH else f"...{text[-_SHOWN_LENGTH:]}"
    boxes = find_boxes(completion.text).contents
    word = boxes[-1].strip().lower().removeprefix(r"\text{").rstrip("}. ") if boxes else ""
    if completion.finish != "stop" or word not in _FINDINGS:
        return None, f"the judge did not say: {shown}" if shown else "the judge said nothing"
    return _FINDINGS[word], shown


def _read_findings(path: Path) -> dict[str, tuple[bool | None, str]]:
    findings = {}
    for line, record in enumerate(read_journal(path)):
        if line:  # the first is the header
            trace = record["trace"]
            verdict = record["verdict"]
            findings[trace["prompt_id"]] = (verdict["is_accepted"], verdict["reason"])
    return findings
