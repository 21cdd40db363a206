"""``distill eval rejudge``: the stored answers of an evaluation, judged again."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import columns, say, say_json
from cli.options import AsJson

if TYPE_CHECKING:
    from distill.types import Prompt, Verifier

_SHOWN = 10


def eval_rejudge(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="Folder of a run or of an evaluation.", show_default=False
        ),
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Judge the stored answers again.

    The same verifier must find the same: exit code 13 if any verdict differs. Nothing is written,
    and no model is asked.

    Example: distill eval rejudge runs/quickstart
    """
    from distill.records import to_record
    from distill.rejudge import rejudge

    verifier, prompts, journals = _judged(run)
    found = {path.stem: rejudge(path, prompts, verifier) for path in journals}
    if as_json:
        say_json({who: to_record(one) for who, one in found.items()})
    else:
        rows = []
        for who, one in found.items():
            by = one.verifier_now
            if one.verifier_then != by:
                by = f"{one.verifier_then} then, {by} now"
            told = f"{len(one.changed):,} differ" if one.changed else "all as they were"
            rows.append((who, f"{one.traces:,} verdicts, {told} ({by})"))
        say(columns(rows, indent=0))
        for one in found.values():
            say_changed = [
                (each.trace_id, f"{each.then.reason}  ->  {each.now.reason}")
                for each in one.changed[:_SHOWN]
            ]
            if say_changed:
                say(columns(say_changed))
    if any(one.changed for one in found.values()):
        raise typer.Exit(13)


def _judged(run: Path) -> "tuple[Verifier, list[Prompt], list[Path]]":
    """Who judges, what was asked, and the journals of the answers."""
    from distill.errors import RunDirError
    from distill.evaluation import is_evaluation, read_evaluation
    from distill.prompts import read_prompts
    from distill.stored_run import read_run

    if is_evaluation(run):
        stored = read_evaluation(run)
        paths, verifier = stored.paths, stored.evaluation.build_verifier()
    else:
        from cli.stages import load_benchmark_of
        from distill.verify import build_verifier

        of_run = read_run(run)
        benchmark = load_benchmark_of(of_run.recipe)
        paths = of_run.paths
        verifier = build_verifier(benchmark.verifier, **benchmark.options)
    journals = list(_journals(paths.root / "eval"))
    if not journals:
        raise RunDirError(f"{run}: nothing was evaluated here yet")
    return verifier, read_prompts(paths.eval_prompts), journals


def _journals(folder: Path) -> Iterator[Path]:
    yield from sorted(folder.glob("*.jsonl"))
