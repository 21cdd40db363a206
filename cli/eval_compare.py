"""``distill eval compare``: models on the same problems, and gates for scripts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import columns, note, paint_note, percent, say, say_json, table
from cli.options import AsJson

if TYPE_CHECKING:
    from distill.comparison import Comparison, ProblemPair
    from distill.eval_sources import Measured
    from distill.gates import Gate

_SHOWN = 5


def eval_compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]RUN[:WHO]...",
            help="Run folders, folders of evaluations, or result files; the first is compared with"
            " each other one.",
            show_default=False,
        ),
    ],
    *,
    require: Annotated[
        list[str] | None,
        typer.Option(
            "--require",
            metavar="CONDITION",
            help="Fail unless it holds, such as 'student >= 0.9 * teacher'; several times.",
            show_default=False,
        ),
    ] = None,
    max_regression: Annotated[
        float | None,
        typer.Option(
            "--max-regression",
            metavar="POINTS",
            min=0.0,
            help="Fail if the first has more than so many points of pass@1 less than another.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare models on the same problems.

    Differences are paired by problem: interval (Student's t), p-value (exact permutation test),
    problems won and lost. Exit code 13 if a condition does not hold. A run folder alone stands for
    all its models, several for their students.

    Example: distill eval compare runs/new runs/old --max-regression 1.0
    """
    from distill.comparison import compare_pair
    from distill.errors import DataError
    from distill.eval_sources import read_measured, refuse_other_problems

    measured = read_measured(runs)
    refuse_other_problems(measured)
    if len(measured) < 2:  # noqa: PLR2004 - a comparison needs two
        raise DataError(f"{runs[0]}: one model alone cannot be compared; name another one")
    first, *others = measured
    pairs = [compare_pair(first.result.report, other.result.report) for other in others]
    gates = _gates(measured, pairs, require or (), max_regression)
    if as_json:
        say_json(_as_json(measured, pairs, gates))
    else:
        _say(measured, pairs, gates)
    if not all(gate.is_met for gate in gates):
        raise typer.Exit(13)


def _gates(
    measured: "Sequence[Measured]",
    pairs: "Sequence[Comparison]",
    require: Sequence[str],
    max_regression: float | None,
) -> "list[Gate]":
    from distill.gates import Gate, check_gate

    reports = {one.name: one.result.report for one in measured}
    gates = [check_gate(text, reports) for text in require]
    if max_regression is not None:
        for other, pair in zip(measured[1:], pairs, strict=True):
            lost = -100 * pair.difference.value
            text = f"{measured[0].name} loses at most {max_regression:g} points to {other.name}"
            gates.append(Gate(text, lost <= max_regression + 1e-9, lost, max_regression))
    return gates


def _say(
    measured: "Sequence[Measured]", pairs: "Sequence[Comparison]", gates: "Sequence[Gate]"
) -> None:
    facts = measured[0].result.benchmark
    say(f"On {facts.name}, {facts.prompts:,} problems")
    say(_models_table(measured))
    for text in _differences_in_settings(measured):
        note(f"  {paint_note('!', 'yellow')} {text}")
    first = measured[0]
    for other, pair in zip(measured[1:], pairs, strict=True):
        say(f"\n{first.name} against {other.name}")
        say(columns([*_pair_rows(pair), *_problem_rows(first, other)]))
    if sentences := _family_texts(measured):
        say("\n" + "\n".join(sentences))
    if gates:
        say("\nConditions")
        say(columns([(_met(gate), _gate_text(gate)) for gate in gates]))


def _models_table(measured: "Sequence[Measured]") -> str:
    from cli.figures import interval

    reports = [one.result.report for one in measured]
    samples = {report.samples for report in reports}
    cons = f"cons@{samples.pop()}" if len(samples) == 1 else "cons@k"
    rows = [["", "pass@1 (95 %)", f"{cons} (95 %)", "cut", "malformed", "tokens", "samples"]]
    for one, report in zip(measured, reports, strict=True):
        agreed = report.cons_at_k
        rows.append(
            [
                one.name,
                interval(report.pass_at_1),
                interval(agreed) if agreed is not None and report.samples > 1 else "-",
                percent(report.truncated),
                percent(report.malformed),
                f"{report.output_tokens:,.0f}",
                str(report.samples),
            ]
        )
    return table(rows)


