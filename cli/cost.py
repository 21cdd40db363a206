"""``distill cost``: what a run has spent, from its folder alone."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import columns, paint, say, say_json, table
from cli.options import AsJson

if TYPE_CHECKING:
    from distill.plan import Plan
    from distill.spent import Spent
    from distill.stored_run import StoredRun


def cost(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of a run.", show_default=False)
    ],
    *,
    as_json: AsJson = False,
) -> None:
    """Show what a run has spent.

    Tokens and money by stage and model, and what may have been billed for nothing. Nothing is
    changed; a run that is under way may be looked at.

    Example: distill cost runs/my-run
    """
    from distill.stored_run import read_run

    stored = read_run(run)
    stages, lost = _stages(stored)
    if as_json:
        say_json(_as_json(stored, stages, lost))
    else:
        _say(stored, stages, lost)


def _stages(stored: "StoredRun") -> tuple[dict[str, dict[str, "Spent"]], int]:
    """What was billed, by stage and model, and requests whose answers never arrived."""
    from distill.spent import read_spent, unanswered_requests

    paths = stored.paths
    journals = {"generate": (paths.traces, paths.requests)}
    for who in stored.recipe.eval.models:
        journals[f"eval {who}"] = (paths.judged(who), paths.judged_requests(who))
    stages, lost = {}, 0
    for stage, (traces, requests) in journals.items():
        if traces.is_file() and (models := read_spent(traces)):
            stages[stage] = models
            samples = sum(spent.samples for spent in models.values())
            lost += unanswered_requests(requests, samples)
            lost += sum(spent.broken for spent in models.values())
    return stages, lost


def _say(stored: "StoredRun", stages: dict[str, dict[str, "Spent"]], lost: int) -> None:
    from cli.costs import lost_text, usage_text, usd_text

    say(f"{paint(stored.recipe.name, 'bold')}  {stored.paths.root}")
    if not stages:
        say("  nothing was billed: no trace of this run came from an endpoint")
        return
    rows = [
        ["", "samples", "right", "read", "cached", "reasoning", "answers", "USD", "a right one"]
    ]
    for stage, models in stages.items():
        for model, spent in models.items():
            usage = spent.usage
            each = spent.known_usd
            rows.append(
                [
                    f"{stage}: {model}",
                    f"{spent.samples:,}",
                    f"{spent.accepted:,}",
                    f"{usage.input_tokens:,}",
                    f"{usage.cached_tokens:,}",
                    f"{usage.reasoning_tokens:,}",
                    f"{usage.output_tokens - usage.reasoning_tokens:,}",
                    "unknown" if each is None else f"{each:,.4g}",
                    "unknown" if each is None else f"{each / max(spent.accepted, 1):.3g}",
                ]
            )
    say(table(rows))
    total = _total(stages)
    notes = [("in all", f"{usd_text(total.known_usd)}; {usage_text(total.usage)}")]
    if lost:
        notes.append(("lost", lost_text(lost)))
    if "generate" in stages:
        notes += _estimate_rows(stored, stages["generate"])
    say(f"\n{columns(notes)}")


def _estimate_rows(stored: "StoredRun", models: dict[str, "Spent"]) -> list[tuple[str, str]]:
    """What was expected beforehand, and what all samples of each prompt would have cost."""
    from cli.costs import usd_text

    spent = _total({"generate": models})
    estimate = _estimate(stored)
    expected = f"{estimate.samples:,.0f} samples, {usd_text(estimate.usd)} off-peak"
    rows = [("expected", f"{expected} for the whole generation (distill plan, before any trace)")]
    if stored.recipe.generate.until_correct is not None and spent.samples:
        fixed = estimate.fixed_samples
        usd = None if spent.known_usd is None else spent.known_usd / spent.samples * fixed
        rows.append(("fixed n", f"{fixed:,} samples would have cost about {usd_text(usd)}"))
    return rows


def _estimate(stored: "StoredRun") -> "Plan":
    from cli.plan import plan_of

    return plan_of(stored.recipe, stored.paths.root, measures=False).plan


def _total(stages: dict[str, dict[str, "Spent"]]) -> "Spent":
    from distill.spent import Spent

    total = Spent()
    for models in stages.values():
        for spent in models.values():
            total.merge(spent)
    return total


def _as_json(
    stored: "StoredRun", stages: dict[str, dict[str, "Spent"]], lost: int
) -> dict[str, Any]:
    from distill.records import to_record

    def shown(spent: "Spent") -> dict[str, Any]:
        each = spent.known_usd
        return {
            "samples": spent.samples,
            "accepted": spent.accepted,
            "usage": to_record(spent.usage),
            "usd": each,
            "usd_per_accepted": None
            if each is None or not spent.accepted
            else each / spent.accepted,
        }

    return {
        "run": str(stored.paths.root),
        "stages": {
            stage: {model: shown(spent) for model, spent in models.items()}
            for stage, models in stages.items()
        },
        "total": shown(_total(stages)),
        "maybe_billed_without_answer": lost,
        "expected_usd": _estimate(stored).usd if "generate" in stages else None,
    }
