"""Blocks: the journal of a run as several, one for each part of its prompts, and back.

While workers sample, the folder ``.scale/blocks`` holds all that is known, each block with a
journal of traces and one of requests. `spread` cuts the run's own journals into blocks and `gather`
puts them together again, by rank of the prompt, then by sample; each happens at once or not at all,
whenever it is killed. So a run may go on with more workers, with fewer, or on one machine alone.

This module knows journals and folders, nothing of workers.
"""

import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson

from distill.journal import Journal, read_journal, wait_for_writer, whole_lines, without_checksum
from distill.layout import RunLayout
from distill.records import Record
from distill.storage import make_folder, storage_errors, sync_files, sync_folder
from distill.traces import check_header, prompt_ranks
from distill.types import Prompt

PATIENCE_SECONDS: Final = 120.0
"""How long a journal may be held by a worker that was given up: locks of a dead machine expire."""
_A_WORKER: Final = 8
"""Blocks for each worker: the last ones end at about the same time."""
_LEAST_PROMPTS: Final = 16
_GROUP: Final = 1000
"""Records between two commits of a copy."""


@dataclass(frozen=True, slots=True)
class Block:
    """Some prompts next to each other.

    Attributes:
        number: Of the block.
        begin: Rank of its first prompt.
        end: Rank after its last one.
    """

    number: int
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Stored:
    """What earlier tries left.

    Attributes:
        samples: That have an answer.
        output_tokens: Of those.
    """

    samples: int = 0
    output_tokens: int = 0


