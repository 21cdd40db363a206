"""The page's text: what came of each stage that is done, in the order of the work."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from distill.funnel import FilterReport
from distill.layout import STAGES
from distill.page.bars import Bar, bars
from distill.page.curve import curve
from distill.page.document import card, document, share_text
from distill.records import from_record
from distill.run_report.evaluation import evaluation, interval_text
from distill.run_report.evidence import Evidence
from distill.stored_run import StoredRun

Done = Mapping[str, Mapping[str, Any]]
"""Summaries of the stages that are finished."""


def page(stored: StoredRun, evidence: Evidence) -> str:
    """All of it as one HTML document that needs nothing else."""
    done: Done = {
        stage: stored.manifest.stages[stage].summary
        for stage in STAGES
        if stored.manifest.is_finished(stage)
    }
    return document(
        f"Run {stored.recipe.name}",
        [
            *_head(stored, done, evidence),
            *_funnel(stored, done),
            *_training(done),
            *evaluation(evidence),
            *_origin(stored),
        ],
    )


def _head(stored: StoredRun, done: Done, evidence: Evidence) -> Iterator[str]:
    manifest = stored.manifest
    yield f"<h1>Run {escape(stored.recipe.name)}</h1>"
    missing = [stage for stage in stored.recipe.stages if stage not in done]
    state = f"Not done yet: {', '.join(missing)}." if missing else "All stages are done."
    yield f'<p class="soft">Begun {manifest.created}, changed {manifest.updated} (UTC). {state}</p>'
    yield '<nav aria-label="Parts of this page">'
    for anchor, name, stage in (
        ("funnel", "Traces", "filter"),
        ("training", "Training", "train"),
        ("accuracy", "Accuracy", "eval"),
        ("lengths", "Lengths", "eval"),
        ("origin", "Origin", ""),
    ):
        if not stage or stage in done:
            yield f'<a href="#{anchor}">{name}</a>'
    for duel in evidence.duels:
        other = escape(duel.comparison.other)
        yield f'<a href="#against-{other}">Against {other.replace("_", " ")}</a>'
    yield "</nav>"
    yield f'<div class="cards">{"".join(_cards(done, evidence))}</div>'


def _cards(done: Done, evidence: Evidence) -> Iterator[str]:
    if drawn := done.get("generate"):
        judged = drawn["samples"] - drawn["unknown"]
        right = f"{share_text(drawn['accepted'], judged)} right" if judged else "not judged"
        yield card("traces", f"{drawn['samples']:,}", right)
        if drawn["usd"] is not None:
            yield card("paid", f"{drawn['usd']:,.2f} USD", "for the traces")
    if kept := done.get("filter"):
        yield card("traces kept", f"{kept['kept']:,}", f"of {kept['kept_prompts']:,} prompts")
    if trained := done.get("train"):
        losses = trained["losses"]
        note = f"from {losses[0]:.3f}, {len(losses):,} steps"
        yield card("loss at the end", f"{_last(losses):.3f}", note)
    report = evidence.report
    student = report.model("student") if report is not None else None
    if student is not None:
        estimate = student.pass_at_1
        note = f"95 %: {100 * estimate.low:.1f} to {100 * estimate.high:.1f}"
        yield card("student is right", f"{100 * estimate.value:.1f} %", note)
    if report is not None and report.recovery is not None:
        note = interval_text(report.recovery).partition(" % ")[2].strip("()")
        yield card("of its teacher", f"{100 * report.recovery.value:.1f} %", f"95 %: {note}")


def _funnel(stored: StoredRun, done: Done) -> Iterator[str]:
    if "filter" not in done:
        return
    report = from_record(FilterReport, dict(done["filter"]), str(stored.paths.manifest))
    yield '<h2 id="funnel">From traces to training</h2>'
    yield (
        '<p class="soft"><span class="key kept"></span>left<span class="key fault"></span>dropped'
        ' for a fault<span class="key choice"></span>good, but others were wanted. The page'
        f" {stored.paths.filter_page.name} beside this one has every rule.</p>"
    )
    rows = [Bar("sampled", report.traces, report.traces, f"{report.traces:,} traces")]
    before = report.traces
    for step in report.funnel:
        if step.dropped:
            kind = "choice" if step.is_choice else "fault"
            note = f"{step.traces_left:,} left, {before - step.traces_left:,} gone"
            rows.append(Bar(step.rule, before, step.traces_left, note, of_rest=kind))
        before = step.traces_left
    if trained := done.get("train"):
        note = f"{trained['examples']:,} trained on"
        if trained["too_long"]:
            note += f", {trained['too_long']:,} too long"
        rows.append(Bar("examples", trained["examples"], trained["examples"], note))
    yield bars(rows, "Traces left after each rule")


def _training(done: Done) -> Iterator[str]:
    if "train" not in done:
        return
    trained = done["train"]
    losses: Sequence[float] = trained["losses"]
    yield '<h2 id="training">Training</h2>'
    yield (
        f'<p class="soft">Mean loss of the supervised tokens of each step: from {losses[0]:.3f} to'
        f" {_last(losses):.3f}, the mean of the last tenth of {len(losses):,} steps.</p>"
    )
    yield curve(losses, "Loss by step")
    yield '<div class="scroll" tabindex="0"><table class="facts">'
    for key, value in trained.items():
        if isinstance(value, int | float | str):
            yield f'<tr><th scope="row">{escape(key.replace("_", " "))}</th>'
            yield f"<td>{_figure(value)}</td></tr>"
    yield "</table></div>"


def _origin(stored: StoredRun) -> Iterator[str]:
    manifest = stored.manifest
    yield '<h2 id="origin">Where it comes from</h2>'
    versions = manifest.versions
    libraries = ", ".join(f"{name} {number}" for name, number in versions.libraries.items())
    yield (
        f'<p class="soft">distill {escape(versions.distill)}, Python {escape(versions.python)} on'
        f" {escape(versions.platform)}; {escape(libraries)}; seed {manifest.seed}.</p>"
    )
    # As it is stored: its paths start at the run folder and tell nothing of this machine.
    recipe = stored.paths.recipe.read_text(encoding="utf-8")
    yield f"<details><summary>Recipe, with every default</summary><pre>{escape(recipe)}</pre>"
    yield "</details><details><summary>Files and the digests of their bytes</summary><pre>"
    for stage in STAGES:
        record = manifest.stages.get(stage)
        if record is not None:
            lines = [f"{digest}  {path}" for path, digest in record.outputs.items()]
            yield escape("\n".join([f"# {stage}", *lines]))
    yield "</pre></details>"


def _last(losses: Sequence[float]) -> float:
    last = losses[-max(1, len(losses) // 10) :]
    return sum(last) / len(last)


def _figure(value: float | str) -> str:
    if isinstance(value, str):
        return escape(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"
