"""Stage: sample the teacher on the prompts, judging each trace as it arrives.

The traces are in the journal; the report says what came out of it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from distill.allowance import Allowance
from distill.errors import DataError
from distill.journal import Journal
from distill.recipe import GenerateSection
from distill.sampling import ProgressListener, sample_prompts
from distill.schedule import SamplingPlan
from distill.tally import KindFigures, SamplingOutcome
from distill.types import Completer, Prompt, Usage, Verifier
from distill.verify.form import structure_fault


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
        usage: Tokens read and written.
        is_billed: Whether an endpoint wrote them.
        usd: What all traces cost; ``None`` if nothing is billed or the price of any is unknown.
        unanswered: Requests that may have been billed and whose answer is not stored.
        until_correct: Right traces at which a prompt was asked no more; ``None`` if all were drawn.
        fixed_samples: What ``samples`` for every prompt would have been.
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
    usage: Usage
    is_billed: bool
    usd: float | None
    unanswered: int
    until_correct: int | None
    fixed_samples: int
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
    asked_path: Path | None = None,
    allowance: Allowance | None = None,
    first: int | None = None,
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
        asked_path: Where requests are noted before they are sent, if the completer is billed.
        allowance: What may be spent.
        first: Sample so many prompts only; the others can follow into the same journal.
        on_progress: Called as traces are stored.

    Raises:
        DataError: If ``until_correct`` is set and no prompt has a gold answer.
        DistillError: What ``sample_prompts`` raises.
    """
    refuse_without_gold(section, prompts)
    find_fault = partial(structure_fault, needs_reasoning=needs_reasoning, needs_box=needs_box)
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
            asked_path=asked_path,
            allowance=allowance,
            first=first,
            find_fault=find_fault,
            on_progress=on_progress,
        )
    return report_of(outcome, completer, section)


def refuse_without_gold(section: GenerateSection, prompts: Iterable[Prompt]) -> None:
    """Refuse to sample until an answer is right where nobody can know.

    Raises:
        DataError: If ``until_correct`` is set and no prompt has a gold answer.
    """
    if section.until_correct is not None and all(prompt.answer is None for prompt in prompts):
        raise DataError(
            "generate.until_correct needs gold answers, and no prompt has one",
            hint="Give the prompts an 'answer', or leave until_correct out.",
        )


def report_of(
    outcome: SamplingOutcome, completer: Completer, section: GenerateSection
) -> GenerateReport:
    """What the stage reports of a sampling run."""
    return GenerateReport(
        model=completer.model,
        prompts=sum(kind.prompts for kind in outcome.kinds),
        covered=sum(kind.covered for kind in outcome.kinds),
        samples=outcome.samples,
        accepted=outcome.accepted,
        unknown=outcome.unknown,
        truncated=outcome.truncated,
        malformed=outcome.malformed,
        failed=outcome.failed,
        output_tokens=outcome.output_tokens,
        usage=outcome.usage,
        is_billed=completer.is_billed,
        usd=outcome.usd,
        unanswered=outcome.unanswered,
        until_correct=section.until_correct,
        fixed_samples=section.samples * sum(kind.prompts for kind in outcome.kinds),
        kinds=outcome.kinds,
        outcome=replace(outcome, kinds=()),
    )
