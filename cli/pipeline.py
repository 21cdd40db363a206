"""The stages of one run in order: which are finished, which comes next, and doing one.

A stage that is finished is passed over without loading a model.
"""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from cli.stages import CONTROLS, do_stage
from cli.train_stage import STUDENT
from cli.work import Job
from distill.errors import RecipeError, RunDirError
from distill.layout import Stage
from distill.manifest import RunManifest


@dataclass(frozen=True, slots=True)
class StageOutcome:
    """How a stage ended.

    Attributes:
        stage: Which one.
        summary: Its figures, as the manifest has them.
        seconds: Of the try that finished it.
        was_done: Whether an earlier command had finished it.
        is_partial: Whether it was a pilot, which leaves the stage unfinished.
    """

    stage: Stage
    summary: Mapping[str, Any]
    seconds: float
    was_done: bool
    is_partial: bool = False


def run_stage(job: Job, stage: Stage) -> StageOutcome:
    """Do one stage, or pass over it if it is finished.

    Raises:
        DistillError: Whatever the stage raises; what it has done so far is kept.
    """
    record = job.run.manifest.stages.get(stage)
    if record is not None and record.finished is not None:
        # The same settings again: only what it made is looked at, and no model is loaded.
        inputs = [job.run.paths.root / name for name in record.inputs]
        begun = job.run.stage(stage, inputs=inputs, settings=record.settings)
        if begun.is_finished:
            _remove_checkpoints(job, stage)
            return StageOutcome(stage, record.summary, record.seconds, was_done=True)
    started = time.monotonic()
    work = do_stage(job, stage)
    if work.is_partial:
        seconds = time.monotonic() - started
        return StageOutcome(stage, work.summary, seconds, was_done=False, is_partial=True)
    work.begun.finish(work.outputs, work.summary, time.monotonic() - started)
    _remove_checkpoints(job, stage)
    record = work.begun.record
    return StageOutcome(stage, record.summary, record.seconds, was_done=False)


def next_stage(manifest: RunManifest, stages: Sequence[Stage]) -> Stage | None:
    """The first of a recipe's stages that is not finished; ``None`` when all are."""
    return next((stage for stage in stages if not manifest.is_finished(stage)), None)


def refuse_unready(
    manifest: RunManifest | None,
    stage: Stage,
    stages: Sequence[Stage],
    command: Callable[[str], str],
) -> None:
    """Refuse a stage that the recipe has not, or whose earlier ones are not finished.

    Args:
        manifest: Of the run folder; ``None`` if there is none yet.
        stage: What the user wants.
        stages: Those of the recipe.
        command: Gives the command of that name about this run, for the hint.

    Raises:
        RecipeError: If there is nothing to do in this stage.
        RunDirError: With the command that comes first.
    """
    if stage not in stages:
        raise RecipeError(
            f"this recipe has no stage '{stage}': it trains on what [train.data] names, and has"
            f" {' and '.join(stages)}",
            hint="For held-out figures add [eval]; for the whole job take [train.data] out.",
        )
    for earlier in stages[: stages.index(stage)]:
        if manifest is None or not manifest.is_finished(earlier):
            raise RunDirError(
                f"stage '{stage}' needs what stage '{earlier}' makes, and that is not finished",
                hint=f"first: {command(earlier)}\nor all of them in turn: {command('run')}",
            )


def _remove_checkpoints(job: Job, stage: Stage) -> None:
    """Only now that the stage is on record: until then, they are what a killed run goes on from."""
    for variant in {"train": (STUDENT,), "eval": CONTROLS}.get(stage, ()):
        shutil.rmtree(job.run.paths.checkpoints(variant), ignore_errors=True)
    with suppress(OSError):
        job.run.paths.checkpoints(STUDENT).parent.rmdir()
