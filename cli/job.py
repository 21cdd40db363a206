"""``distill run`` and the four stages as commands of their own: one signature, declared once."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from inspect import Parameter, Signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from cli.console import note, paint_note, say_json
from cli.data_options import DataMap, DataSet, DataSplit, data_settings
from cli.options import (
    AsJson,
    BudgetTokens,
    BudgetUsd,
    Controls,
    Deadline,
    DryRun,
    OffPeakOnly,
    On,
    Overrides,
    Pilot,
    Preview,
    RecipeFile,
    RestartFrom,
    Reuse,
    RunFolder,
    Workers,
)
from cli.processes import (
    Gpus,
    Procs,
    TeacherProcs,
    follow,
    is_launched,
    launched,
    processes_of,
    with_teacher_on,
)
from distill.layout import STAGES, Stage

if TYPE_CHECKING:
    from distill.allowance import Limits
    from distill.manifest import RunManifest
    from distill.recipe import Recipe
    from engine.launched import Launched
    from engine.processes import Processes

_SOME_FAILED = 11

JobName = Literal["run"] | Stage
JOBS: tuple[JobName, ...] = ("run", *STAGES)
_DOCS: dict[JobName, str] = {
    "run": """Do the whole job: generate, filter, train, eval.

    A run that was stopped goes on where it was; what is finished is passed over.

    Example: distill run recipes/quickstart.toml --set train.epochs=2
    """,
    "generate": """Sample the teacher on every prompt and verify each trace.

    Example: distill generate recipes/quickstart.toml --set generate.samples=8
    """,
    "filter": """Keep what is right and whole; every drop has its reason.

    Example: distill filter recipes/quickstart.toml
    """,
    "train": """Fine-tune the student on its traces or any data set.

    A data set holds conversations (messages), prompt with completion, or plain text; which form it
    has is found by its columns and said. A recipe with [train.data] needs no teacher.

    Example: distill train my.toml --data chats.jsonl --map messages=dialog
    """,
    "eval": """Put base, student and teacher on held-out prompts.

    Example: distill eval recipes/quickstart.toml --controls
    """,
}


# Which options a command has beside those that all of them have.
_SAMPLING: dict[str, tuple[object, object]] = {
    "budget_usd": (BudgetUsd, None),
    "budget_tokens": (BudgetTokens, None),
    "deadline": (Deadline, None),
    "off_peak_only": (OffPeakOnly, False),
}
_ALL: dict[str, tuple[object, object]] = {
    "overrides": (Overrides, None),
    "run_dir": (RunFolder, None),
    "controls": (Controls, False),
    "restart_from": (RestartFrom, None),
    "dry_run": (DryRun, False),
    "as_json": (AsJson, False),
}
_PROCESSES: dict[str, tuple[object, object]] = {"gpus": (Gpus, None), "procs": (Procs, None)}
_SHARED: dict[str, tuple[object, object]] = {"teacher_procs": (TeacherProcs, None)}
_WORKERS: dict[str, tuple[object, object]] = {"on": (On, None), "workers": (Workers, None)}
_MORE: dict[JobName, dict[str, tuple[object, object]]] = {
    "run": {**_SAMPLING, **_PROCESSES, "reuse": (Reuse, None)},
    "generate": {
        **_SAMPLING,
        **_SHARED,
        "pilot": (Pilot, None),
        "reuse": (Reuse, None),
        **_WORKERS,
    },
    "filter": _WORKERS,
    "train": {
        "data": (DataSet, None),
        "split": (DataSplit, None),
        "mapping": (DataMap, None),
        "preview": (Preview, None),
        **_PROCESSES,
    },
    "eval": {**_SAMPLING, **_SHARED},
}


@dataclass(frozen=True, slots=True)
class Order:
    """What the user asked for.

    Attributes:
        source: A recipe, or the folder of a run that shall go on.
        stages: Which ones, in order; empty for all that the recipe has.
        overrides: Each ``"key=value"``.
        run_dir: Where to; ``None`` for ``runs/`` and the recipe's name.
        controls: Whether to switch the controls on.
        restart_from: The first stage whose results are put aside.
        limits: What may be spent on sampling.
        pilot: Sample so many prompts only, and leave the stage unfinished.
        reuse: Another run whose answers are taken over.
        processes: Who trains; ``None`` for this process alone.
        teacher_procs: Over how many processes a local teacher is shared out; as the recipe says
            unless given.
        on: Where workers are; ``None`` for this process alone.
        workers: How many of them; ``None`` for as many as fit.
    """

    source: Path
    stages: Sequence[Stage]
    overrides: Sequence[str] = ()
    run_dir: Path | None = None
    controls: bool = False
    restart_from: Stage | None = None
    limits: "Limits | None" = None
    pilot: int | None = None
    reuse: Path | None = None
    processes: "Processes | Launched | None" = None
    teacher_procs: int | None = None
    on: str | None = None
    workers: int | None = None

    def command(self, name: str) -> str:
        """Another command about the same run, to be shown."""
        words = ["distill", name, str(self.source)]
        for override in self.overrides:
            words += ["--set", override]
        if self.run_dir is not None:
            words += ["--run-dir", str(self.run_dir)]
        words += ["--controls"] if self.controls else []
        return shlex.join(words)


def job_command(name: JobName) -> Callable[..., None]:
    """The command function of ``run`` or of one stage."""
    stages = () if name == "run" else (name,)

    def command(recipe: Path, **given: Any) -> None:  # noqa: ANN401 - one for each option
        if name == "generate":
            from cli.over import refuse_alone

            refuse_alone(given.get("on"), given.get("workers"), given.get("teacher_procs"))
        data = data_settings(given.get("data"), given.get("split"), given.get("mapping"))
        order = Order(
            recipe,
            stages,
            overrides=[*data, *(given["overrides"] or ())],
            run_dir=given["run_dir"],
            controls=given["controls"],
            restart_from=given["restart_from"],
            limits=limits_of(given),
            pilot=given.get("pilot"),
            reuse=given.get("reuse"),
            processes=processes_of(given.get("gpus"), given.get("procs")),
            teacher_procs=given.get("teacher_procs"),
            on=given.get("on"),
            workers=given.get("workers"),
        )
        if given.get("preview"):
            from cli.preview import show_preview

            show_preview(*recipe_and_folder(order), given["preview"], as_json=given["as_json"])
        elif given["dry_run"]:
            _show_plan(order, as_json=given["as_json"])
        elif is_launched():
            with launched(name, order.processes) as group:
                if group.meeting.is_first:
                    _carry_out(replace(order, processes=group), as_json=given["as_json"])
                else:
                    follow(group)
        else:
            _carry_out(order, as_json=given["as_json"])

    options = {**_MORE.get(name, {}), **_ALL}
    command.__doc__ = _DOCS[name]
    # Typer reads what a command takes off its signature.
    command.__signature__ = Signature(  # type: ignore[attr-defined]
        [Parameter("recipe", Parameter.POSITIONAL_OR_KEYWORD, annotation=RecipeFile)]
        + [
            Parameter(option, Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
            for option, (annotation, default) in options.items()
        ]
    )
    return command


def limits_of(given: dict[str, Any]) -> "Limits | None":
    """What may be spent, by the options about it; ``None`` without any."""
    names = ("budget_usd", "budget_tokens", "deadline", "off_peak_only")
    if not any(given.get(name) for name in names) and given.get("budget_usd") is None:
        return None
    from cli.spending import read_limits

    return read_limits(**{name: given[name] for name in names})


def recipe_and_folder(order: Order) -> tuple["Recipe", Path]:
    """What is run and where: a new run or an old one by its recipe, or an old one by its folder."""
    recipe, folder = _recipe_and_folder(order)
    if order.teacher_procs is not None:
        recipe = with_teacher_on(recipe, order.teacher_procs)
    return recipe, folder


def _recipe_and_folder(order: Order) -> tuple["Recipe", Path]:
    from distill.errors import RecipeError
    from distill.overrides import load_recipe
    from distill.recipe import missing
    from distill.stored_run import read_run

    if not (order.source / "manifest.json").is_file():
        controls = ["eval.controls=true"] if order.controls else []
        recipe = load_recipe(order.source, [*order.overrides, *controls])
        return recipe, order.run_dir or Path("runs") / recipe.name
    if order.overrides or order.run_dir is not None:
        raise RecipeError(
            f"{order.source} is the folder of a run, which has its recipe and its place",
            hint="to change either, give the recipe file instead of the folder",
        )
    recipe = read_run(order.source).recipe
    if order.controls:
        evaluation = (recipe.eval or missing("eval")).model_copy(update={"controls": True})
        recipe = recipe.model_copy(update={"eval": evaluation})
    return recipe, order.source


def _show_plan(order: Order, *, as_json: bool) -> None:
    from cli.outcome import plan_json, say_plan

    recipe, folder = recipe_and_folder(order)
    manifest, stages = _stored_manifest(folder), order.stages or recipe.stages
    if as_json:
        say_json(plan_json(recipe, folder, manifest, stages))
    else:
        say_plan(recipe, folder, manifest, stages)


def _carry_out(order: Order, *, as_json: bool) -> None:
    from cli.figures import has_failures
    from cli.outcome import note_intent, note_outcome, outcome_json, say_outcome
    from cli.pipeline import refuse_unready, run_stage
    from cli.progress import show_progress
    from cli.work import Job
    from distill.run_report import write_report
    from distill.rundir import RunDir
    from distill.stored_run import StoredRun

    recipe, folder = recipe_and_folder(order)
    stages = order.stages or recipe.stages
    refuse_unready(_stored_manifest(folder), stages[0], recipe.stages, order.command)
    note(paint_note(f"recipe {recipe.name}, run folder {folder}", "dim"))
    if "eval" in stages:
        _refuse_missing_benchmark(recipe)
    outcomes = []
    with RunDir.open(folder, recipe, restart_from=order.restart_from) as run:
        for stage in stages:
            note_intent(stage, recipe)
            with show_progress() as report:
                job = Job(
                    run,
                    report,
                    order.limits,
                    order.pilot,
                    order.reuse,
                    processes=order.processes,
                    on=order.on,
                    workers=order.workers,
                )
                outcome = run_stage(job, stage)
            note_outcome(outcome)
            outcomes.append(outcome)
        manifest = run.manifest
        write_report(StoredRun(run.paths, recipe, manifest))
    if as_json:
        say_json(outcome_json(folder, recipe, outcomes))
    else:
        note()
        say_outcome(folder, recipe, outcomes, manifest, order.command)
    if any(has_failures(outcome.stage, outcome.summary) for outcome in outcomes):
        raise typer.Exit(_SOME_FAILED)


def _refuse_missing_benchmark(recipe: "Recipe") -> None:
    """Have the files of a benchmark before hours of work that end with it."""
    from distill.benchmarks.locate import fetch_files
    from distill.benchmarks.table import find_benchmark
    from distill.recipe import BenchmarkPrompts

    section = recipe.eval.prompts if recipe.eval else None
    if isinstance(section, BenchmarkPrompts):
        benchmark = find_benchmark(section.name)
        if benchmark.read is not None:
            fetch_files(benchmark, section.path)


def _stored_manifest(folder: Path) -> "RunManifest | None":
    from distill.stored_run import read_run

    return read_run(folder).manifest if (folder / "manifest.json").is_file() else None
