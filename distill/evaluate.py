"""Stage: a completer on held-out prompts, and the comparison of several.

The same sampling loop and the same verifier as generation. Accuracy counts a truncated, malformed
or failed sample as wrong, and says how many there were.

This module knows no models.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import fmean

from distill.allowance import Allowance
from distill.errors import DataError
from distill.journal import Journal
from distill.metrics import (
    Estimate,
    Vote,
    cons_at_k,
    difference_estimate,
    mean_estimate,
    ratio_estimate,
)
from distill.recipe import EvalSection
from distill.records import to_record
from distill.sampling import ProgressListener, sample_prompts
from distill.schedule import SamplingPlan
from distill.storage import hash_json
from distill.tally import SamplingOutcome
from distill.traces import read_traces
from distill.types import Completer, JudgedTrace, Prompt, Verifier
from distill.verify.answer import final_answer
from distill.verify.form import structure_fault

STUDENT = "student"
TEACHER = "teacher"


@dataclass(frozen=True, slots=True)
class PartFigures:
    """Accuracy on a part of the prompts.

    Attributes:
        name: The kind or the level.
        prompts: How many there are.
        pass_at_1: Mean accuracy over their samples, with its interval.
    """

    name: str
    prompts: int
    pass_at_1: Estimate


@dataclass(frozen=True, slots=True)
class ModelReport:
    """One model on the prompts.

    Attributes:
        who: Its part in the run, such as ``"student"``.
        model: Its name.
        samples: Completions per prompt.
        pass_at_1: Mean accuracy over all samples, with an interval clustered by prompt.
        cons_at_k: Accuracy of the majority of a prompt's ``samples`` answers, with its interval.
        truncated: Share of samples that the token limit cut.
        malformed: Share that ended by themselves without one boxed answer, or with stray tags.
        failed: Share that got no answer.
        output_tokens: Mean over samples.
        kinds: Accuracy by kind of prompt, in the order of the prompts.
        levels: Accuracy by level, lowest first.
        scores: Accuracy on each prompt, in the order of the prompts.
        outcome: How the sampling went, with time and speed of this try.
    """

    who: str
    model: str
    samples: int
    pass_at_1: Estimate
    cons_at_k: Estimate
    truncated: float
    malformed: float
    failed: float
    output_tokens: float
    kinds: tuple[PartFigures, ...]
    levels: tuple[PartFigures, ...]
    scores: tuple[float, ...]
    outcome: SamplingOutcome


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models on the same prompts.

    Attributes:
        who: The one.
        other: The other.
        difference: Accuracy of the one minus the other's, paired by prompt.
        ratio: Accuracy of the one by the other's, such as recovery of the teacher; ``None`` if
            the other has none right.
    """

    who: str
    other: str
    difference: Estimate
    ratio: Estimate | None


@dataclass(frozen=True, slots=True)
class EvalReport:
    """All models on one set of prompts.

    Attributes:
        prompts: How many there are.
        prompts_hash: Of their content: figures of other prompts cannot be compared.
        models: In the order of evaluation.
        comparisons: The student with each other model.
    """

    prompts: int
    prompts_hash: str
    models: tuple[ModelReport, ...]
    comparisons: tuple[Comparison, ...]

    def model(self, who: str) -> ModelReport | None:
        """The report about one model."""
        return next((report for report in self.models if report.who == who), None)

    @property
    def recovery(self) -> Estimate | None:
        """The student's accuracy by the teacher's."""
        return next((pair.ratio for pair in self.comparisons if pair.other == TEACHER), None)


def evaluate(
    who: str,
    prompts: Sequence[Prompt],
    completer: Completer,
    verifier: Verifier,
    section: EvalSection,
    *,
    seed: int,
    journal_path: Path,
    asked_path: Path | None = None,
    allowance: Allowance | None = None,
    on_progress: ProgressListener | None = None,
) -> ModelReport:
    """Sample one model on the prompts, or go on where an earlier try stopped.

    Args:
        who: Its part in the run, such as ``"student"``.
        prompts: Held-out prompts, all with gold answers.
        completer: The model.
        verifier: Who judges.
        section: How many samples, and how they are drawn.
        seed: Of the draws.
        journal_path: Where its traces are stored; one journal per model.
        asked_path: Where requests are noted before they are sent, if the completer is billed.
        allowance: What may be spent.
        on_progress: Called as completions are stored.

    Raises:
        DataError: If there are no prompts, or one has no gold answer.
        DistillError: What ``sample_prompts`` raises.
    """
    _check_prompts(prompts)
    with Journal.open(journal_path) as journal:
        outcome = sample_prompts(
            prompts,
            completer,
            verifier,
            sampling=section.sampling(seed),
            plan=SamplingPlan(section.samples),
            journal=journal,
            stage=f"eval {who}",
            max_failed_share=section.max_failed_share,
            asked_path=asked_path,
            allowance=allowance,
            on_progress=on_progress,
        )
    facts = list(_facts(read_traces(journal_path, prompts, section.samples)))
    return _report(who, completer.model, prompts, facts, outcome)


