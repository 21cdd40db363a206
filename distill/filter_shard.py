"""One shard of the filter: read, judged, and its parts written; finished ones are passed over.

``ShardJudge`` works in worker processes as well as in this one. What a shard comes to depends on
the file and the setup alone.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from distill.filter_group import GroupJudge, Judged
from distill.filter_index import BrokenPlace, load_shard
from distill.filter_setup import FilterSetup
from distill.filter_tables import train_table, verdict_table, write_table
from distill.funnel import Tally
from distill.prompt_file import PromptFile
from distill.storage import write_atomically
from distill.trace_files import (
    BrokenRow,
    Candidate,
    parse_row,
    read_journal_row,
    read_row,
    renumbered,
)
from distill.trace_source import TraceSource
from distill.types import Prompt

EXCERPT: Final = 1200
"""Characters of a trace that an example shows at most, of its beginning and its end."""


@dataclass(frozen=True, slots=True)
class ShardWork:
    """What a worker is told.

    Attributes:
        source: The file.
        setup: How to judge.
        work: Folder of the index and of the parts.
    """

    source: TraceSource
    setup: FilterSetup
    work: Path

    def part(self, shard: int, kind: str) -> Path:
        """A file that a shard comes to: ``verdicts.parquet``, ``train.parquet``, ``json``."""
        return self.work / "parts" / f"{shard:06}.{kind}"


@dataclass(frozen=True, slots=True)
class ShardResult:
    """What a shard came to.

    Attributes:
        tally: Its counts.
        broken: Its rows that could not be read.
    """

    tally: Tally
    broken: tuple[BrokenPlace, ...]

    def as_json(self) -> str:
        """One line, as a shard's part has it."""
        places = [[one.row, one.problem] for one in self.broken]
        return json.dumps({"tally": self.tally.as_json(), "broken": places})

    @classmethod
    def from_json(cls, text: str | bytes) -> "ShardResult":
        """What ``as_json`` gave.

        Raises:
            ValueError: If it is something else; a ``KeyError`` or ``TypeError`` likewise.
        """
        values: Any = json.loads(text)
        broken = tuple(BrokenPlace(row, problem) for row, problem in values["broken"])
        return cls(Tally.from_json(values["tally"]), broken)


class ShardJudge:
    """Judges shards of one file, one after the other."""

    def __init__(self, work: ShardWork) -> None:
        """Build the verifier and open the prompts.

        Raises:
            DistillError: If the verifier or a file that the rules need is not there.
        """
        self._work = work
        self._judge = GroupJudge(work.setup)
        self._prompts = PromptFile(work.source.prompts) if work.source.prompts else None

    def judge(self, shard: int) -> ShardResult:
        """Judge one shard and write its parts; the last one written says that it is finished.

        Raises:
            DistillError: If the disk refuses, or the choice needs what the traces do not have.
        """
        work, source = self._work, self._work.setup.source
        broken: list[BrokenPlace] = []
        tally = Tally()
        judged: list[Judged] = []
        for group in self.groups(shard, broken):
            found = self._judge.judge(group)
            tally.count(one.counted(source) for one in found)
            for one in found:
                _show(tally, one)
            judged += found
        write_table(work.part(shard, "verdicts.parquet"), verdict_table(judged, source))
        write_table(work.part(shard, "train.parquet"), train_table(judged, source))
        tally.sums["broken"] = len(broken)
        result = ShardResult(tally, tuple(broken))
        write_atomically(work.part(shard, "json"), result.as_json().encode())
        return result

    def close(self) -> None:
        """Let go of the prompts, and of the verifier's processes."""
        if self._prompts is not None:
            self._prompts.close()
        self._judge.close()

    def groups(self, shard: int, broken: list[BrokenPlace]) -> Iterator[Sequence[Candidate]]:
        """The traces of a shard, prompt by prompt; rows without use are added to ``broken``."""
        source, prompts = self._work.source, self._prompts
        with source.rows.open("rb") as file:
            for rank, places in groupby(load_shard(self._work.work, shard), lambda one: one[3]):
                known = prompts[rank] if prompts is not None else None
                found: list[Candidate] = []
                for offset, length, number, _ in places:
                    file.seek(offset)
                    try:
                        _add(found, _candidates(source, file.read(length), number, known))
                    except BrokenRow as problem:
                        broken.append(BrokenPlace(number, str(problem)))
                if found:
                    yield renumbered(found, source.columns)


def finished_shard(work: ShardWork, shard: int) -> ShardResult | None:
    """What an earlier try made of a shard; ``None`` if it has not finished it."""
    try:
        return ShardResult.from_json(work.part(shard, "json").read_bytes())
    except (OSError, ValueError, KeyError, TypeError):
        return None


def excerpt(text: str) -> str:
    """The beginning and the end of a text, where it is long."""
    if len(text) <= EXCERPT:
        return text
    half = EXCERPT // 2
    return f"{text[:half]}\n[... {len(text) - EXCERPT:,} characters ...]\n{text[-half:]}"


def _candidates(
    source: TraceSource, line: bytes, number: int, known: Prompt | None
) -> list[Candidate]:
    row = parse_row(line)
    if source.columns is None:
        return [read_journal_row(row, number, known)]
    return read_row(row, source.columns, number, known)


def _add(found: list[Candidate], more: Sequence[Candidate]) -> None:
    """Take the traces of one more row, if they are about the same prompt as those before."""
    if found and more and more[0].prompt != found[0].prompt:
        raise BrokenRow(
            f"prompt {found[0].prompt.id} has another text or answer in row {found[0].row}"
        )
    found += more


def _show(tally: Tally, one: Judged) -> None:
    """Keep a trace as an example of the rule that drops it."""
    if one.is_selected and one.verdict.is_accepted is not None:
        return
    rule = one.failed[0] if one.failed else "unknown"
    completion = one.candidate.trace.completion
    reason = next((check.reason for check in one.checks if check.name == rule), one.verdict.reason)
    tally.show(
        rule,
        {
            "id": one.candidate.trace.id,
            "row": one.candidate.row,
            "reason": reason,
            "prompt": excerpt(one.candidate.prompt.text),
            "reasoning": excerpt(completion.reasoning or ""),
            "text": excerpt(completion.text),
        },
    )
