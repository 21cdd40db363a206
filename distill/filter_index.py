"""Where each trace stands and which shard it belongs to: the filter's first look at a file.

Rows are put in the order of their prompts, those of one prompt side by side, and cut into shards
between prompts. The cut depends on the file alone, so any number of workers judges the same
shards. Four numbers a row are held; texts stay in the file.
"""

import hashlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from distill.errors import DataError
from distill.journal import read_journal
from distill.prompt_file import PromptFile
from distill.storage import make_folder, storage_errors
from distill.trace_files import BrokenRow, Row, parse_row, row_key
from distill.trace_source import TraceSource

SHARD_BYTES = 8 << 20
SHARD_ROWS = 2048

_Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class BrokenPlace:
    """A row that cannot be used."""

    row: int
    problem: str


@dataclass(frozen=True, slots=True)
class Index:
    """The rows of a file in the order of their prompts.

    Attributes:
        offsets: Where each row begins in the file.
        lengths: Its bytes.
        rows: Its number, from 1.
        ranks: Place of its prompt among all prompts.
        starts: At which row each shard begins; one more at the end.
        broken: Rows that are no JSON, or name no prompt.
    """

    offsets: _Numbers
    lengths: _Numbers
    rows: _Numbers
    ranks: _Numbers
    starts: _Numbers
    broken: tuple[BrokenPlace, ...]

    def __len__(self) -> int:
        return int(self.starts[-1])

    @property
    def shards(self) -> int:
        """How many shards there are."""
        return len(self.starts) - 1

    def fingerprint(self) -> str:
        """Changes when any row is somewhere else, longer, or of another prompt."""
        digest = hashlib.sha256()
        for numbers in (self.offsets, self.lengths, self.ranks, self.starts):
            digest.update(np.ascontiguousarray(numbers).tobytes())
        return digest.hexdigest()

    def save(self, folder: Path) -> "Index":
        """Write it for the workers; what comes back has the shards and no rows."""
        make_folder(folder)
        with storage_errors(folder):
            for name in _ARRAYS:
                np.save(folder / f"{name}.npy", getattr(self, name))
        none = np.empty(0, np.int64)
        return replace(self, offsets=none, lengths=none, rows=none, ranks=none)


def load_shard(folder: Path, shard: int) -> Iterator[tuple[int, int, int, int]]:
    """Offset, length, number and prompt's rank of each row of a shard."""
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
    begin, end = (int(place) for place in arrays["starts"][shard : shard + 2])
    parts = [arrays[name][begin:end].tolist() for name in ("offsets", "lengths", "rows", "ranks")]
    yield from zip(*parts, strict=True)


def build_index(source: TraceSource) -> Index:
    """Look at every row of a file once.

    Raises:
        DataError: If a journal is broken in the middle.
    """
    scan = _Scan()
    ranks_of = _PromptRanks(source.prompts)
    for number, offset, length, key in _keys(source, scan):
        scan.add(number, offset, length, hash(key))
    return scan.sorted_by(ranks_of)


_ARRAYS = ("offsets", "lengths", "rows", "ranks", "starts")


class _Scan:
    """The rows in the order of the file."""

    def __init__(self) -> None:
        self.keys, self.offsets = array("q"), array("q")
        self.lengths, self.rows = array("q"), array("q")
        self.broken: list[BrokenPlace] = []

    def add(self, number: int, offset: int, length: int, key: int) -> None:
        self.keys.append(key)
        self.offsets.append(offset)
        self.lengths.append(length)
        self.rows.append(number)

    def sorted_by(self, ranks_of: "_PromptRanks") -> Index:
        keys, rows = _numbers(self.keys), _numbers(self.rows)
        ranks = ranks_of(keys)
        for place in np.flatnonzero(ranks < 0).tolist():
            self.broken.append(BrokenPlace(int(rows[place]), "its prompt is not in the prompt set"))
        order = np.argsort(ranks, kind="stable")
        order = order[np.searchsorted(ranks[order], 0) :]
        lengths, ranks = _numbers(self.lengths)[order], ranks[order]
        starts = _cut(lengths, ranks)
        broken = tuple(sorted(self.broken, key=lambda one: one.row))
        return Index(_numbers(self.offsets)[order], lengths, rows[order], ranks, starts, broken)


class _PromptRanks:
    """Ranks of prompts by the hash of their id: by their file, or as they first come."""

    def __init__(self, prompts: Path | None) -> None:
        self._keys: _Numbers | None = None
        if prompts is not None:
            with PromptFile(prompts) as file:
                self._keys = np.fromiter((hash(one.id) for one in file), np.int64)

    def __call__(self, keys: _Numbers) -> _Numbers:
        if self._keys is None:
            _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
            place_of = np.empty(len(first), np.int64)
            place_of[np.argsort(first)] = np.arange(len(first))
            return place_of[inverse]
        order = np.argsort(self._keys)
        ordered = self._keys[order]
        places = np.searchsorted(ordered, keys)
        places[places == len(ordered)] = 0
        ranks: _Numbers = np.where(ordered[places] == keys, order[places], -1)
        return ranks


def _keys(source: TraceSource, scan: _Scan) -> Iterator[tuple[int, int, int, str]]:
    """Number, offset, length and prompt's id of each row that can be read."""
    if source.columns is None:
        yield from _journal_keys(source)
        return
    offset = 0
    with source.rows.open("rb") as file:
        for number, line in enumerate(file, start=1):
            begin, offset = offset, offset + len(line)
            if number == 1 and line.startswith(_MARK):
                begin, line = begin + len(_MARK), line.removeprefix(_MARK)  # noqa: PLW2901
            if line.strip():
                try:
                    key = row_key(parse_row(line), source.columns)
                except BrokenRow as broken:
                    scan.broken.append(BrokenPlace(number, str(broken)))
                else:
                    yield number, begin, len(line), key


def _journal_keys(source: TraceSource) -> Iterator[tuple[int, int, int, str]]:
    """The same of a journal of ours, whose checksums are looked at on the way."""
    offset = 0
    with source.rows.open("rb") as file:
        records: Iterator[Row] = _records(source)
        for number, (record, line) in enumerate(zip(records, file, strict=False), start=1):
            if record.get("kind") != "header":
                trace: Any = record.get("trace")
                key = trace.get("prompt_id") if isinstance(trace, dict) else None
                if not isinstance(key, str):
                    raise DataError(f"{source.path}:{number}: the record is no trace")
                yield number, offset, len(line), key
            offset += len(line)


def _records(source: TraceSource) -> Iterator[Row]:
    if source.first_row:
        yield from read_journal(source.rows)
        return
    with source.rows.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield parse_row(line)
            except BrokenRow as broken:
                raise DataError(f"{source.path}:{number}: {broken}") from None


_MARK = b"\xef\xbb\xbf"


def _cut(lengths: _Numbers, ranks: _Numbers) -> _Numbers:
    """Where shards begin: between prompts, after so many rows or bytes."""
    if not len(ranks):
        return np.zeros(1, np.int64)
    begins = np.concatenate([[0], np.flatnonzero(np.diff(ranks)) + 1]).tolist()
    sizes = np.add.reduceat(lengths, begins).tolist()
    starts, size = [0], 0
    for begin, added in zip(begins, sizes, strict=True):
        is_full = size + added > SHARD_BYTES or begin - starts[-1] >= SHARD_ROWS
        if is_full and begin > starts[-1]:
            starts.append(begin)
            size = 0
        size += added
    return np.array([*starts, len(ranks)], np.int64)


def _numbers(values: "array[int] | Sequence[int]") -> _Numbers:
    return np.asarray(values, np.int64)
