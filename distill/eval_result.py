"""``EvalResult``: the one file about one model on one benchmark, and reading several back.

It is written whole when the sampling is finished, and never before: whoever finds one has a result.
An evaluation that is under way, or was stopped, has a journal and no result.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from distill import __version__
from distill.errors import DataError
from distill.eval_report import ModelReport
from distill.manifest import now
from distill.records import from_record, to_record
from distill.storage import storage_errors, write_json_atomically

FORMAT: Final = 1
"""Raised when an older program could misread a result."""

OURS: Final = f"distill {__version__}"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that a benchmark was read from.

    Attributes:
        name: Without its folder.
        sha256: Of its bytes.
    """

    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class BenchmarkFacts:
    """Which problems were asked, so that nobody compares others.

    Attributes:
        name: Such as ``"aime24"``, or the name of a file.
        version: Raised when the same problems would be asked or judged otherwise.
        hub: Repository of the data set on the Hub; empty if there is none.
        revision: Commit of that data set; empty if nobody knows.
        prompts: How many there are.
        prompts_hash: Of all that they say, gold answers included.
        files: What they were read from.
    """

    name: str
    version: str
    hub: str
    revision: str
    prompts: int
    prompts_hash: str
    files: tuple[SourceFile, ...]


@dataclass(frozen=True, slots=True)
class EvalResult:
    """One model on one benchmark.

    Attributes:
        format: Of this record.
        made_by: Who sampled and judged, such as ``"distill 0.1.0"``.
        finished: UTC.
        benchmark: Which problems.
        report: The figures, with a record of each problem.
    """

    format: int
    made_by: str
    finished: str
    benchmark: BenchmarkFacts
    report: ModelReport

    @classmethod
    def of(cls, benchmark: BenchmarkFacts, report: ModelReport) -> "EvalResult":
        """A result that was made here and now."""
        return cls(FORMAT, OURS, now(), benchmark, report)


def write_result(path: Path, result: EvalResult) -> None:
    """Write a result, whole or not at all.

    Raises:
        StorageError: If the disk refuses.
    """
    write_json_atomically(path, to_record(result))


def read_result(path: Path) -> EvalResult:
    """Read a result back.

    Raises:
        DataError: If the file is none, or one of another version.
    """
    with storage_errors(path):
        data = path.read_bytes()
    try:
        record: Any = json.loads(data)
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON: {error}") from None
    found = record.get("format") if isinstance(record, dict) else None
    if not isinstance(record, dict) or "report" not in record or "benchmark" not in record:
        raise DataError(
            f"{path}: this is no result of an evaluation",
            hint="`distill eval` writes results/NAME.json into the run folder.",
        )
    if found != FORMAT:
        raise DataError(f"{path}: a result of format {found}; this version reads format {FORMAT}")
    return from_record(EvalResult, record, str(path))
