"""The stages of one run, wired: what each reads, whom it asks, what it leaves in the run folder.

A stage that is finished is passed over without loading a model. What a stage does is the core's,
the teachers' and the students' to know; here it gets its section of the recipe and plain values.
"""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cli.progress import Report
from distill.blend import Variant, blend
from distill.errors import RunDirError
from distill.layout import STAGES, Stage
from distill.manifest import RunManifest
from distill.prompts import read_prompts, write_prompts
from distill.recipe import EmbeddedPrompts, EmbeddedStudent, FilePrompts, LocalStudent, Recipe
from distill.records import to_record
from distill.rundir import RunDir, StageRun
from distill.storage import hash_json
from distill.types import Completer, Progress, Prompt
from distill.verify.answer import AnswerVerifier

STUDENT: Variant = "student"
CONTROLS: tuple[Variant, ...] = ("answers_only", "unfiltered")


@dataclass(frozen=True, slots=True)
class Job:
    """One open run and whom to tell how it goes."""

    run: RunDir
    report: Report

    @property
    def recipe(self) -> Recipe:
        """What is run."""
        return self.run.recipe


@dataclass(frozen=True, slots=True)
class StageOutcome:
    """How a stage ended.

    Attributes:
        stage: Which one.
        summary: Its figures, as the manifest has them.
        seconds: Of the try that finished it.
        was_done: Whether an earlier command had finished it.
    """

    stage: Stage
    summary: Mapping[str, Any]
    seconds: float
    was_done: bool


@dataclass(frozen=True, slots=True)
class _Work:
    """What a stage leaves: its outputs and its figures."""

    outputs: Sequence[Path]
    summary: Mapping[str, object]


def run_stage(job: Job, stage: Stage) -> StageOutcome:
    """Do one stage, or pass over it if it is finished.

    Raises:
        DistillError: Whatever the stage raises; what it has done so far is kept.
    """
    record = job.run.manifest.stages.get(stage)
    if record is not None and record.finished is not None:
        # The same settings again: only what it made is looked at, and no model is loaded.
        inputs = [_in_run(job, name) for name in record.inputs]
        begun = job.run.stage(stage, inputs=inputs, settings=record.settings)
        if begun.is_finished:
            _remove_checkpoints(job, stage)
            return StageOutcome(stage, record.summary, record.seconds, was_done=True)
    started = time.monotonic()
    begun, work = _STAGES[stage](job)
    begun.finish(work.outputs, work.summary, time.monotonic() - started)
    _remove_checkpoints(job, stage)
    return StageOutcome(stage, begun.record.summary, begun.record.seconds, was_done=False)


def next_stage(manifest: RunManifest) -> Stage | None:
    """The first stage that is not finished; ``None`` when all are."""
    return next((stage for stage in STAGES if not manifest.is_finished(stage)), None)


def refuse_unready(
    manifest: RunManifest | None, stage: Stage, command: Callable[[str], str]
) -> None:
    """Refuse a stage whose earlier ones are not finished.

    Args:
        manifest: Of the run folder; ``None`` if there is none yet.
        stage: What the user wants.
        command: Gives the command of that name about this run, for the hint.

    Raises:
        RunDirError: With the command that comes first.
    """
    for earlier in STAGES[: STAGES.index(stage)]:
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


def _in_run(job: Job, name: str) -> Path:
    return job.run.paths.root / name


def _generate(job: Job) -> tuple[StageRun, _Work]:
    from distill.generate import generate
    from teachers import build

    recipe, paths, verifier = job.recipe, job.run.paths, AnswerVerifier()
    prompts = _load_prompts(recipe.prompts)
    teacher = build(recipe.teacher, batch_size=recipe.generate.batch_size)
    begun = job.run.stage(
        "generate",
        settings={
            "teacher": teacher.fingerprint,
            "verifier": verifier.name,
            "prompts": _prompts_hash(prompts),
        },
    )
    write_prompts(paths.train_prompts, prompts)
    report = generate(
        prompts,
        teacher,
        verifier,
        recipe.generate,
        seed=recipe.seed,
        journal_path=paths.traces,
        needs_reasoning=recipe.filter.needs_reasoning,
        needs_box=recipe.filter.needs_box,
        on_progress=job.report,
    )
    return begun, _Work([paths.train_prompts, paths.traces], to_record(report))


def _filter(job: Job) -> tuple[StageRun, _Work]:
    from distill.filter import filter_traces
    from distill.traces import read_traces

    paths = job.run.paths
    begun = job.run.stage("filter", inputs=[paths.train_prompts, paths.traces])
    report = filter_traces(
        read_traces(paths.traces, read_prompts(paths.train_prompts)),
        job.recipe.filter,
        kept_path=paths.kept,
        dropped_path=paths.dropped,
    )
    return begun, _Work([paths.kept, paths.dropped], to_record(report))


