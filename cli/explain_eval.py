"""``distill explain`` for a completion of an evaluated model."""

from pathlib import Path
from textwrap import indent

from cli.console import columns, paint, say, say_json
from distill.evaluation import is_evaluation, read_evaluation
from distill.evaluation_explain import EvalStory, explain_evaluated
from distill.filter_shard import excerpt
from distill.layout import RunLayout
from distill.records import to_record
from distill.types import JudgedTrace, Verdict

_JUDGED = {True: "right", False: "wrong", None: "unknown"}
_FINISHES = {"stop": "by itself", "length": "cut at the token limit", "error": "without an answer"}


def explain_completion(
    run: Path, model: str | None, trace_id: str, *, full: bool, as_json: bool
) -> None:
    """Tell one completion's story.

    Raises:
        DataError: If there is no such model or completion.
    """
    who = model or (read_evaluation(run).evaluation.who if is_evaluation(run) else "")
    story = explain_evaluated(RunLayout(run), who, trace_id)
    if as_json:
        say_json(to_record(story))
    else:
        _show(story, full=full)


def _show(story: EvalStory, *, full: bool) -> None:
    trace = story.judged.trace
    usage = trace.completion.usage
    say(f"{paint(trace.id, 'bold')}  of {story.who}")
    right = sum(one.verdict.is_accepted is True for one in (story.judged, *story.siblings))
    rows = [
        ("prompt", f"{story.prompt.id}, {right} of {len(story.siblings) + 1} samples are right"),
        ("tokens", f"{usage.output_tokens:,}, {usage.reasoning_tokens:,} of them reasoning"),
        ("ended", _FINISHES[trace.completion.finish]),
        ("verdict", verdict_text(story.judged.verdict)),
    ]
    say(columns(rows))
    if story.siblings:
        say("\nOther samples of the prompt")
        say(columns([_sibling_row(one) for one in story.siblings]))
    reasoning = trace.completion.reasoning
    parts = [
        ("Prompt", story.prompt.text),
        ("Gold answer", story.prompt.answer or "not known"),
        ("Reasoning", reasoning if reasoning is not None else "none"),
        ("Answer", trace.completion.text),
    ]
    for name, text in parts:
        say(f"\n{name}\n{indent(text if full else excerpt(text), '  ')}")


def verdict_text(verdict: Verdict) -> str:
    """A verdict with its reason and who found it."""
    return f"{_JUDGED[verdict.is_accepted]}: {verdict.reason} ({verdict.verifier})"


def _sibling_row(judged: JudgedTrace) -> tuple[str, str]:
    verdict = judged.verdict
    return judged.trace.id, f"{_JUDGED[verdict.is_accepted]}: {verdict.reason}"
