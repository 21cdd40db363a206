"""``distill cost``: what a run has spent, from its folder alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import columns, paint, percent, say, say_json, shown_path, table
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
    from distill.evaluation import is_evaluation
    from distill.stored_run import read_run

    if is_evaluation(run):
        from cli.cost_eval import show_cost

        show_cost(run, as_json=as_json)
        return
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
    journals = {
        "generate": (paths.traces, paths.requests),
        "judge": (paths.judge / "findings.jsonl", paths.judge / "requests.jsonl"),
    }
    for who in stored.recipe.eval.models if stored.recipe.eval else ():
        journals[f"eval {who}"] = (paths.judged(who), paths.judged_requests(who))
    stages, lost = {}, 0
    for stage, (traces, requests) in journals.items():
        models = read_spent(traces) if traces.is_file() else {}
        if models:
            stages[stage] = models
        samples = sum(spent.samples for spent in models.values())
        lost += unanswered_requests(requests, samples)
        lost += sum(spent.broken for spent in models.values())
    return stages, lost


def _say(stored: "StoredRun", stages: dict[str, dict[str, "Spent"]], lost: int) -> None:
    from cli.costs import gpu_hours_text, lost_text, usage_text, usd_text

    say(f"{paint(stored.recipe.name, 'bold')}  {shown_path(stored.paths.root)}")
    if not stages:
        say("  nothing was billed: no trace of this run came from an endpoint")
        if lost:
            say(columns([("lost", lost_text(lost))]))
        return
    say(_stage_table(stages))
    total = _total(stages)
    notes = [("in all", f"{usd_text(total.known_usd)}; {usage_text(total.usage)}")]
    price = _usd_per_gpu_hour(stored)
    if price is not None and total.usd:
        notes.append(("by the hour", f"{gpu_hours_text(total.usd, price)} at {price:g} USD each"))
    if total.unpriced and total.known_usd is None and total.usd:
        known = f"{total.unpriced:,} of {total.samples:,} samples have no price"
        notes.append(("known", f"{usd_text(total.usd)}; {known}"))
    if lost:
        notes.append(("lost", lost_text(lost)))
    if "generate" in stages:
        notes += _comparison_rows(stored, stages["generate"])
    say(f"\n{columns(notes)}")


def _stage_table(stages: dict[str, dict[str, "Spent"]]) -> str:
    rows = [["", "samples", "right", "read", "cached", "reasoning", "answers", "USD", "USD/right"]]
    for stage, models in stages.items():
        for model, spent in models.items():
            usage, usd = spent.usage, spent.known_usd
            figures = (spent.samples, spent.accepted, usage.input_tokens, usage.cached_tokens)
            written = (usage.reasoning_tokens, usage.output_tokens - usage.reasoning_tokens)
            each = None if usd is None or not spent.accepted else usd / spent.accepted
            rows.append(
                [
                    f"{stage}: {model}",
                    *(f"{figure:,}" for figure in (*figures, *written)),
                    "unknown" if usd is None else f"{usd:,.4g}",
                    "-" if each is None else f"{each:.3g}",
                ]
            )
    return table(rows)


def _comparison_rows(stored: "StoredRun", models: dict[str, "Spent"]) -> list[tuple[str, str]]:
    """The spending against what was planned, and against drawing all samples of each prompt."""
    from cli.costs import usd_text
    from cli.planned import read

    spent = _total({"generate": models})
    rows = []
    planned, estimate = read(stored.paths.root), _estimate(stored)
    if planned is not None:
        rows.append(("planned", _planned_text(planned, stored, spent)))
    if estimate is not None:
        expected = f"{estimate.samples:,.0f} samples, {usd_text(estimate.usd)}"
        if estimate.peak_usd is not None:
            expected += f" off-peak, {usd_text(estimate.peak_usd)} at peak"
        rows.append(("expected", f"{expected}, by what is assumed before any trace"))
    fixed = _fixed(stored, estimate, spent)
    if fixed is not None:
        samples, usd = fixed
        rows.append(("fixed n", f"{samples:,} samples would have cost about {usd_text(usd)}"))
    return rows


def _planned_text(planned: Mapping[str, Any], stored: "StoredRun", spent: "Spent") -> str:
    from cli.costs import usd_text

    text = usd_text(planned["usd"])
    if planned["low_usd"] is not None:
        text += f" ({usd_text(planned['low_usd'])} to {usd_text(planned['high_usd'])})"
    text += f" after {planned['stored']:,} samples ({planned['at'][:10]})"
    if not stored.manifest.is_finished("generate"):
        return f"{text}; the generation is not finished"
    if spent.known_usd is None or not planned["usd"]:
        return text
    more = spent.known_usd / planned["usd"] - 1
    return f"{text}; it became {percent(abs(more))} {'more' if more >= 0 else 'less'}"


def _fixed(
    stored: "StoredRun", estimate: "Plan | None", spent: "Spent"
) -> tuple[int, float | None] | None:
    """What all samples of each prompt would have been; ``None`` if all were drawn anyway."""
    if stored.recipe.generate.until_correct is None or estimate is None or not spent.samples:
        return None
    known = spent.known_usd
    usd = None if known is None else known / spent.samples * estimate.fixed_samples
    return estimate.fixed_samples, usd


def _estimate(stored: "StoredRun") -> "Plan | None":
    """What was to be expected of the generation; ``None`` when that cannot be told any more."""
    from cli.plan import generation
    from distill.errors import DistillError
    from distill.prompts import stream_prompts

    if not stored.paths.train_prompts.is_file():
        return None
    try:
        return generation(stored.recipe, None, stream_prompts(stored.paths.train_prompts))
    except DistillError:  # such as a model that was retired since: what was spent still holds
        return None


def _total(stages: dict[str, dict[str, "Spent"]]) -> "Spent":
    from distill.spent import Spent

    total = Spent()
    for models in stages.values():
        for spent in models.values():
            total.merge(spent)
    return total


def _usd_per_gpu_hour(stored: "StoredRun") -> float | None:
    """What the teacher's GPUs cost, if it is paid for by the hour."""
    price: float | None = getattr(stored.recipe.teacher, "usd_per_gpu_hour", None)
    return price


def _gpu_hours(stored: "StoredRun", stages: dict[str, dict[str, "Spent"]]) -> float | None:
    price = _usd_per_gpu_hour(stored)
    return _total(stages).usd / price if price else None


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
        "gpu_hours": _gpu_hours(stored, stages),
        "maybe_billed_without_answer": lost,
        **_comparison(stored, stages.get("generate")),
    }


def _comparison(stored: "StoredRun", models: dict[str, "Spent"] | None) -> dict[str, Any]:
    from cli.planned import read

    estimate = _estimate(stored) if models else None
    fixed = _fixed(stored, estimate, _total({"generate": models})) if models else None
    return {
        "planned": read(stored.paths.root),
        "expected_usd": estimate.usd if estimate else None,
        "fixed_n": {"samples": fixed[0], "usd": fixed[1]} if fixed else None,
    }
