"""Stored traces judged again: whether the same verifier finds the same, and what a new one changes.

Nothing is written. The journal keeps the verdicts that its results rest on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from distill.errors import DataError
from distill.journal import read_journal
from distill.traces import read_traces
from distill.types import Prompt, Verdict, Verifier


@dataclass(frozen=True, slots=True)
class Changed:
    """A trace that is judged otherwise than it was.

    Attributes:
        trace_id: Which one.
        then: The stored verdict.
        now: The new one.
    """

    trace_id: str
    then: Verdict
    now: Verdict


@dataclass(frozen=True, slots=True)
class Rejudged:
    """What judging again found.

    Attributes:
        traces: How many were judged.
        verifier_then: Who judged at first.
        verifier_now: Who judges now.
        right_then: How many were accepted at first.
        right_now: How many are accepted now.
        changed: Those whose verdict differs, in the order of the prompts.
    """

    traces: int
    verifier_then: str
    verifier_now: str
    right_then: int
    right_now: int
    changed: tuple[Changed, ...]


def rejudge(path: Path, prompts: Sequence[Prompt], verifier: Verifier) -> Rejudged:
    """Judge all traces of a journal again.

    Args:
        path: The journal.
        prompts: What was sampled.
        verifier: Who judges now.

    Raises:
        DataError: If the journal is missing or broken, or belongs to other prompts.
    """
    header = next(read_journal(path), None)
    if header is None:
        raise DataError(f"{path}: there are no traces in it yet")
    by_id = {prompt.id: prompt for prompt in prompts}
    traces = right_then = right_now = 0
    changed = []
    for judged in read_traces(path, prompts):
        trace = judged.trace
        verdict = verifier.verify(by_id[trace.prompt_id], trace.completion)
        traces += 1
        right_then += judged.verdict.is_accepted is True
        right_now += verdict.is_accepted is True
        if verdict != judged.verdict:
            changed.append(Changed(trace.id, judged.verdict, verdict))
    return Rejudged(
        traces, str(header["verifier"]), verifier.name, right_then, right_now, tuple(changed)
    )
