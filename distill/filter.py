"""Stage: which judged traces a student may learn from, and why the others may not.

The rules of ``distill.rules`` are asked in order, so the funnel adds up. Nothing is deleted: the
journal stays, and dropped traces are written to a file of their own, each with its reason.

This module knows no models.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryFile
from textwrap import indent
from typing import IO

from distill.errors import StageError
from distill.filter_sections import FilterSection
from distill.record_files import record_line
from distill.rules import Group, Rule, TokenCounter, rules_of
from distill.storage import make_folder, storage_errors, write_atomically
from distill.types import JudgedTrace


@dataclass(frozen=True, slots=True)
class FunnelStep:
    """What one rule did.

    Attributes:
        rule: Its name.
        dropped: Traces that it dropped.
        traces_left: Traces that are left after it.
        prompts_left: Prompts that have a trace left after it.
    """

    rule: str
    dropped: int
    traces_left: int
    prompts_left: int


@dataclass(frozen=True, slots=True)
class FilterReport:
    """What the filter did.

    Attributes:
        traces: Traces that came in.
        prompts: Prompts that they belong to.
        kept: Traces that were kept.
        funnel: One step per rule, in order.
    """

    traces: int
    prompts: int
    kept: int
    funnel: tuple[FunnelStep, ...]


@dataclass(frozen=True, slots=True)
class DroppedTrace:
    """A trace that must not be learned from, and the first rule that says so."""

    rule: str
    reason: str
    judged: JudgedTrace


def filter_traces(
    traces: Iterable[JudgedTrace],
    section: FilterSection,
    *,
    kept_path: Path,
    dropped_path: Path,
    count_tokens: TokenCounter | None = None,
    per_prompt: int = 4,
) -> FilterReport:
    """Write the kept traces to one file and the dropped ones, with reasons, to another.

    Args:
        traces: As ``read_traces`` gives them: the traces of a prompt next to each other.
        section: Which rules, and how strict.
        kept_path: Gets a record per kept ``JudgedTrace``, in order.
        dropped_path: Gets a record per ``DroppedTrace``, in order.
        count_tokens: Tokens of a text by the student's tokenizer, see ``rules_of``.
        per_prompt: Traces of one prompt that are kept at most.

    Raises:
        StageError: If nothing is kept, or more than ``section.max_dropped_share`` is dropped by
            rules that find fault; both files are written all the same, to be looked at.
        StorageError: If the disk refuses.
    """
    rules = rules_of(section, count_tokens, per_prompt)
    funnel = _Funnel(rules)
    make_folder(dropped_path.parent)
    with storage_errors(dropped_path), TemporaryFile(dir=dropped_path.parent) as dropped:
        write_atomically(kept_path, _sort_out(traces, rules, funnel, dropped))
        dropped.seek(0)
        write_atomically(dropped_path, dropped)
    report = funnel.report()
    _check_outcome(report, rules, section.max_dropped_share, dropped_path)
    return report


def format_funnel(report: FilterReport) -> str:
    """The funnel as lines of text.

    Example:
        >>> print(format_funnel(FilterReport(9, 3, 5, (FunnelStep("wrong", 4, 5, 2),))))
        sampled                      9 traces of 3 prompts
        wrong             -4         5 traces of 2 prompts
    """
    lines = [f"{'sampled':<12} {'':>7} {report.traces:>9,} traces of {report.prompts:,} prompts"]
    lines += [
        f"{step.rule:<12} {-step.dropped:>7,} {step.traces_left:>9,} traces"
        f" of {step.prompts_left:,} prompts"
        for step in report.funnel
    ]
    return "\n".join(lines)


class _Funnel:
    """Counts what each rule drops."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._traces = self._prompts = 0
        self._dropped = [0] * len(rules)
        self._prompts_left = [0] * len(rules)

    def sort_out(self, group: Group) -> tuple[list[JudgedTrace], list[DroppedTrace]]:
        """Ask all rules about the traces of one prompt."""
        self._traces += len(group)
        self._prompts += 1
        left, dropped = list(group), list[DroppedTrace]()
        for place, rule in enumerate(self._rules):
            judgement = list(zip(rule.reasons(left), left, strict=True))
            gone = [DroppedTrace(rule.name, reason, one) for reason, one in judgement if reason]
            left = [one for reason, one in judgement if not reason]
            self._dropped[place] += len(gone)
            self._prompts_left[place] += bool(left)
            dropped += gone
        return left, dropped

    def report(self) -> FilterReport:
        """The totals, at the end."""
        steps = []
        left = self._traces
        for rule, dropped, prompts in zip(
            self._rules, self._dropped, self._prompts_left, strict=True
        ):
            left -= dropped
            steps.append(FunnelStep(rule.name, dropped, left, prompts))
        return FilterReport(self._traces, self._prompts, left, tuple(steps))


def _sort_out(
    traces: Iterable[JudgedTrace], rules: Sequence[Rule], funnel: _Funnel, dropped: IO[bytes]
) -> Iterator[bytes]:
    """Lines of the kept traces; lines of the dropped ones go to ``dropped`` on the way."""
    for _, group in groupby(traces, key=lambda judged: judged.trace.prompt_id):
        kept, gone = funnel.sort_out(list(group))
        by_sample = sorted(gone, key=lambda one: one.judged.trace.sample_index)
        dropped.writelines(record_line(one) for one in by_sample)
        yield from (record_line(judged) for judged in kept)


def _check_outcome(
    report: FilterReport, rules: Sequence[Rule], max_dropped_share: float, dropped_path: Path
) -> None:
    is_choice = {rule.name: rule.is_choice for rule in rules}
    faulty = sum(step.dropped for step in report.funnel if not is_choice[step.rule])
    if report.kept == 0:
        problem = f"filter kept none of {report.traces:,} traces"
    elif faulty > max_dropped_share * report.traces:
        problem = (
            f"filter found fault with {faulty:,} of {report.traces:,} traces,"
            f" more than {max_dropped_share:.0%}"
        )
    else:
        return
    raise StageError(
        f"{problem}:\n{indent(format_funnel(report), '  ')}",
        hint=f"Every reason is in {dropped_path}; change the prompts, the teacher or [filter].",
    )
