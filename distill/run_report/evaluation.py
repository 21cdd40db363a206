"""The page's part about the evaluation."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from html import escape
from typing import Final

from distill.comparison import BASE, STUDENT, TEACHER, EvalReport
from distill.eval_report import ModelReport, PartFigures
from distill.intervals import Estimate
from distill.page.bars import Bar, bars
from distill.page.document import share_text
from distill.page.whiskers import Whisker, whiskers
from distill.run_report.evidence import Duel, Evidence, Lengths, Side

_LOOKS: Final = {BASE: "base", STUDENT: "student", TEACHER: "teacher"}
_NAMES: Final = {"answers_only": "answers only"}


def evaluation(evidence: Evidence) -> Iterator[str]:
    """Accuracy, lengths, wins and losses; nothing if no model was evaluated."""
    report = evidence.report
    if report is None:
        return
    yield '<h2 id="accuracy">Accuracy</h2>'
    yield (
        f'<p class="soft">Share of samples that are right, on {report.prompts:,} problems that the'
        f" student was not trained on, {report.models[0].samples} samples of each. The lines are"
        " 95 % intervals with the problem as the unit.</p>"
    )
    yield whiskers([_whisker(name_of(one.who), one) for one in report.models], "Accuracy by model")
    yield from _verdicts(report)
    yield from _models(report.models)
    yield from _by_part("By difficulty", "level ", report.models, [m.levels for m in report.models])
    yield from _by_part("By kind of problem", "", report.models, [m.kinds for m in report.models])
    yield from _at_k(report.models)
    yield from _lengths(evidence, report.models)
    for duel in evidence.duels:
        yield from _duel(duel)


def name_of(who: str) -> str:
    """A model's part in the run, for people."""
    return _NAMES.get(who, who)


def interval_text(estimate: Estimate) -> str:
    """An estimate with its interval.

    Example:
        >>> interval_text(Estimate(0.61, 0.566, 0.652))
        '61.0 % (56.6 to 65.2)'
    """
    low, high = (100 * end for end in (estimate.low, estimate.high))
    return f"{100 * estimate.value:.1f} % ({low:.1f} to {high:.1f})"


def _whisker(label: str, model: ModelReport, part: PartFigures | None = None) -> Whisker:
    estimate = part.pass_at_1 if part else model.pass_at_1
    look = _LOOKS.get(model.who, "other")
    return Whisker(
        label, estimate.value, estimate.low, estimate.high, interval_text(estimate), look
    )


def _verdicts(report: EvalReport) -> Iterator[str]:
    """What each comparison says, in a sentence."""
    if not report.comparisons:
        return
    yield "<ul>"
    if report.recovery is not None:
        recovery = interval_text(report.recovery)
        yield f"<li>The student has {recovery} of its teacher's accuracy.</li>"
    for pair in report.comparisons:
        points = pair.difference
        yield (
            f"<li>Against {escape(name_of(pair.other))}: {100 * points.value:+.1f} points"
            f" ({100 * points.low:+.1f} to {100 * points.high:+.1f}), paired by problem,"
            f" p = {pair.p_value:.2g}; {pair.won:,} problems won and {pair.lost:,} lost.</li>"
        )
    yield "</ul>"


def _models(models: Sequence[ModelReport]) -> Iterator[str]:
    yield from _table(
        ["", "accuracy", "cut", "malformed", "no answer", "reasoning", "answer", "model"],
        (
            [
                name_of(one.who),
                interval_text(one.pass_at_1),
                *(share_text(share, 1) for share in (one.truncated, one.malformed, one.failed)),
                f"{one.reasoning_tokens:,.0f}",
                f"{one.answer_tokens:,.0f}",
                one.model,
            ]
            for one in models
        ),
    )
    yield (
        '<p class="soft">Cut by the token limit, not in the form that was asked for, or without an'
        " answer: such samples count as wrong. Reasoning and answer in tokens, mean of a sample."
        "</p>"
    )


def _by_part(
    title: str,
    prefix: str,
    models: Sequence[ModelReport],
    parts: Sequence[Sequence[PartFigures]],
) -> Iterator[str]:
    """One group of rows for each part, a row for each model."""
    names = [part.name for part in parts[0]]
    if len(names) < 2:  # noqa: PLR2004 - one part is the whole
        return
    yield f"<h3>{title}</h3>"
    rows = []
    for place, name in enumerate(names):
        for model, figures in zip(models, parts, strict=True):
            part = figures[place]
            label = f"{prefix}{name or '(none)'}, {name_of(model.who)}"
            row = _whisker(label, model, part)
            rows.append(replace(row, opens_group=place > 0 and model is models[0]))
    yield whiskers(rows, title)