def _pair_rows(pair: "Comparison") -> list[tuple[str, str]]:
    from cli.figures import interval

    points = pair.difference
    told = f"{100 * points.value:+.1f} points ({100 * points.low:+.1f} to {100 * points.high:+.1f})"
    rows = [
        ("difference", f"{told}, paired by problem"),
        ("p-value", f"{pair.p_value:.3g}, permutation test, both ways"),
    ]
    if pair.ratio is not None:
        rows.append(("ratio", interval(pair.ratio)))
    return rows


def _problem_rows(one: "Measured", other: "Measured") -> list[tuple[str, str]]:
    from distill.comparison import wins_and_losses

    won, lost = wins_and_losses(one.result.report, other.result.report)
    return [(name, _problems_text(pairs)) for name, pairs in (("won", won), ("lost", lost))]


def _problems_text(pairs: "Sequence[ProblemPair]") -> str:
    if not pairs:
        return "no problem"
    shown = ", ".join(
        f"{pair.id} ({100 * pair.score:.0f} to {100 * pair.other:.0f} %)" for pair in pairs[:_SHOWN]
    )
    more = f" and {len(pairs) - _SHOWN:,} more" if len(pairs) > _SHOWN else ""
    return f"{len(pairs):,} problem{'s' if len(pairs) > 1 else ''}: {shown}{more}"


def _family_texts(measured: "Sequence[Measured]") -> list[str]:
    """Recovery of its teacher and gain over its base, of each student with such in its run."""
    from cli.figures import interval
    from distill.comparison import TEACHER, compare_pair

    lines = []
    for one in measured:
        for relative in one.family:
            pair = compare_pair(one.result.report, relative.report)
            points = pair.difference
            if relative.report.who == TEACHER and pair.ratio is not None:
                lines.append(f"{one.name} has {interval(pair.ratio)} of its teacher's pass@1.")
            elif relative.report.who != TEACHER:
                lines.append(
                    f"{one.name} gained {100 * points.value:+.1f} points"
                    f" ({100 * points.low:+.1f} to {100 * points.high:+.1f}) over its base."
                )
    return lines


def _differences_in_settings(measured: "Sequence[Measured]") -> list[str]:
    """What else differs, which may be the reason for a difference."""
    found = []
    reports = [one.result.report for one in measured]
    samplings = [
        f"{one.temperature:g}/{one.top_p:g}/{one.max_tokens}"
        for one in (report.sampling for report in reports)
    ]
    for what, values in (
        ("sampling (temperature/top_p/max_tokens)", samplings),
        ("verifier", [report.verifier for report in reports]),
        ("who measured", [one.result.made_by for one in measured]),
    ):
        if len(set(values)) > 1:
            told = ", ".join(
                f"{one.name} {value}" for one, value in zip(measured, values, strict=True)
            )
            found.append(f"not the same {what}: {told}")
    return found


def _met(gate: "Gate") -> str:
    return "met" if gate.is_met else "NOT MET"


def _gate_text(gate: "Gate") -> str:
    return f"{gate.text}  ({gate.left:.4g} and {gate.right:.4g})"


def _as_json(
    measured: "Sequence[Measured]", pairs: "Sequence[Comparison]", gates: "Sequence[Gate]"
) -> dict[str, Any]:
    from distill.comparison import compare_pair, wins_and_losses
    from distill.records import to_record

    first = measured[0]
    return {
        "benchmark": to_record(first.result.benchmark),
        "models": {
            one.name: {
                **to_record(one.result.report),
                "problems": [],
                "made_by": one.result.made_by,
                "place": str(one.place),
                "family": {
                    relative.report.who: to_record(compare_pair(one.result.report, relative.report))
                    for relative in one.family
                },
            }
            for one in measured
        },
        "comparisons": [
            {
                **to_record(pair),
                "who": first.name,
                "other": other.name,
                "problems_won": [to_record(one) for one in won],
                "problems_lost": [to_record(one) for one in lost],
            }
            for other, pair in zip(measured[1:], pairs, strict=True)
            for won, lost in [wins_and_losses(first.result.report, other.result.report)]
        ],
        "notes": _differences_in_settings(measured),
        "gates": [to_record(gate) for gate in gates],
        "is_passed": all(gate.is_met for gate in gates),
    }