def _train(job: Job) -> tuple[StageRun, _Work]:
    from engine.folder import folder_fingerprint

    paths = job.run.paths
    begun = job.run.stage(
        "train",
        inputs=[paths.train_prompts, paths.kept],
        settings={"base": folder_fingerprint(_base_folder(job.recipe))},
    )
    _write_examples(job, STUDENT)
    summary = _train_variant(job, STUDENT)
    return begun, _Work([paths.examples(STUDENT), paths.model(STUDENT)], summary)


def _eval(job: Job) -> tuple[StageRun, _Work]:
    from distill.evaluate import compare, evaluate
    from distill.storage import write_json_atomically

    recipe, paths, verifier = job.recipe, job.run.paths, AnswerVerifier()
    prompts = _load_prompts(recipe.eval.prompts)
    controls = CONTROLS if recipe.eval.controls else ()
    for variant in controls:
        _write_examples(job, variant)
    begun = job.run.stage(
        "eval",
        inputs=[paths.model(STUDENT), *map(paths.examples, controls)],
        settings={"verifier": verifier.name, "prompts": _prompts_hash(prompts)},
    )
    write_prompts(paths.eval_prompts, prompts)
    trained = {variant: _train_variant(job, variant) for variant in controls}
    reports = [
        evaluate(
            who,
            prompts,
            _completer(job, who),
            verifier,
            recipe.eval,
            seed=recipe.seed,
            journal_path=paths.judged(who),
            on_progress=job.report,
        )
        for who in (*recipe.eval.models, *controls)
    ]
    compared = to_record(compare(prompts, reports))
    write_json_atomically(paths.report, compared)
    outputs = [paths.eval_prompts, paths.report, *map(paths.judged, recipe.eval.models)]
    outputs += [paths.judged(variant) for variant in controls]
    outputs += [paths.model(variant) for variant in controls]
    return begun, _Work(outputs, {"report": _without_scores(compared), "controls": trained})


_STAGES: dict[Stage, Callable[[Job], tuple[StageRun, _Work]]] = {
    "generate": _generate,
    "filter": _filter,
    "train": _train,
    "eval": _eval,
}


def _load_prompts(section: EmbeddedPrompts | FilePrompts) -> list[Prompt]:
    if isinstance(section, FilePrompts):
        return read_prompts(section.path)
    from distill.problems import embedded_prompts

    return embedded_prompts(
        section.split, section.count, section.seed, kinds=section.kinds, levels=section.levels
    )


def _prompts_hash(prompts: Sequence[Prompt]) -> str:
    return hash_json([to_record(prompt) for prompt in prompts])


def _base_folder(recipe: Recipe) -> Path:
    from students.load import EMBEDDED

    match recipe.student:
        case EmbeddedStudent():
            return EMBEDDED
        case LocalStudent(path=path):
            return path


def _write_examples(job: Job, variant: Variant) -> None:
    from distill.record_files import read_records, write_records
    from distill.traces import read_traces
    from distill.types import JudgedTrace
    from engine.folder import load_tokenizer

    paths = job.run.paths
    prompts = read_prompts(paths.train_prompts)
    tokenizer = load_tokenizer(_base_folder(job.recipe))
    blended = blend(
        variant,
        prompts,
        read_records(paths.kept, JudgedTrace),
        read_traces(paths.traces, prompts),
        seed=job.recipe.seed,
        count_tokens=lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"]),
    )
    write_records(paths.examples(variant), blended.examples)


def _train_variant(job: Job, variant: Variant) -> dict[str, Any]:
    from distill.record_files import read_records
    from distill.types import Example
    from students.sft import train

    paths = job.run.paths
    label = "train" if variant == STUDENT else f"train {variant}"

    def report(progress: Progress) -> None:
        job.report(replace(progress, stage=label))

    trained = train(
        list(read_records(paths.examples(variant), Example)),
        _base_folder(job.recipe),
        job.recipe.train,
        paths.model(variant),
        paths.checkpoints(variant),
        seed=job.recipe.seed,
        on_progress=report,
    )
    return to_record(trained)


def _completer(job: Job, who: str) -> Completer:
    """Who is evaluated: the teacher, the base, or what was trained here."""
    from engine.completer import LocalCompleter
    from engine.folder import folder_fingerprint
    from students.load import load_student
    from teachers import build

    batch_size = job.recipe.eval.batch_size
    if who == "teacher":
        return build(job.recipe.teacher, batch_size=batch_size)
    folder = _base_folder(job.recipe) if who == "base" else job.run.paths.model(who)
    loaded = load_student(folder)
    return LocalCompleter(
        loaded.model,
        loaded.tokenizer,
        name=who,
        fingerprint=folder_fingerprint(folder),
        batch_size=batch_size,
    )


def _without_scores(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report without the score of each prompt, which ``eval/report.json`` keeps."""
    models = [{**model, "scores": []} for model in report["models"]]
    return {**report, "models": models}
