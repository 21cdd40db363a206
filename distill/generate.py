"""Stage: sample the teacher on the prompts, judging each trace as it arrives.

The traces are in the journal; the report says what came out of it.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from distill.errors import DataError
from distill.journal import Journal
from distill.recipe import GenerateSection
from distill.sampling import ProgressListener, SamplingOutcome, sample_prompts
from distill.schedule import SamplingPlan
from distill.traces import read_traces
from distill.types import Completer, JudgedTrace, Prompt, Verifier
from distill.verify.form import structure_fault


@dataclass(frozen=True, slots=True)
class KindFigures:
    """What came out for one kind of prompt.

    Attributes:
        kind: As the prompts say; ``""`` where they say nothing.
        prompts: How many there are.
        covered: How many of them have at least one accepted trace.
        samples: Traces that were drawn.
        accepted: Traces that the verifier accepted.
    """

    kind: str
    prompts: int
    covered: int
    samples: int
    accepted: int


@dataclass(frozen=True, slots=True)
class GenerateReport:
    """What the teacher wrote.

    Attributes:
        model: Who wrote.
        prompts: How many prompts were sampled.
        covered: How many of them have at least one accepted trace.
        samples: Traces that were drawn, those of earlier tries included.
        accepted: Traces that the verifier accepted.
        unknown: Traces that could not be judged, such as those without a gold answer.
        truncated: Traces that the token limit cut.
        malformed: Traces that ended by themselves but are not whole.
        failed: Samples that got no answer.
        output_tokens: Tokens of all traces.
        kinds: The same by kind of prompt, in the order of the prompts.
        outcome: How the sampling went, with time and speed of this try.
    """

    model: str
    prompts: int
    covered: int
    samples: int
    accepted: int
    unknown: int
    truncated: int
    malformed: int
    failed: int
    output_tokens: int
    kinds: tuple[KindFigures, ...]
    outcome: SamplingOutcome


def generate(
    prompts: Sequence[Prompt],
    completer: Completer,
    verifier: Verifier,
    section: GenerateSection,
    *,
    seed: int,
    journal_path: Path,
    needs_reasoning: bool = True,
    needs_box: bool = True,
    on_progress: ProgressListener | None = None,
) -> GenerateReport:
    """Sample all prompts, or go on where an earlier try stopped.

    Args:
        prompts: What the teacher is asked.
        completer: The teacher.
        verifier: Who judges.
        section: How many traces, and how they are drawn.
        seed: Of the draws.
        journal_path: Where the traces are stored.
        needs_reasoning: Whether a trace without reasoning counts as malformed.
        needs_box: Whether a trace whose answer has not exactly one box counts as malformed.
        on_progress: Called after every answer.

    Raises:
        DataError: If ``until_correct`` is set and no prompt has a gold answer.
        DistillError: What ``sample_prompts`` raises.
    """
    if section.until_correct is not None and all(prompt.answer is None for prompt in prompts):
        raise DataError(
            "generate.until_correct needs gold answers, and no prompt has one",
            hint="Give the prompts an 'answer', or leave until_correct out.",
        )
    with Journal.open(journal_path) as journal:
        outcome = sample_prompts(
            prompts,
            completer,
            verifier,
            sampling=section.sampling(seed),
            plan=SamplingPlan(section.samples, section.until_correct),
            journal=journal,
            stage="generate",
            max_failed_share=section.max_failed_share,
            on_progress=on_progress,
        )
    counts = _count(read_traces(journal_path, prompts, section.samples), needs_reasoning, needs_box)
    kinds = _by_kind(prompts, counts)
    return GenerateReport(
        model=completer.model,
        prompts=len(prompts),
        covered=sum(kind.covered for kind in kinds),
        samples=outcome.samples,
        accepted=outcome.accepted,
        unknown=counts.unknown,
        truncated=outcome.truncated,
        malformed=counts.malformed,
        failed=outcome.failed,
        output_tokens=outcome.output_tokens,
        kinds=kinds,
        outcome=outcome,
    )


@dataclass(frozen=True, slots=True)
class _Counts:
    """Traces and accepted ones by prompt id, and what the sampling outcome does not say."""

    samples: Counter[str]
    accepted: Counter[str]
    unknown: int
    malformed: int


def _count(traces: Iterable[JudgedTrace], needs_reasoning: bool, needs_box: bool) -> _Counts:
    samples: Counter[str] = Counter()
    accepted: Counter[str] = Counter()
    unknown = malformed = 0
    for judged in traces:
        samples[judged.trace.prompt_id] += 1
        accepted[judged.trace.prompt_id] += judged.verdict.is_accepted is True
        unknown += judged.verdict.is_accepted is None
        completion = judged.trace.completion
        if completion.finish == "stop":
            fault = structure_fault(
                completion, needs_reasoning=needs_reasoning, needs_box=needs_box
            )
            malformed += bool(fault)
    return _Counts(samples, accepted, unknown, malformed)


def _by_kind(prompts: Sequence[Prompt], counts: _Counts) -> tuple[KindFigures, ...]:
    figures = []
    for kind in dict.fromkeys(prompt.kind for prompt in prompts):
        ids = [prompt.id for prompt in prompts if prompt.kind == kind]
        figures.append(
            KindFigures(
                kind=kind,
                prompts=len(ids),
                covered=sum(counts.accepted[name] > 0 for name in ids),
                samples=sum(counts.samples[name] for name in ids),
                accepted=sum(counts.accepted[name] for name in ids),
            )
        )
    return tuple(figures)
