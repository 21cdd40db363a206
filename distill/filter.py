"""Stage: which traces a student may learn from, and why the others may not.

Nothing is deleted: traces stay where they are. Every trace gets a row in
``traces.verdicts.parquet`` with all that was found about it; the chosen ones become conversations
in ``train.parquet``.

A file is judged shard by shard, so that memory does not grow with it and a run that was stopped
goes on with the shards that are left. Any number of workers writes the same bytes.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent
from typing import Any, Final

from distill.errors import DataError, StageError
from distill.filter_index import BrokenPlace, Index, build_index
from distill.filter_merge import Merge
from distill.filter_pool import ShardSpread, judge_shards
from distill.filter_sections import BlendSection
from distill.filter_setup import FilterSetup
from distill.filter_shard import ShardWork
from distill.funnel import FilterReport, Tally
from distill.funnel_text import format_funnel
from distill.layout import RunLayout
from distill.records import to_record
from distill.rules import IS_CHOICE, SHARE
from distill.storage import hash_json, make_folder, write_atomically, write_json_atomically
from distill.trace_source import TraceSource, open_source
from distill.types import Progress

_NO_BLEND: Final = BlendSection()
_SHOWN_ROWS: Final = 5
_EARLY_TRACES: Final = 1000
"""After so many traces a rule that eats too many of them stops the stage."""


@dataclass(frozen=True, slots=True)
class FilterInput:
    """What is filtered.

    Attributes:
        traces: JSONL or Parquet.
        prompts: The prompts, if they stand in a file of their own.
        mapping: Column by field, for files from elsewhere.
    """

    traces: Path
    prompts: Path | None = None
    mapping: Mapping[str, str] | None = None


def filter_traces(
    given: FilterInput,
    setup: FilterSetup,
    paths: RunLayout,
    *,
    blend: BlendSection = _NO_BLEND,
    workers: int | None = None,
    elsewhere: ShardSpread | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_note: Callable[[str], None] | None = None,
) -> FilterReport:
    """Judge all traces, choose, mix, and write what came of it.

    Args:
        given: The traces.
        setup: How they are judged and chosen.
        paths: The folder that is written to.
        blend: What is mixed in.
        workers: Processes; ``None`` is one for each core, and none for a small input.
        elsewhere: Who judges instead of them, such as workers of a cluster.
        on_progress: Called as shards are finished.
        on_note: Called with what the user should know of, such as an unused column.

    Raises:
        DataError: If the file or more than the allowed share of its rows cannot be read.
        StageError: If nothing is kept, rules that find fault drop more than the allowed share, or
            the verifier cannot judge enough; what was found so far is written, to be looked at.
        DistillError: What the verifier, the disk or a worker raises.
    """
    verifier = setup.verifier_name()  # what is wrong with it is said before a look at the file
    source = open_source(
        given.traces, paths.filter_work, prompts=given.prompts, mapping=given.mapping
    )
    for text in source.notes:
        (on_note or _ignore)(text)
    _refuse_divergent(source, setup)
    index = build_index(source)
    work = ShardWork(source, setup, paths.filter_work)
    _keep_or_clear(work, index)
    index = index.save(paths.filter_work)
    stage = _Stage(given=given, work=work, blend=blend, paths=paths, index=index, verifier=verifier)
    judging = judge_shards(work, index.shards, workers=workers, elsewhere=elsewhere)
    with closing(judging) as judged:
        for shard, (result, was_done) in enumerate(judged, start=1):
            stage.take(shard, result.tally, result.broken)
            if on_progress is not None:
                on_progress(stage.progress(was_done=was_done))
    return stage.finish()


def read_record(paths: RunLayout) -> dict[str, Any]:
    """What a finished filter left: its report, its input and its examples.

    Raises:
        DataError: If there is none.
    """
    try:
        record: dict[str, Any] = json.loads(paths.filter_record.read_bytes())
    except (OSError, ValueError):
        raise DataError(
            f"{paths.root}: no filter was finished here",
            hint="Name a run folder, or the folder that distill filter --to wrote.",
        ) from None
    return record


class _Stage:
    """What was counted so far, and how the stage ends."""

    def __init__(
        self,
        *,
        given: FilterInput,
        work: ShardWork,
        blend: BlendSection,
        paths: RunLayout,
        index: Index,
        verifier: str,
    ) -> None:
        self._verifier = verifier
        self._given, self._work, self._blend = given, work, blend
        self._paths, self._index = paths, index
        self._tally = Tally()
        self._tally.sums["broken"] = len(index.broken)
        self._broken = list(index.broken)
        self._shards = self._resumed = 0

    def take(self, shards: int, tally: Tally, broken: Sequence[BrokenPlace]) -> None:
        """Count one more shard; stop if it is clear that something is broken."""
        self._shards = shards
        self._tally.add(tally)
        self._broken += broken
        if self._tally.sums["traces"] >= _EARLY_TRACES and shards < self._index.shards:
            self._refuse_bad(is_final=False)

    def progress(self, *, was_done: bool) -> Progress:
        """Where it stands, in traces."""
        done = int(self._index.starts[self._shards])
        self._resumed = done if was_done else self._resumed
        kept = self._tally.sums["traces"] - self._tally.dropped.total()
        share = kept / max(self._tally.sums["traces"], 1)
        figures = {"kept": f"{100 * share:.0f} %"}
        return Progress("filter", done, len(self._index), self._resumed, figures)

    def finish(self) -> FilterReport:
        """Write everything, and raise if the result is none."""
        report = self._write()
        self._refuse_bad(is_final=True)
        shutil.rmtree(self._paths.filter_work, ignore_errors=True)
        return report

    def _write(self) -> FilterReport:
        paths, setup = self._paths, self._work.setup
        merge = Merge(self._work, self._shards, self._tally, self._blend)
        merge.write(paths.verdicts, paths.train)
        self._write_broken()
        report = self._report()
        from distill.filter_report import write_page

        write_json_atomically(
            paths.filter_record,
            {
                "traces": str(self._given.traces.resolve()),
                "prompts": str(self._given.prompts.resolve()) if self._given.prompts else None,
                "mapping": dict(self._given.mapping or {}),
                "verify": setup.verify.model_dump(mode="json"),
                "filter": setup.rules.model_dump(mode="json"),
                "select": setup.select.model_dump(mode="json"),
                "blend": self._blend.model_dump(mode="json"),
                "seed": setup.seed,
                "report": to_record(report),
                "examples": self._tally.as_json()["examples"],
            },
        )
        write_page(paths.filter_page, report, self._tally.examples, setup)
        return report

    def _report(self) -> FilterReport:
        setup = self._work.setup
        asked = [one for one in setup.funnel() if self._blend.sources or one != SHARE.name]
        return self._tally.report(asked, self._verifier)

    def _write_broken(self) -> None:
        """Rows that could not be read, each with its problem; no file if there are none."""
        if not self._broken:
            self._paths.broken.unlink(missing_ok=True)
            return
        lines = [
            json.dumps({"row": one.row, "problem": one.problem}, ensure_ascii=False)
            for one in sorted(self._broken, key=lambda one: one.row)
        ]
        text = "\n".join(lines) + "\n"
        write_atomically(self._paths.broken, text.encode("utf-8", "backslashreplace"))

    def _refuse_bad(self, *, is_final: bool) -> None:
        rules, sums = self._work.setup.rules, self._tally.sums
        problem = ""
        if sums["broken"] > rules.max_broken_share * (sums["broken"] + sums["traces"]):
            if not is_final:
                self._write()
            raise self._too_broken()
        if self._tally.faulty > rules.max_dropped_share * sums["traces"]:
            problem = (
                f"filter found fault with {self._tally.faulty:,} of {sums['traces']:,} traces,"
                f" more than {rules.max_dropped_share:.0%}"
            )
        elif sums["unknown"] > rules.max_unknown_share * sums["traces"]:
            problem = (
                f"the verifier could not judge {sums['unknown']:,} of {sums['traces']:,} traces,"
                f" more than {rules.max_unknown_share:.0%}"
            )
        elif is_final and self._tally.dropped.total() == sums["traces"]:
            problem = f"filter kept none of {sums['traces']:,} traces"
        if not problem:
            return
        if not is_final:
            self._write()
            problem += f" so far, of {len(self._index):,} rows"
        raise StageError(
            f"{problem}:\n{indent(self._funnel(), '  ')}{self._examples()}",
            hint=f"Every reason is in {self._paths.verdicts}, figures and examples in"
            f" {self._paths.filter_page}.\nChange the prompts, the teacher, [filter] or [verify];"
            " --max-drop SHARE lets more go.",
        )

    def _funnel(self) -> str:
        return format_funnel(self._report(), all_rules=False)

    def _examples(self) -> str:
        """What the rule that dropped most says about one trace."""
        worst = [(n, rule) for rule, n in self._tally.dropped.items() if rule not in IS_CHOICE]
        shown = self._tally.examples.get(max(worst)[1]) if worst else None
        if not shown:
            return ""
        return f"\n  such as {shown[0]['id']}: {shown[0]['reason']}"

    def _too_broken(self) -> DataError:
        sums = self._tally.sums
        total = sums["broken"] + sums["traces"]
        share = self._work.setup.rules.max_broken_share
        shown = sorted(self._broken, key=lambda one: one.row)[:_SHOWN_ROWS]
        lines = [f"\n  {self._given.traces}:{one.row}: {one.problem}" for one in shown]
        more = sums["broken"] - len(shown)
        return DataError(
            f"{sums['broken']:,} of {total:,} rows cannot be used, more than {share:.2%}:"
            + "".join(lines)
            + (f"\n  and {more:,} more" if more else ""),
            hint=f"All of them are in {self._paths.broken}; filter.max_broken_share lets more go.",
        )


def _ignore(text: str) -> None:
    del text


def _refuse_divergent(source: TraceSource, setup: FilterSetup) -> None:
    """Say at once that a choice by divergence needs what is not there."""
    if setup.select.by != "divergent":
        return
    columns = source.columns
    needed = ("teacher_logprobs", "student_logprobs")
    if columns is None or not all(map(columns.has, needed)):
        what = "a journal keeps none" if columns is None else "the file has no such columns"
        raise DataError(
            f"select.by = 'divergent' needs log-probabilities, and {source.path} has none: {what}",
            hint=f"Give a trace file with the columns {' and '.join(needed)}, a list of numbers"
            " each, or choose another way.",
        )


def _keep_or_clear(work: ShardWork, index: Index) -> None:
    """Keep finished parts of the same judging; others are of no use."""
    stat = work.source.path.stat()
    key = hash_json(
        {
            "setup": work.setup.key(),
            "index": index.fingerprint(),
            "file": [stat.st_size, stat.st_mtime_ns],
            "columns": dict(work.source.columns.of_field) if work.source.columns else None,
        }
    )
    marker = work.work / "key"
    if not marker.is_file() or marker.read_text() != key:
        shutil.rmtree(work.work / "parts", ignore_errors=True)
        write_atomically(marker, key.encode())
    make_folder(work.work / "parts")
