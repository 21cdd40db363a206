"""Figures of one evaluated model as text."""

from collections.abc import Sequence

from cli.console import columns, duration, percent
from cli.costs import lost_text, usd_text
from cli.figures import interval
from distill.eval_report import AtK, ModelReport, figures_at
from distill.eval_result import EvalResult
from distill.layout import RunLayout
from distill.theirs import TheirResult


def result_text(result: EvalResult, ks: Sequence[int] = ()) -> str:
    """What came of an evaluation.

    Args:
        result: The result.
        ks: Which k are shown; those of the result unless given.
    """
    report, facts = result.report, result.benchmark
    by = "" if result.made_by.startswith("distill ") else f" (measured by {result.made_by})"
    rows = [("pass@1", f"{interval(report.pass_at_1)}, 95 % interval by problem")]
    rows += [row for at in _shown(report, ks) for row in _at_rows(at)]
    rows += [
        ("cut", f"{percent(report.truncated)} at the token limit; they count as wrong"),
        ("malformed", f"{percent(report.malformed)} not in the form that was asked for"),
    ]
    if report.failed:
        again = "the same command asks them again"
        told = f"{percent(report.failed)} got no answer and count as wrong; {again}"
        rows.append(("failed", told))
    if report.unknown:
        rows.append(("unknown", f"{percent(report.unknown)} nobody could judge"))
    rows.append(("tokens", _tokens_text(report)))
    if report.outcome.usd is not None:
        each = report.outcome.usd / max(facts.prompts, 1)
        rows.append(("spent", f"{usd_text(report.outcome.usd)}, {usd_text(each)} a problem"))
    if report.outcome.unanswered:
        rows.append(("lost", lost_text(report.outcome.unanswered)))
    if report.seconds_per_problem is not None:
        rows.append(("time", f"{_seconds(report.seconds_per_problem)} per problem"))
    title = f"{report.who} on {facts.name}: {facts.prompts:,} problems, {report.samples} samples"
    text = f"{title} each{by}\n{columns(rows)}"
    for name, parts in (("kind", report.kinds), ("level", report.levels)):
        if len(parts) > 1:
            shown = [
                (part.name or "(none)", f"{interval(part.pass_at_1)}, {part.prompts:,} problems")
                for part in parts
            ]
            text += f"\n\npass@1 by {name}\n{columns(shown)}"
    return text


def next_steps(paths: RunLayout, result: EvalResult) -> list[tuple[str, str]]:
    """What the user may want to do now, each with its command."""
    problem = next(
        (one for one in result.report.problems if one.right < one.samples),
        result.report.problems[0],
    )
    root = paths.root
    return [
        ("look at one answer", f"distill explain {root} {problem.id}#0"),
        ("compare with another", f"distill eval compare {root} OTHER"),
        ("judge all again", f"distill eval rejudge {root}"),
    ]


def their_text(result: TheirResult) -> str:
    """Figures of another harness, marked as such."""
    rows = []
    for one in result.figures:
        name = f"{one.task} {one.metric}" + (f" ({one.filter})" if one.filter else "")
        text = f"{one.value:.4g}" + (f" +- {one.stderr:.2g}" if one.stderr is not None else "")
        rows.append((name, text + (f", {one.problems:,} problems" if one.problems else "")))
    return f"Measured by {result.made_by}, not by distill: {result.model}\n{columns(rows)}"


def _shown(report: ModelReport, ks: Sequence[int]) -> list[AtK]:
    if not ks:
        return [at for at in report.at_k if at.k > 1]
    has_votes = report.cons_at_k is not None
    return [figures_at(k, report.problems, has_votes=has_votes) for k in ks if k > 1]


def _at_rows(at: AtK) -> list[tuple[str, str]]:
    rows = [(f"pass@{at.k}", f"{interval(at.pass_at_k)}, at least one of {at.k} is right")]
    if at.cons_at_k is not None and at.k > 2:  # noqa: PLR2004 - two have no majority
        rows.append((f"cons@{at.k}", f"{interval(at.cons_at_k)}, the majority of {at.k} is right"))
    return rows


def _tokens_text(report: ModelReport) -> str:
    per_problem = report.output_tokens * report.samples
    return (
        f"{report.output_tokens:,.0f} a sample: {report.reasoning_tokens:,.0f} of reasoning,"
        f" {report.answer_tokens:,.0f} of the answer; {per_problem:,.0f} a problem"
    )


def _seconds(seconds: float) -> str:
    return duration(seconds) if seconds >= 10 else f"{seconds:.2g} s"  # noqa: PLR2004