def cut(prompts: int, workers: int) -> list[Block]:
    """Cut prompts into blocks.

    Example:
        >>> [block.end - block.begin for block in cut(40, 2)]
        [16, 16, 8]
    """
    size = max(-(-prompts // (workers * _A_WORKER)), _LEAST_PROMPTS)
    begins = range(0, prompts, size)
    return [Block(number, begin, min(begin + size, prompts)) for number, begin in enumerate(begins)]


def traces_of(blocks: Path, number: int) -> Path:
    """Journal of the traces of a block."""
    return blocks / f"{number:06}" / "traces.jsonl"


def requests_of(blocks: Path, number: int) -> Path:
    """Journal of what was asked for a block."""
    return blocks / f"{number:06}" / "requests.jsonl"


def begin(journal: Path, header: Mapping[str, Any]) -> None:
    """Write the header of a new journal; make sure that of an old one says the same.

    Raises:
        RunDirError: If the journal was written with other settings.
        DataError: If it is broken.
    """
    with Journal.open(journal) as opened:
        if not opened.safe_records:
            opened.append(header)
        else:
            check_header(next(opened.records()), header, journal)


def spread(
    paths: RunLayout,
    prompts: Sequence[Prompt],
    blocks: Sequence[Block],
    header_of: Callable[[Block], Mapping[str, object]],
) -> Stored:
    """Cut the journals of a run into blocks; a block that has no trace yet gets none.

    Args:
        paths: Of the run, whose journal of traces has its header.
        prompts: All of them.
        blocks: How they are cut.
        header_of: First record of a block's journal.

    Raises:
        DataError: If a journal is broken.
        StorageError: If the disk refuses.
    """
    draft = paths.scale / "draft"
    _remove(draft)
    make_folder(draft)
    ranks = prompt_ranks(prompts)
    block_of = [block.number for block in blocks for _ in range(block.begin, block.end)]
    places = _places(paths.traces, ranks)
    answers: dict[int, int] = {}
    with paths.traces.open("rb") as file:
        for number, its in groupby(places, lambda place: block_of[place.rank]):
            with Journal.open(traces_of(draft, number)) as journal:
                journal.append(header_of(blocks[number]))
                _copy(file, its, journal)
                answers[number] = journal.appended_records - 1
    if paths.requests.exists():
        _spread_requests(paths.requests, draft, lambda one: block_of[ranks[one]], answers)
    with storage_errors(paths.scale):
        sync_files(draft)
        draft.rename(paths.blocks)
        sync_folder(paths.scale)
    last = {(one.rank, one.sample): one.output_tokens for one in places if not one.is_failed}
    return Stored(len(last), sum(last.values()))


def gather(paths: RunLayout, prompts: Sequence[Prompt]) -> None:
    """Put the blocks together, in place of the run's journals; without blocks nothing happens.

    Raises:
        RunDirError: If a worker of an earlier try still writes, after a while of waiting.
        DataError: If a journal is broken.
        StorageError: If the disk refuses.
    """
    _move_gathered(paths)
    if paths.blocks.exists():
        _gather_blocks(paths, prompts)
        _move_gathered(paths)
    _remove(paths.scale)


def _gather_blocks(paths: RunLayout, prompts: Sequence[Prompt]) -> None:
    """Write both journals anew beside the blocks, then take the blocks' name from them."""
    folder = paths.blocks / "gathered"
    _remove(folder)
    ranks = prompt_ranks(prompts)
    with (
        Journal.open(folder / paths.traces.name) as traces,
        Journal.open(folder / paths.requests.name) as requests,
    ):
        traces.append(next(read_journal(paths.traces)))
        for block in sorted(paths.blocks.glob("[0-9]*")):
            own = block / "traces.jsonl"
            if own.exists():
                wait_for_writer(own, PATIENCE_SECONDS)
                with own.open("rb") as file:
                    _copy(file, _places(own, ranks), traces)
            if (block / "requests.jsonl").exists():
                for record in read_journal(block / "requests.jsonl"):
                    requests.append(record)
                requests.commit()
        was_asked = requests.appended_records > 0
    if not was_asked:
        (folder / paths.requests.name).unlink()
    with storage_errors(paths.scale):
        paths.blocks.rename(paths.scale / "gathered")
        sync_folder(paths.scale)


def _move_gathered(paths: RunLayout) -> None:
    """Second half of `gather`; what was moved before a kill is not there to be moved again."""
    folder = paths.scale / "gathered"
    with storage_errors(paths.root):
        for made in (paths.traces, paths.requests):
            draft = folder / "gathered" / made.name
            if draft.exists():
                draft.replace(made)
        if folder.exists():
            sync_folder(paths.root)
            shutil.rmtree(folder)


@dataclass(frozen=True, slots=True, order=True)
class _Place:
    """Where a trace stands in its journal; two of one sample keep their order."""

    rank: int
    sample: int
    offset: int
    length: int
    output_tokens: int
    is_failed: bool


def _places(journal: Path, ranks: Mapping[str, int]) -> list[_Place]:
    places: list[_Place] = []
    offset = 0
    for number, line in enumerate(whole_lines(journal)):
        if number:  # the first is the header
            trace: Any = orjson.loads(line)["trace"]
            completion = trace["completion"]
            places.append(
                _Place(
                    ranks[trace["prompt_id"]],
                    trace["sample_index"],
                    offset,
                    len(line),
                    completion["usage"]["output_tokens"],
                    completion["finish"] == "error",
                )
            )
        offset += len(line)
    return sorted(places)


def _copy(file: BinaryIO, places: Iterable[_Place], journal: Journal) -> None:
    """Append lines of an open file to another journal, in the order of the places."""
    for count, place in enumerate(places, start=1):
        file.seek(place.offset)
        journal.append(without_checksum(file.read(place.length)))
        if count % _GROUP == 0:
            journal.commit()
    journal.commit()


def _spread_requests(
    requests: Path, draft: Path, block_of: Callable[[str], int], answers: Mapping[int, int]
) -> None:
    """Each block gets what was asked for its prompts, so that what is unanswered stays so.

    A refusal names no prompt: it goes to blocks that have asked for more than was answered.
    """
    records: dict[int, list[Record]] = defaultdict(list)
    surplus: dict[int, int] = defaultdict(int)
    refused: list[Record] = []
    for record in read_journal(requests):
        if record["kind"] != "asked":
            refused.append(record)
            continue
        by_block = defaultdict(list)
        for sample in record["samples"]:
            by_block[block_of(sample[0])].append(sample)
        for number, samples in by_block.items():
            records[number].append({**record, "samples": samples})
            surplus[number] += len(samples)
    for record in refused:
        left = record["count"]
        for number, asked in surplus.items():
            count = min(max(asked - answers.get(number, 0), 0), left)
            if count:
                records[number].append({**record, "count": count})
                surplus[number] = asked - count
                left -= count
    for number, its in records.items():
        with Journal.open(requests_of(draft, number)) as journal:
            for record in its:
                journal.append(record)


def _remove(folder: Path) -> None:
    with storage_errors(folder):
        if folder.exists():
            shutil.rmtree(folder)
