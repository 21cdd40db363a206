"""Stage: a completer on held-out prompts.

The same sampling loop, journal, verifiers and budget as generation: stopped and resumed at no loss.

This module knows no models.
"""

from collections.abc import Sequence
from pathlib import Path

from distill.allowance import Allowance
from distill.errors import DataError
from distill.eval_report import ModelReport, report_model
from distill.journal import Journal
from distill.recipe import SamplingSection
from distill.sampling import ProgressListener, sample_prompts
from distill.schedule import SamplingPlan
from distill.traces import read_traces
from distill.types import Completer, Completion, Prompt, Verifier
from distill.verify.form import structure_fault


def evaluate(
    who: str,
    prompts: Sequence[Prompt],
    completer: Completer,
    verifier: Verifier,
    section: SamplingSection,
    *,
    samples: int,
    seed: int,
    journal_path: Path,
    needs_box: bool = True,
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
        section: How completions are drawn.
        samples: Completions per prompt.
        seed: Of the draws.
        journal_path: Where its traces are stored; one journal per model.
        needs_box: Whether an answer that has not exactly one box counts as malformed.
        asked_path: Where requests are noted before they are sent, if the completer is billed.
        allowance: What may be spent.
        on_progress: Called as completions are stored.

    Raises:
        DataError: If there are no prompts, or one has no gold answer.
        DistillError: What ``sample_prompts`` raises.
    """
    check_gold(prompts)

    def find_fault(completion: Completion) -> str:
        # Answers without reasoning are whole: a control is trained to give them.
        return structure_fault(completion, needs_reasoning=False, needs_box=needs_box)

    sampling = section.sampling(seed)
    with Journal.open(journal_path) as journal:
        outcome = sample_prompts(
            prompts,
            completer,
            verifier,
            sampling=sampling,
            plan=SamplingPlan(samples),
            journal=journal,
            stage=f"eval {who}",
            max_failed_share=section.max_failed_share,
            asked_path=asked_path,
            allowance=allowance,
            find_fault=find_fault,
            on_progress=on_progress,
        )
    return report_model(
        prompts,
        read_traces(journal_path, prompts, samples),
        who=who,
        completer=completer,
        verifier=verifier,
        sampling=sampling,
        outcome=outcome,
        find_fault=find_fault,
    )


def check_gold(prompts: Sequence[Prompt]) -> None:
    """Make sure that every prompt can be judged.

    Raises:
        DataError: If there are none, or one has no gold answer.
    """
    if not prompts:
        raise DataError("there are no prompts to evaluate on")
    without = [prompt.id for prompt in prompts if not (prompt.answer or "").strip()]
    if without:
        raise DataError(
            f"{len(without)} of {len(prompts)} prompts to evaluate on have no gold answer,"
            f" the first is {without[0]!r}",
            hint="Give them an 'answer', or leave them out.",
        )
