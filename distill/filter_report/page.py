"""The page's text: what came in, what each rule did, who was kept, and examples."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from distill.filter_setup import FilterSetup
from distill.funnel import FilterReport, FunnelStep, Part
from distill.page.bars import Bar, bars
from distill.page.document import card, document, share_text
from distill.rules import ALL_RULES

Examples = Mapping[str, Sequence[Mapping[str, Any]]]


def page(report: FilterReport, examples: Examples, setup: FilterSetup) -> str:
    """All of it as one HTML document that needs nothing else."""
    return document(
        f"What became of {report.traces:,} traces",
        [
            *_head(report),
            *_funnel(report),
            *_parts(report),
            *_rules(report, setup),
            *_examples(report, examples),
        ],
    )


def _head(report: FilterReport) -> Iterator[str]:
    yield f"<h1>What became of {report.traces:,} traces</h1>"
    judged = report.traces - report.unknown
    right = f"{share_text(report.right, judged)} of those judged are right" if judged else ""
    unknown = f"{report.unknown:,} could not be judged" if report.unknown else ""
    broken = f"{report.broken:,} rows could not be read" if report.broken else ""
    facts = [f"judged by {escape(report.verifier)}", right, unknown, broken]
    yield f'<p class="soft">{"; ".join(filter(None, facts))}.</p>'
    yield '<div class="cards">'
    for name, kept, of in (
        ("traces kept", report.kept, report.traces),
        ("prompts kept", report.kept_prompts, report.prompts),
        ("tokens kept", report.kept_tokens, report.tokens),
    ):
        yield card(name, f"{kept:,}", f"{share_text(kept, of)} of {of:,}")
    if report.mixed_in:
        yield card("mixed in", f"{report.mixed_in:,}", f"{report.mixed_in_tokens:,} tokens")
    yield "</div>"


def _funnel(report: FilterReport) -> Iterator[str]:
    yield "<h2>What is left after each rule</h2>"
    yield (
        '<p class="soft"><span class="key kept"></span>left'
        '<span class="key fault"></span>dropped for a fault'
        '<span class="key choice"></span>good, but others were wanted</p>'
    )
    steps = [step for step in report.funnel if step.dropped]
    for title, first, left in (
        ("Traces", report.traces, [step.traces_left for step in steps]),
        ("Prompts", report.prompts, [step.prompts_left for step in steps]),
        ("Tokens", report.tokens, [step.tokens_left for step in steps]),
    ):
        rows = [Bar("came in", first, first, f"{first:,}")]
        for step, before, after in zip(steps, [first, *left], left, strict=False):
            note = f"{after:,} left" + (f", {before - after:,} gone" if before > after else "")
            kind = "choice" if step.is_choice else "fault"
            rows.append(Bar(step.rule, before, after, note, of_rest=kind))
        yield f"<h3>{title}</h3>"
        yield bars(rows, f"{title} left after each rule")
    yield from _exclusive([step for step in steps if not step.is_choice])


def _exclusive(steps: Sequence[FunnelStep]) -> Iterator[str]:
    if not steps:
        return
    yield "<h2>What only one rule finds</h2>"
    yield (
        '<p class="soft">Traces that no other rule finds fault with: what the set would gain'
        ' without the rule. <span class="key fault" style="margin-left:0"></span>only this rule'
        '<span class="key whole"></span>others too</p>'
    )
    yield bars(
        [
            Bar(
                step.rule,
                step.dropped,
                step.exclusive,
                f"{step.exclusive:,} of {step.dropped:,}",
                of_part="fault",
            )
            for step in steps
        ],
        "Drops that only one rule finds",
    )


def _parts(report: FilterReport) -> Iterator[str]:
    for title, text, parts in (
        (
            "By difficulty",
            "How often the teacher solves the prompt. Hard problems teach most: do they survive?",
            report.difficulties,
        ),
        ("By source", "", report.sources if len(report.sources) > 1 else ()),
        ("By length", "Tokens of a trace, up to so many.", report.lengths),
    ):
        if parts:
            yield f"<h2>{title}</h2>"
            yield (
                f'<p class="soft">{text} <span class="key kept" style="margin-left:0"></span>kept'
                '<span class="key whole"></span>dropped</p>'
            )
            yield bars([_part_bar(part) for part in parts], title)


def _part_bar(part: Part) -> Bar:
    label = f"{int(part.name):,}" if part.name.isdecimal() else part.name or "(none)"
    note = f"{part.kept:,} of {part.traces:,} kept, {share_text(part.kept, part.traces)}"
    return Bar(label, part.traces, part.kept, note)


def _rules(report: FilterReport, setup: FilterSetup) -> Iterator[str]:
    yield "<h2>Every rule</h2>"
    yield '<div class="scroll"><table><tr><th>rule</th><th>failed</th><th>only this</th>'
    yield "<th>traces left</th><th>prompts</th><th>tokens</th><th></th></tr>"
    meaning = {rule.name: rule.meaning for rule in ALL_RULES}
    for step in report.funnel:
        only = "" if step.is_choice else f"{step.exclusive:,}"
        idle = "" if step.dropped else ' class="idle"'
        yield (
            f"<tr{idle}><td>{step.rule}</td><td>{step.dropped:,}</td><td>{only}</td>"
            f"<td>{step.traces_left:,}</td><td>{step.prompts_left:,}</td>"
            f'<td>{step.tokens_left:,}</td><td class="what">{escape(meaning[step.rule])}</td></tr>'
        )
    yield "</table></div>"
    off = [*setup.rules.off, *setup.rules.label_only]
    if off:
        yield f'<p class="soft">Off, or labels only: {", ".join(off)}.</p>'


def _examples(report: FilterReport, examples: Examples) -> Iterator[str]:
    counts = {step.rule: step.dropped for step in report.funnel if step.dropped}
    if report.unknown and "unknown" in examples:
        counts["unknown"] = report.unknown
    if not counts:
        return
    yield "<h2>Examples</h2>"
    yield '<p class="soft">The first traces that each rule dropped.</p>'
    for rule, count in counts.items():
        what = "could not be judged" if rule == "unknown" else f"dropped by {rule}"
        shown = examples.get(rule, ())
        yield f'<details><summary>{what} <span class="count">{count:,}</span></summary>'
        for one in shown:
            yield from _example(one)
        if not shown:
            yield '<p class="soft">None was kept as an example.</p>'
        yield "</details>"


def _example(one: Mapping[str, Any]) -> Iterator[str]:
    yield f'<div class="example"><b>{escape(one["id"])}</b> <span class="soft">row {one["row"]}'
    yield f'</span> <span class="reason">{escape(one["reason"])}</span>'
    for name, key in (("prompt", "prompt"), ("reasoning", "reasoning"), ("answer", "text")):
        if one[key]:
            yield f'<div class="name">{name}</div><pre>{escape(one[key])}</pre>'
    yield "</div>"
