"""What a job says: what it is about to do, how each stage ended, and the figures at the end."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import indent
from typing import Any
from urllib.parse import urlsplit

from cli.console import columns, duration, note, paint_note, say, shown_path
from cli.costs import failures_text, spending_text
from cli.figures import (
    Summary,
    eval_text,
    funnel_text,
    stage_line,
)
from cli.pipeline import StageOutcome, next_stage
from cli.train_text import train_text
from distill.data_sections import FileData, HubData
from distill.layout import STAGES, RunLayout, Stage
from distill.manifest import RunManifest
from distill.recipe import (
    ApiTeacher,
    BenchmarkPrompts,
    EmbeddedPrompts,
    EmbeddedStudent,
    EngineTeacher,
    FilePrompts,
    HubStudent,
    LocalTeacher,
    Recipe,
    ReplayTeacher,
    missing,
)

Commander = Callable[[str], str]
"""Gives the command of that name about the same run, to be shown."""


def note_intent(stage: Stage, recipe: Recipe) -> None:
    """Say what a stage is about to do."""
    note(f"{paint_note(f'{stage:<9}', 'bold')} {intent(stage, recipe)}")


def note_outcome(outcome: StageOutcome) -> None:
    """Say how a stage ended."""
    line = stage_line(outcome.stage, outcome.summary)
    if outcome.is_partial:
        note(f"  {paint_note('✓', 'green')} pilot: {line} ({duration(outcome.seconds)})")
    elif outcome.was_done:
        note(f"  {paint_note('✓', 'green')} already done: {line}")
    else:
        note(f"  {paint_note('✓', 'green')} {line} ({duration(outcome.seconds)})")


def intent(stage: Stage, recipe: Recipe) -> str:
    """What a stage does with this recipe, in one line."""
    if stage == "generate":
        section = recipe.generate
        many = f"{section.samples} traces for each"
        if section.until_correct is not None:
            many = (
                f"up to {section.samples} traces, until {section.until_correct} are right, for each"
            )
        prompts = _prompts_text(recipe.prompts or missing("prompts"))
        return f"{many} of {prompts}, from {_teacher_text(recipe)}"
    if stage == "filter":
        kept = {"only": "right and whole", "prefer": "whole, right where there is one"}
        many = f", {recipe.select.per_prompt} of a prompt at most"
        mixed = " and what is mixed in" if recipe.blend.sources else ""
        return f"keep traces that are {kept.get(recipe.filter.correct, 'whole')}{many}{mixed}"
    if stage == "train":
        section_ = recipe.train
        names = {"full": "all weights", "lora": "LoRA", "qlora": "LoRA over four bits"}
        rank = "" if section_.method == "full" else f" of rank {section_.lora.r}"
        passes = f"{section_.epochs} epochs"
        if section_.stages:
            passes = f"stages {', '.join(stage.name for stage in section_.stages)}"
        on = f", on {_data_text(section_.data)}" if section_.data else ""
        return f"{_student_text(recipe)}, {names[section_.method]}{rank}, {passes}{on}"
    evaluation = recipe.eval or missing("eval")
    controls = " and the controls" if evaluation.controls else ""
    models = ", ".join(evaluation.models) + controls
    prompts = _prompts_text(evaluation.prompts)
    return f"{models} on {prompts}, {evaluation.samples} completions each"


def say_outcome(
    folder: Path,
    recipe: Recipe,
    outcomes: Sequence[StageOutcome],
    manifest: RunManifest,
    command: Commander,
) -> None:
    """The figures of what was done, where it lies, and what to do next."""
    for outcome in outcomes:
        if text := _result_text(outcome.stage, outcome.summary, recipe):
            say(f"{text}\n")
    say(f"In {folder}")
    say(columns(_places(folder, manifest)))
    say("\nNext")
    if any(outcome.is_partial for outcome in outcomes):
        say(columns([("what all will cost", command("plan"))]))
        say(columns([("sample the rest  ", command("generate"))]))
    else:
        say(columns(next_commands(folder, recipe, manifest, command)))


def outcome_json(folder: Path, recipe: Recipe, outcomes: Sequence[StageOutcome]) -> dict[str, Any]:
    """The same for programs."""
    return {
        "run": str(folder),
        "recipe": recipe.name,
        "stages": {
            outcome.stage: {
                "was_done": outcome.was_done,
                "seconds": outcome.seconds,
                **outcome.summary,
            }
            for outcome in outcomes
        },
    }


def next_commands(
    folder: Path, recipe: Recipe, manifest: RunManifest, command: Commander
) -> list[tuple[str, str]]:
    """What the user may want to do now, most likely first, each with its command."""
    stage = next_stage(manifest, recipe.stages)
    if stage is not None:
        commands = [("all that is left", command("run"))]
        if stage != recipe.stages[0]:
            commands.insert(0, ("the next stage", command(stage)))
        generated = manifest.stages.get("generate")
        if generated is not None and generated.summary.get("failed"):
            again = f"{command('generate')} --run-dir NEW --reuse {folder}"
            commands.append(("ask again for those without an answer", again))
        return commands
    commands = [
        ("talk to the student", f"distill chat {folder / 'student'}"),
        ("see these figures again", f"distill status {folder}"),
    ]
    if recipe.train.needs_traces and not manifest.stages["eval"].summary["controls"]:
        again = f"{command('eval')} --controls --restart-from eval"
        commands.append(("add the controls", again))
    return commands


def say_plan(
    recipe: Recipe, folder: Path, manifest: RunManifest | None, stages: Sequence[Stage]
) -> None:
    """What would be done."""
    say(f"{folder} ({'exists' if manifest else 'new'})")
    rows: list[tuple[str, str]] = []
    for stage in stages:
        is_done = manifest is not None and manifest.is_finished(stage)
        rows.append((stage, "already done" if is_done else intent(stage, recipe)))
        if stage == "train" and not is_done and isinstance(recipe.train.data, FileData):
            rows.append(("", _form_text(recipe.train.data)))
    say(columns(rows))


def plan_json(
    recipe: Recipe, folder: Path, manifest: RunManifest | None, stages: Sequence[Stage]
) -> dict[str, Any]:
    """The same for programs."""
    done = [stage for stage in stages if manifest is not None and manifest.is_finished(stage)]
    return {
        "run": str(folder),
        "recipe": recipe.model_dump(mode="json"),
        "stages": {stage: "done" if stage in done else "to do" for stage in stages},
    }


def _result_text(stage: Stage, summary: Summary, recipe: Recipe) -> str:
    if stage == "generate":
        parts = [failures_text(summary), spending_text(summary, recipe.select.per_prompt)]
        return "\n\n".join(filter(None, parts))
    if stage == "filter":
        return f"What became of the traces\n{indent(funnel_text(summary), '  ')}"
    if stage == "eval":
        prompts = summary["report"]["prompts"]
        return f"On {prompts:,} held-out prompts\n{eval_text(summary)}"
    return train_text(summary)


def _places(folder: Path, manifest: RunManifest) -> list[tuple[str, str]]:
    """What lies in the run folder, of the stages that are finished."""
    paths = RunLayout(folder)
    places: Mapping[Stage, list[tuple[Path, str]]] = {
        "generate": [(paths.traces, "every trace with its verdict")],
        "filter": [
            (paths.train, "what the student is trained on, as conversations"),
            (paths.verdicts, "what was found about each trace, and what became of it"),
            (paths.filter_page, "the same with plots and examples, for a browser"),
        ],
        "train": [(paths.model("student"), "the student: weights, tokenizer, chat template")],
        "eval": [(paths.report, "all figures of the evaluation")],
    }
    listed = [
        (path.relative_to(folder).as_posix(), text)
        for stage in STAGES
        if manifest.is_finished(stage)
        for path, text in places[stage]
    ]
    page = (paths.page.name, "the whole run on one page, for a browser")
    return [*listed, page, ("manifest.json", "versions, seeds, hashes, figures")]


def _prompts_text(section: EmbeddedPrompts | FilePrompts | BenchmarkPrompts) -> str:
    if isinstance(section, BenchmarkPrompts):
        return f"benchmark {section.name}"
    if isinstance(section, EmbeddedPrompts):
        return f"{section.count:,} embedded prompts ({section.split})"
    return f"the prompts in {shown_path(section.path)}"


def _teacher_text(recipe: Recipe) -> str:
    teacher = recipe.teacher
    if isinstance(teacher, ReplayTeacher):
        return f"the recording {shown_path(teacher.path)}"
    if isinstance(teacher, ApiTeacher):
        where = urlsplit(teacher.base_url).netloc if teacher.base_url else teacher.endpoint
        return f"{teacher.model} at {where}"
    if isinstance(teacher, EngineTeacher):
        servers = len(teacher.join) or teacher.replicas
        name = "your command" if teacher.command else teacher.engine
        verb = "joined" if teacher.join else "started and watched"
        return f"{teacher.model} on {servers} x {name}, {verb}"
    if isinstance(teacher, LocalTeacher):
        many = f" by {teacher.processes} processes" if teacher.processes > 1 else ""
        return f"{teacher.model.rpartition('/')[2]} on this machine{many}"
    return "the embedded teacher"


def _form_text(section: FileData) -> str:
    """What a data set holds, by its first rows."""
    from distill.training_data import open_training_data

    return f"its form: {open_training_data(section).form.describe()}"


def _data_text(section: FileData | HubData) -> str:
    return shown_path(section.path) if isinstance(section, FileData) else section.dataset


def _student_text(recipe: Recipe) -> str:
    student = recipe.student
    if isinstance(student, EmbeddedStudent):
        return "the embedded base"
    name = student.model if isinstance(student, HubStudent) else f"in {shown_path(student.path)}"
    template = f" with template {shown_path(student.template)}" if student.template else ""
    return f"the base {name}{template}"
