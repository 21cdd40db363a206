"""``distill status``: where a run stands, from its folder alone."""

from collections.abc import Iterator
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import columns, duration, paint, say, say_json
from cli.options import AsJson
from distill.layout import Stage

if TYPE_CHECKING:
    from distill.stored_run import StoredRun


def status(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="Folder of a run or an evaluation.", show_default=False),
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Show where a run stands, its figures, and what comes next.

    Nothing is changed; a run that is under way may be looked at.

    Example: distill status runs/quickstart
    """
    from distill.evaluation import is_evaluation
    from distill.stored_run import read_run

    if is_evaluation(run):
        from cli.status_eval import show_evaluation

        show_evaluation(run, as_json=as_json)
        return
    stored = read_run(run)
    if as_json:
        say_json(_as_json(stored))
    else:
        _show(stored)


def _show(stored: "StoredRun") -> None:
    from cli.eval_text import their_text
    from cli.figures import eval_text, funnel_text
    from cli.outcome import next_commands
    from distill.theirs import read_theirs

    folder, manifest = stored.paths.root, stored.manifest
    say(f"{paint(stored.recipe.name, 'bold')}  {folder}, begun {manifest.created}")
    say(columns([_stage_row(stored, stage) for stage in stored.recipe.stages]))
    if manifest.is_finished("filter"):
        say("\nWhat became of the traces")
        say(indent(funnel_text(manifest.stages["filter"].summary), "  "))
    if manifest.is_finished("eval"):
        summary = manifest.stages["eval"].summary
        say(f"\nOn {summary['report']['prompts']:,} held-out prompts\n{eval_text(summary)}")
    for theirs in read_theirs(stored.paths):
        say(f"\n{their_text(theirs)}")
    say("\nNext")
    say(
        columns(
            next_commands(folder, stored.recipe, manifest, lambda name: f"distill {name} {folder}")
        )
    )


def _stage_row(stored: "StoredRun", stage: Stage) -> tuple[str, str]:
    from cli.figures import stage_line

    record = stored.manifest.stages.get(stage)
    if record is None:
        return f"- {stage}", ""
    if record.finished is None:
        return f"{paint('…', 'yellow')} {stage}", "; ".join(_progress(stored, stage)) or "begun"
    line = f"{stage_line(stage, record.summary)} ({duration(record.seconds)})"
    return f"{paint('✓', 'green')} {stage}", line


def _progress(stored: "StoredRun", stage: Stage) -> Iterator[str]:
    """How far a stage is that was begun, from what it has written."""
    from distill.prompts import read_prompts

    paths, recipe = stored.paths, stored.recipe
    journals = [*paths.blocks.glob("*/traces.jsonl")] or [paths.traces]
    if stage == "generate" and paths.traces.is_file():
        wanted = len(read_prompts(paths.train_prompts)) * recipe.generate.samples
        most = "at most " if recipe.generate.until_correct else ""
        yield f"{sum(map(count_traces, journals)):,} of {most}{wanted:,} traces"
    if stage in ("train", "eval"):
        for folder in sorted((paths.root / "checkpoints").glob("*/checkpoint-*")):
            yield f"training of {folder.parent.name} is at step {folder.name.partition('-')[2]}"
    if stage == "eval" and recipe.eval is not None and paths.eval_prompts.is_file():
        wanted = len(read_prompts(paths.eval_prompts)) * recipe.eval.samples
        for journal in sorted((paths.root / "eval").glob("*.jsonl")):
            yield f"{journal.stem} {count_traces(journal):,} of {wanted:,} completions"


def count_traces(journal: Path) -> int:
    """Records of a journal of traces; its first line is a header."""
    with journal.open("rb") as file:
        return max(sum(1 for _ in file) - 1, 0)


def _as_json(stored: "StoredRun") -> dict[str, Any]:
    from cli.pipeline import next_stage

    manifest = stored.manifest
    stages: dict[str, Any] = {}
    for stage in stored.recipe.stages:
        record = manifest.stages.get(stage)
        is_finished = record is not None and record.finished is not None
        state = "finished" if is_finished else "begun" if record else "to do"
        stages[stage] = {"state": state, "progress": [], "summary": {}}
        if record is not None:
            stages[stage] |= {"seconds": record.seconds, "summary": record.summary}
            stages[stage]["progress"] = [] if is_finished else list(_progress(stored, stage))
    return {
        "run": str(stored.paths.root),
        "recipe": stored.recipe.name,
        "created": manifest.created,
        "stages": stages,
        "next": next_stage(manifest, stored.recipe.stages),
    }
