"""Stage ``generate``, when another run has paid for some of its answers already.

A prompt set that grew, or a run that wants more samples, is a new run; but an answer that the same
model gave to the same text under the same settings is the same answer, whatever run it was paid in.
Such traces are copied, judged anew against the present gold answers, and cost nothing.

This module knows journals and prompts, nothing of recipes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from distill.errors import RunDirError
from distill.journal import Journal, read_journal
from distill.traces import check_header, journal_header, trace_from, trace_line
from distill.types import Completer, JudgedTrace, Prompt, Sampling, Verifier

_GROUP = 1000


@dataclass(frozen=True, slots=True)
class Reused:
    """What was taken over.

    Attributes:
        traces: How many.
        prompts: Of how many prompts.
    """

    traces: int
    prompts: int


def reuse_traces(
    source: Path,
    source_prompts: Iterable[Prompt],
    target: Path,
    prompts: Sequence[Prompt],
    *,
    completer: Completer,
    verifier: Verifier,
    sampling: Sampling,
    samples: int,
) -> Reused:
    """Copy the traces of another run that are answers to this run's requests.

    Args:
        source: Journal of the other run's judged traces.
        source_prompts: What it sampled.
        target: This run's journal; one that holds traces already is left alone.
        prompts: What this run samples.
        completer: Who answers here.
        verifier: Who judges here.
        sampling: How completions are drawn here.
        samples: Of each prompt at most, here.

    Raises:
        RunDirError: If the other run asked another model, or sampled in another way.
        DataError: If a journal is broken.
        StorageError: If the disk refuses.
    """
    header = journal_header(prompts, completer, verifier, sampling)
    _refuse_other_requests(source, header)
    here = {prompt.text: prompt for prompt in prompts}
    renamed = {prompt.id: here[prompt.text] for prompt in source_prompts if prompt.text in here}
    copied: set[str] = set()
    count = 0
    with Journal.open(target) as journal:
        if journal.safe_records > 1:
            return Reused(0, 0)
        if not journal.safe_records:
            journal.append(header)
        for line, record in enumerate(read_journal(source)):
            if not line:
                continue
            trace = trace_from(record, f"{source}:{line + 1}").trace
            prompt = renamed.get(trace.prompt_id)
            if prompt is None or trace.completion.finish == "error":
                continue
            if trace.sample_index >= samples:
                continue
            receipt = trace.receipt
            paid = replace(receipt, usd=0.0, unanswered=0) if receipt is not None else None
            trace = replace(trace, prompt_id=prompt.id, receipt=paid)
            verdict = verifier.verify(prompt, trace.completion)
            journal.append(trace_line(JudgedTrace(trace, verdict)))
            copied.add(prompt.id)
            count += 1
            if count % _GROUP == 0:
                journal.commit()
    return Reused(count, len(copied))


def _refuse_other_requests(source: Path, header: dict[str, object]) -> None:
    """Raise unless the other run's answers were asked for as this run asks."""
    found = next(iter(read_journal(source)), {})
    same = {**found, "prompts": header["prompts"], "verifier": header["verifier"]}
    try:
        check_header(same, header, source)
    except RunDirError as error:
        raise RunDirError(
            f"nothing of that run can be reused: {error.problem}",
            hint="Leave --reuse out, or ask as that run did.",
        ) from None
