"""``distill explain``: one trace's whole story."""

from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import columns, paint, say, say_json, shown_path
from cli.options import AsJson

if TYPE_CHECKING:
    from distill.filter_explain import Story


def explain(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            help="Folder of a run or an evaluation, or the one that filter --to wrote.",
            show_default=False,
        ),
    ],
    trace_id: Annotated[
        str,
        typer.Argument(metavar="TRACE_ID", help="Such as train-0/17#2.", show_default=False),
    ],
    *,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="NAME",
            help="A completion of an evaluated model, such as student, not one of the teacher's"
            " traces.",
            show_default=False,
        ),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Print the whole trace, however long.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Tell what was found about one trace, and why.

    A trace of the teacher: what each rule of the filter measured. With --model, or in the folder of
    an evaluation: what a model answered, and its verdict.

    Example: distill explain runs/quickstart train-0/17#1
    """
    from distill.evaluation import is_evaluation
    from distill.filter_explain import explain as find_story
    from distill.layout import RunLayout

    if model is not None or is_evaluation(run):
        from cli.explain_eval import explain_completion

        explain_completion(run, model, trace_id, full=full, as_json=as_json)
        return
    story = find_story(RunLayout(run), trace_id)
    if as_json:
        say_json(_as_json(story))
    else:
        _show(story, full=full)


def _show(story: "Story", *, full: bool) -> None:
    row = story.verdict
    say(f"{paint(row['id'], 'bold')}  row {row['row']} of {shown_path(story.traces)}")
    verdict = row["verdict"]
    judged = {True: "right", False: "wrong", None: "unknown"}[verdict["is_accepted"]]
    say(
        columns(
            [
                ("prompt", f"{row['prompt_id']}, {_rate(row['pass_rate'])}"),
                ("written by", row["model"] or "nobody says"),
                ("tokens", f"{row['tokens']:,}"),
                ("verdict", f"{judged}: {verdict['reason']} ({verdict['verifier']})"),
                ("became", fate(row)),
            ]
        )
    )
    say("\nWhat every rule found")
    say(columns([_check_row(check) for check in row["checks"]]))
    if story.siblings:
        say("\nOther traces of the prompt")
        say(columns([(one["id"], fate(one)) for one in story.siblings]))
    _show_text(story, full=full)


def _show_text(story: "Story", *, full: bool) -> None:
    from distill.filter_shard import excerpt

    if story.candidate is None:
        say(f"\nIts text cannot be shown: {shown_path(story.traces)} is gone or was changed.")
        return
    completion = story.candidate.trace.completion
    parts = [
        ("Prompt", story.candidate.prompt.text),
        ("Gold answer", story.candidate.prompt.answer or "not known"),
        ("Reasoning", completion.reasoning if completion.reasoning is not None else "none"),
        ("Answer", completion.text),
    ]
    for name, text in parts:
        say(f"\n{name}\n{indent(text if full else excerpt(text), '  ')}")


def fate(row: dict[str, Any]) -> str:
    """What became of a trace, and why."""
    if row["selected"]:
        return f"trained on, weight {row['weight']:g}"
    first = row["first_failed"]
    reason = next((one["reason"] for one in row["checks"] if one["name"] == first), "") or ""
    also = f"; also fails {', '.join(row['also_failed'])}" if row["also_failed"] else ""
    return f"dropped by {first}{f': {reason}' if reason else ''}{also}"


def _rate(pass_rate: float | None) -> str:
    if pass_rate is None:
        return "which nobody could judge"
    return f"which {100 * pass_rate:.0f} % of its traces solve"


def _check_row(check: dict[str, Any]) -> tuple[str, str]:
    mark = paint("✓", "green") if check["ok"] else paint("✗", "red")
    value = check["value_text"] if check["value_text"] is not None else _number(check["value"])
    limit = check["threshold_text"]
    limit = limit if limit is not None else _number(check["threshold"])
    text = value if not limit else f"{value or '-'} (limit {limit})"
    reason = f"  {check['reason']}" if check["reason"] else ""
    return f"{mark} {check['name']}/{check['version']}", f"{text}{reason}".strip() or "-"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _as_json(story: "Story") -> dict[str, Any]:
    from distill.records import to_record

    candidate = story.candidate
    return {
        **story.verdict,
        "fate": fate(story.verdict),
        "traces": str(story.traces),
        "siblings": [{"id": one["id"], "fate": fate(one)} for one in story.siblings],
        "prompt": to_record(candidate.prompt) if candidate else None,
        "completion": to_record(candidate.trace.completion) if candidate else None,
    }