def compare(prompts: Sequence[Prompt], models: Sequence[ModelReport]) -> EvalReport:
    """Put the reports about several models on the same prompts together.

    Raises:
        ValueError: If a report is about another number of prompts.
    """
    for report in models:
        if len(report.scores) != len(prompts):
            raise ValueError(f"the report about {report.who} is about other prompts")
    student = next((report for report in models if report.who == STUDENT), None)
    others = [report for report in models if report.who != STUDENT]
    return EvalReport(
        prompts=len(prompts),
        prompts_hash=hash_json([to_record(prompt) for prompt in prompts]),
        models=tuple(models),
        comparisons=tuple(_compare(student, other) for other in others) if student else (),
    )


@dataclass(frozen=True, slots=True)
class _PromptFacts:
    """What is needed of one prompt's samples."""

    score: float
    consensus: float
    samples: int
    malformed: int


def _check_prompts(prompts: Sequence[Prompt]) -> None:
    if not prompts:
        raise DataError("there are no prompts to evaluate on")
    without = [prompt.id for prompt in prompts if not (prompt.answer or "").strip()]
    if without:
        raise DataError(
            f"{len(without)} of {len(prompts)} prompts to evaluate on have no gold answer,"
            f" the first is {without[0]!r}",
            hint="Give them an 'answer', or leave them out.",
        )


def _facts(traces: Iterator[JudgedTrace]) -> Iterator[_PromptFacts]:
    for _, group in groupby(traces, key=lambda judged: judged.trace.prompt_id):
        votes, malformed = [], 0
        for judged in group:
            completion = judged.trace.completion
            is_accepted = judged.verdict.is_accepted is True
            votes.append(Vote(final_answer(completion), is_accepted))
            if completion.finish == "stop":
                # Answers without reasoning are whole: the control is trained to give them.
                malformed += bool(structure_fault(completion, needs_reasoning=False))
        score = fmean(vote.is_accepted for vote in votes)
        yield _PromptFacts(score, cons_at_k(votes), len(votes), malformed)


def _report(
    who: str,
    model: str,
    prompts: Sequence[Prompt],
    facts: Sequence[_PromptFacts],
    outcome: SamplingOutcome,
) -> ModelReport:
    scores = [fact.score for fact in facts]
    kinds: dict[str, list[float]] = {}
    levels: dict[int, list[float]] = {}
    for prompt, score in zip(prompts, scores, strict=True):
        kinds.setdefault(prompt.kind, []).append(score)
        levels.setdefault(prompt.level, []).append(score)
    return ModelReport(
        who=who,
        model=model,
        samples=facts[0].samples,
        pass_at_1=mean_estimate(scores),
        cons_at_k=mean_estimate([fact.consensus for fact in facts]),
        truncated=outcome.truncated / outcome.samples,
        malformed=sum(fact.malformed for fact in facts) / outcome.samples,
        failed=outcome.failed / outcome.samples,
        output_tokens=outcome.output_tokens / outcome.samples,
        kinds=_parts(kinds),
        levels=_parts({str(level): levels[level] for level in sorted(levels)}),
        scores=tuple(scores),
        outcome=outcome,
    )


def _parts(scores: Mapping[str, Sequence[float]]) -> tuple[PartFigures, ...]:
    return tuple(PartFigures(name, len(part), mean_estimate(part)) for name, part in scores.items())


def _compare(student: ModelReport, other: ModelReport) -> Comparison:
    return Comparison(
        who=student.who,
        other=other.who,
        difference=difference_estimate(student.scores, other.scores),
        ratio=ratio_estimate(student.scores, other.scores),
    )
