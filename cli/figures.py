"""Figures of a run as text: a line per stage, the funnel, the table of the evaluation.

Everything is made from what the manifest holds, so a stage that was done before reads the same.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cli.console import percent, table
from distill.comparison import EvalReport
from distill.eval_report import ModelReport
from distill.funnel import FilterReport
from distill.funnel_text import format_funnel
from distill.generate import GenerateReport
from distill.intervals import Estimate
from distill.layout import Stage
from distill.records import from_record

Summary = Mapping[str, Any]

_NAMES = {"answers_only": "answers only"}
_PLACE = "manifest.json"


def stage_line(stage: Stage, summary: Summary) -> str:
    """What came of a stage, in one line."""
    return _LINES[stage](summary)


def funnel_text(summary: Summary) -> str:
    """What became of the traces, from the summary of ``filter``, by the rules that dropped some."""
    return format_funnel(from_record(FilterReport, dict(summary), _PLACE), all_rules=False)


def eval_text(summary: Summary) -> str:
    """The table of all models, recovery of the teacher, and pass@1 by kind of prompt."""
    report = eval_report(summary)
    parts = [_models_table(report), *_conclusions(report)]
    if any(len(model.kinds) > 1 for model in report.models):
        parts += ["", "pass@1 by kind", _kinds_table(report.models)]
    return "\n".join(parts)


def eval_report(summary: Summary) -> EvalReport:
    """The report in the summary of ``eval``."""
    return from_record(EvalReport, dict(summary["report"]), _PLACE)


def has_failures(stage: Stage, summary: Summary) -> bool:
    """Whether samples of the teacher got no answer for good."""
    return stage == "generate" and bool(summary["failed"])


def name_of(who: str) -> str:
    """A model's part in the run, for people."""
    return _NAMES.get(who, who)


def interval(estimate: Estimate) -> str:
    """An estimate with its 95 % interval.

    Example:
        >>> interval(Estimate(0.61, 0.566, 0.652))
        '61 % (57-65)'
    """
    return f"{percent(estimate.value)} ({estimate.low * 100:.0f}-{estimate.high * 100:.0f})"


def _generate_line(summary: Summary) -> str:
    report = from_record(GenerateReport, dict(summary), _PLACE)
    text = f"{report.samples:,} traces of {report.prompts:,} prompts"
    if report.unknown < report.samples:
        text += f", {percent(report.accepted / report.samples)} right"
    for count, what in ((report.truncated, "cut"), (report.failed, "failed")):
        text += f", {percent(count / report.samples)} {what}" if count else ""
    return text


def _filter_line(summary: Summary) -> str:
    report = from_record(FilterReport, dict(summary), _PLACE)
    text = f"{report.kept:,} of {report.traces:,} traces kept, of {report.kept_prompts:,} prompts"
    if report.mixed_in:
        text += f", {report.mixed_in:,} examples mixed in"
    return text + (f", {report.broken:,} rows broken" if report.broken else "")


def _train_line(summary: Summary) -> str:
    losses: Sequence[float] = summary["losses"]
    last = losses[-max(1, len(losses) // 10) :]
    broken = sum(data["broken"] for data in summary.get("data", ()))
    left_out = [(summary["too_long"], "too long"), (summary.get("without_loss"), "without loss")]
    left_out.append((broken, "broken"))
    named = ", ".join(f"{count:,} {what}" for count, what in left_out if count)
    stages = [stage for stage in summary.get("stages", ()) if stage["name"]]
    passes = f"{len(stages)} stages" if stages else f"{summary['epochs']} epochs"
    return (
        f"{summary['examples']:,} examples"
        + (f" ({named})" if named else "")
        + f", {passes}, {summary['steps']:,} steps, "
        f"loss {losses[0]:.2f} -> {sum(last) / len(last):.2f} ({summary['method']})"
    )


def _eval_line(summary: Summary) -> str:
    report = eval_report(summary)
    figures = [f"{name_of(model.who)} {percent(model.pass_at_1.value)}" for model in report.models]
    return f"pass@1 on {report.prompts:,} prompts: {', '.join(figures)}"


_LINES: dict[Stage, Callable[[Summary], str]] = {
    "generate": _generate_line,
    "filter": _filter_line,
    "train": _train_line,
    "eval": _eval_line,
}


def _models_table(report: EvalReport) -> str:
    samples = report.models[0].samples
    rows = [["", "pass@1 (95 %)", f"cons@{samples} (95 %)", "cut", "malformed", "tokens"]]
    rows += [
        [
            name_of(model.who),
            interval(model.pass_at_1),
            interval(model.cons_at_k) if model.cons_at_k else "-",
            percent(model.truncated),
            percent(model.malformed),
            f"{model.output_tokens:,.0f}",
        ]
        for model in report.models
    ]
    return table(rows)


def _conclusions(report: EvalReport) -> list[str]:
    """What the comparisons say, each in a sentence."""
    lines = []
    if report.recovery is not None:
        lines.append(f"The student has {interval(report.recovery)} of its teacher's pass@1.")
    for pair in report.comparisons:
        if pair.other in _NAMES or pair.other == "unfiltered":
            points = pair.difference
            lines.append(
                f"Against {name_of(pair.other)}: {points.value * 100:+.1f} points of pass@1 "
                f"({points.low * 100:+.1f} to {points.high * 100:+.1f}), paired by prompt."
            )
    return ["", *lines] if lines else []


def _kinds_table(models: Sequence[ModelReport]) -> str:
    kinds = [part.name for part in models[0].kinds]
    rows = [["", *(kind or "(none)" for kind in kinds)]]
    for model in models:
        parts = {part.name: part.pass_at_1 for part in model.kinds}
        rows.append([name_of(model.who), *(interval(parts[kind]) for kind in kinds)])
    return table(rows)
