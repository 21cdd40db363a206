"""``distill filter``: the stage of a run, any other file of traces, or a comparison of settings."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import columns, note, percent, say, say_json, table
from cli.options import (
    AsJson,
    BudgetTokens,
    BudgetUsd,
    DryRun,
    On,
    Overrides,
    RestartFrom,
    RunFolder,
)

if TYPE_CHECKING:
    from distill.filter import FilterInput
    from distill.filter_setup import FilterSetup
    from distill.funnel import FilterReport
    from distill.recipe import Recipe


def filter_(
    recipe: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RECIPE]", help="A recipe, or the folder of a run.", show_default=False
        ),
    ] = None,
    *,
    traces: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Any JSONL or Parquet file of traces instead of the run's.",
            show_default=False,
        ),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Their prompts, if they are in a file of their own.",
            show_default=False,
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where to write.  [default: beside FILE]"),
    ] = None,
    mapping: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="FIELD=COLUMN",
            help="Which column of FILE is what; may be given several times.",
            show_default=False,
        ),
    ] = None,
    overrides: Overrides = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            "--sweep",
            metavar="KEY=A,B",
            help="Compare settings and write nothing; several keys give all combinations.",
            show_default=False,
        ),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            "--max-drop",
            metavar="SHARE",
            min=0.0,
            max=1.0,
            help="Stop when rules that find fault drop more than this share of the traces.",
            show_default=False,
        ),
    ] = None,
    unsafe: Annotated[
        bool,
        typer.Option(
            "--unsafe", help="Run code of traces even where the sandbox cannot close it in."
        ),
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Processes for FILE, or with --on.  [default: one for each core]",
        ),
    ] = None,
    on: On = None,
    run_dir: RunFolder = None,
    restart_from: RestartFrom = None,
    budget_usd: BudgetUsd = None,
    budget_tokens: BudgetTokens = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Keep what is right and whole; every drop has its reasons.

    With --traces it judges any file: our journals, or JSONL and Parquet with the columns prompt,
    completion (or reasoning and text) and answer; --map names other columns.

    Example: distill filter --traces traces.parquet --map prompt=problem
    """
    from distill.errors import RecipeError

    sets = [*(overrides or ())]
    sets += [f"filter.max_dropped_share={max_drop}"] if max_drop is not None else []
    sets += ["verify.options.unsafe=true"] if unsafe else []
    if traces is None and sweep is None:
        if recipe is None:
            raise RecipeError("give a recipe, or a file of traces: --traces FILE")
        alone = workers if on is None else None
        _refuse_unused(prompts=prompts, to=to, mapping=mapping, workers=alone)
        more = {"budget_usd": budget_usd, "budget_tokens": budget_tokens}
        more |= {"on": on, "workers": workers}
        _stage(recipe, sets, run_dir, restart_from, more, dry_run=dry_run, as_json=as_json)
        return
    from cli.filter_given import given_of, recipe_of

    given = given_of(recipe, traces, prompts, mapping or (), run_dir)
    if sweep is not None:
        _compare(recipe, sets, sweep, given, as_json=as_json)
        return
    _judge(recipe_of(recipe, sets), given, to, (on, workers), as_json=as_json)


def _stage(
    recipe: Path,
    sets: Sequence[str],
    run_dir: Path | None,
    restart_from: Any,  # noqa: ANN401 - a stage
    more: dict[str, Any],
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """The stage of a run; limits, among what is given more, are for a model that judges."""
    from cli.job import job_command

    job_command("filter")(
        recipe,
        overrides=[*sets],
        run_dir=run_dir,
        controls=False,
        restart_from=restart_from,
        **more,
        deadline=None,
        off_peak_only=False,
        dry_run=dry_run,
        as_json=as_json,
    )


def _refuse_unused(**options: object) -> None:
    from distill.errors import RecipeError

    given = [f"--{name}" for name, value in options.items() if value]
    if given:
        raise RecipeError(f"{', '.join(given)} goes with --traces FILE only")


def _judge(
    recipe: "Recipe",
    given: "FilterInput",
    to: Path | None,
    where: tuple[str | None, int | None],
    *,
    as_json: bool,
) -> None:
    from cli.filter_given import setup_of
    from cli.over import judging_over
    from cli.progress import show_progress
    from distill.filter import filter_traces
    from distill.funnel_text import format_funnel
    from distill.layout import RunLayout
    from distill.lock import FileLock
    from distill.records import to_record
    from distill.storage import make_folder

    paths = RunLayout(to or given.traces.with_name(f"{given.traces.stem}.filtered"))
    make_folder(paths.root)
    lock = FileLock(paths.lock, guards=paths.root)
    try:
        with show_progress() as report_progress:
            report = filter_traces(
                given,
                setup_of(recipe, given.traces.stem),
                paths,
                blend=recipe.blend,
                workers=where[1],
                elsewhere=judging_over(*where),
                on_progress=report_progress,
                on_note=lambda text: note(f"  note: {text}"),
            )
    finally:
        lock.release()
    if as_json:
        say_json({"folder": str(paths.root), **to_record(report)})
        return
    say("What became of the traces")
    say("\n".join(f"  {line}" for line in format_funnel(report, all_rules=False).split("\n")))
    say(_verdict_text(report))
    say(f"\nIn {paths.root}")
    rows = [
        (paths.train.name, "what is trained on, as conversations"),
        (paths.verdicts.name, "what was found about each trace, and what became of it"),
        (paths.filter_page.name, "the same with plots and examples, for a browser"),
    ]
    if paths.broken.exists():
        rows.append((paths.broken.name, f"{report.broken:,} rows that could not be read"))
    say(columns(rows))
    say("\nNext")
    say(columns([("one trace's story", f"distill explain {paths.root} TRACE_ID")]))


def _verdict_text(report: "FilterReport") -> str:
    known = report.traces - report.unknown
    if not known:
        return f"  Nobody could judge the answers ({report.verifier}): is there a gold answer?"
    text = f"  {percent(report.right / known)} of the traces are right ({report.verifier})"
    return text + (f", {report.unknown:,} could not be judged" if report.unknown else "")


def _compare(
    recipe: Path | None,
    sets: Sequence[str],
    given_sweep: Sequence[str],
    given: "FilterInput",
    *,
    as_json: bool,
) -> None:
    from cli.filter_given import combinations, recipe_of, setup_of
    from distill.filter_sweep import sweep
    from distill.records import to_record

    wanted = combinations(given_sweep)
    setups: list[FilterSetup] = [
        setup_of(recipe_of(recipe, [*sets, *one]), given.traces.stem) for one in wanted
    ]
    reports = sweep(given, setups)
    names = [" ".join(one) for one in wanted]
    if as_json:
        found = zip(names, reports, strict=True)
        say_json([{"settings": name, **to_record(report)} for name, report in found])
        return
    rows = [["", "kept", "of", "prompts", "tokens", "drops most"]]
    for name, report in zip(names, reports, strict=True):
        worst = max(report.funnel, key=lambda step: step.dropped)
        counts = (report.kept, report.traces, report.kept_prompts, report.kept_tokens)
        what = f"{worst.rule} {worst.dropped:,}" if worst.dropped else "-"
        rows.append([name, *(f"{count:,}" for count in counts), what])
    say(table(rows, indent=0))
    say("\nNothing was written.")