def _at_k(models: Sequence[ModelReport]) -> Iterator[str]:
    ks = [at.k for at in models[0].at_k]
    if len(ks) < 2:  # noqa: PLR2004 - one sample is the accuracy
        return
    yield "<h3>With several samples of a problem</h3>"
    has_votes = models[0].cons_at_k is not None
    heads = [f"pass@{k}" for k in ks] + ([f"cons@{k}" for k in ks[1:]] if has_votes else [])
    rows = []
    for one in models:
        estimates = [at.pass_at_k for at in one.at_k]
        estimates += [at.cons_at_k for at in one.at_k[1:] if at.cons_at_k is not None]
        rows.append([name_of(one.who), *map(interval_text, estimates)])
    yield from _table(["", *heads], rows)
    yield '<p class="soft">pass@k: one of k is right. cons@k: the majority of k is right.</p>'


def _lengths(evidence: Evidence, models: Sequence[ModelReport]) -> Iterator[str]:
    yield '<h2 id="lengths">Length of the answers</h2>'
    yield (
        '<p class="soft">Samples by tokens, reasoning included, up to so many.'
        ' <span class="key kept"></span>right<span class="key whole"></span>wrong</p>'
    )
    for one in models:
        yield f"<h3>{escape(name_of(one.who))}</h3>"
        yield bars(list(_length_bars(evidence.lengths[one.who])), f"Samples of {one.who} by length")


def _length_bars(lengths: Lengths) -> Iterator[Bar]:
    for most in sorted(lengths.samples):
        whole, right = lengths.samples[most], lengths.right[most]
        yield Bar(f"{most:,}", whole, right, f"{right:,} of {whole:,} right")


def _duel(duel: Duel) -> Iterator[str]:
    pair, other = duel.comparison, name_of(duel.comparison.other)
    yield f'<h2 id="against-{escape(pair.other)}">Student against {escape(other)}</h2>'
    yield (
        f'<p class="soft">{pair.won:,} problems won, {pair.lost:,} lost'
        f", p = {pair.p_value:.2g}. The clearest ones, with a trace of each.</p>"
    )
    for word, sides in (("won", duel.won), ("lost", duel.lost)):
        for side in sides:
            yield from _side(word, side, pair.other)


def _side(word: str, side: Side, other: str) -> Iterator[str]:
    pair = side.pair
    looks = "kept" if word == "won" else "fault"
    yield (
        f'<details><summary><span class="key {looks}" style="margin-left:0"></span>{word}:'
        f' {escape(pair.id)} <span class="count">student {100 * pair.score:.0f} %,'
        f" {escape(name_of(other))} {100 * pair.other:.0f} %</span></summary>"
    )
    if side.prompt is not None:
        yield f'<div class="name">problem</div><pre>{escape(side.prompt.text)}</pre>'
        yield f'<div class="name">gold answer</div><pre>{escape(side.prompt.answer or "")}</pre>'
    yield '<div class="sides">'
    for who in (STUDENT, other):
        yield "<div>"
        judged = side.traces.get(who)
        if judged is not None:
            completion, reason = judged.trace.completion, escape(judged.verdict.reason)
            verdict = "right" if judged.verdict.is_accepted else f"wrong: {reason}"
            tokens = f"{completion.usage.output_tokens:,} tokens, {completion.finish}"
            yield f'<div class="name">{escape(name_of(who))}</div>'
            yield f'<p class="soft">{verdict}; {tokens}</p>'
            for text in (completion.reasoning, completion.text or completion.error):
                if text:
                    yield f"<pre>{escape(text)}</pre>"
        yield "</div>"
    yield "</div></details>"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    cells = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    yield f'<div class="scroll" tabindex="0"><table><tr>{cells}</tr>'
    for name, *others in rows:
        line = "".join(f"<td>{escape(other)}</td>" for other in others)
        yield f'<tr><th scope="row">{escape(name)}</th>{line}</tr>'
    yield "</table></div>"
