"""One trace's whole story: who judged it, what every rule found, what became of it and why."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pyarrow.parquet as pq  # type: ignore[import-untyped]

from distill.errors import DataError
from distill.filter import read_record
from distill.filter_tables import VERDICTS
from distill.layout import RunLayout
from distill.prompt_file import PromptFile
from distill.trace_files import BrokenRow, Candidate, parse_row, read_journal_row, read_row
from distill.trace_source import TraceSource, open_source

_NEARBY: Final = 5


@dataclass(frozen=True, slots=True)
class Story:
    """All that is known of a trace.

    Attributes:
        verdict: Its row of ``traces.verdicts.parquet``.
        siblings: Rows of the other traces of its prompt.
        traces: The file that it stands in.
        candidate: Prompt and text; ``None`` if the file is gone or changed.
    """

    verdict: dict[str, Any]
    siblings: tuple[dict[str, Any], ...]
    traces: Path
    candidate: Candidate | None


def explain(paths: RunLayout, trace_id: str) -> Story:
    """Find a trace that the filter has judged.

    Args:
        paths: Of a run, or of the folder that a filter wrote.
        trace_id: As in ``traces.verdicts.parquet``, such as ``"train-0/17#2"``.

    Raises:
        DataError: If no filter was finished there, or it judged no such trace.
    """
    record = read_record(paths)
    found = _rows(paths.verdicts, "id", trace_id)
    if not found:
        raise DataError(
            f"{paths.verdicts}: there is no trace {trace_id!r}", hint=_known(paths, trace_id)
        )
    verdict = found[0]
    siblings = _rows(paths.verdicts, "prompt_id", verdict["prompt_id"])
    place = [one["id"] for one in siblings if one["row"] == verdict["row"]].index(trace_id)
    candidate = _candidate(record, verdict, place)
    others = tuple(one for one in siblings if one["id"] != trace_id)
    return Story(verdict, others, Path(record["traces"]), candidate)


def _rows(path: Path, column: str, value: str) -> list[dict[str, Any]]:
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    table = pq.read_table(path, filters=[(column, "=", value)])
    if not table.schema.equals(VERDICTS):
        raise DataError(f"{path}: its columns are not those that the filter writes")
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def _known(paths: RunLayout, trace_id: str) -> str:
    """Ids of the same prompt, or the first ones."""
    prompt = trace_id.rpartition("#")[0] or trace_id
    ids = [row["id"] for row in _rows(paths.verdicts, "prompt_id", prompt)]
    if ids:
        return f"Traces of that prompt: {', '.join(ids)}"
    with pq.ParquetFile(paths.verdicts) as file:
        batch = next(file.iter_batches(batch_size=_NEARBY, columns=["id"]), None)
    first = batch.to_pydict()["id"] if batch is not None else []
    return f"Ids there are such as {', '.join(first)}"


def _candidate(record: dict[str, Any], verdict: dict[str, Any], place: int) -> Candidate | None:
    """The trace's text; nothing if its file is not there any more as it was."""
    prompts = Path(record["prompts"]) if record["prompts"] else None
    with TemporaryDirectory(prefix="distill-explain-") as folder:
        try:
            source = open_source(
                Path(record["traces"]), Path(folder), prompts=prompts, mapping=record["mapping"]
            )
            found = _read(source, verdict)
        except (DataError, BrokenRow):
            return None
    return found[place] if place < len(found) else None


def _read(source: TraceSource, verdict: dict[str, Any]) -> list[Candidate]:
    known = None
    if source.prompts is not None:
        with PromptFile(source.prompts) as prompts:
            known = next((one for one in prompts if one.id == verdict["prompt_id"]), None)
    with source.rows.open("rb") as file:
        line = next((line for number, line in enumerate(file, 1) if number == verdict["row"]), b"")
    row = parse_row(line)
    if source.columns is None:
        return [read_journal_row(row, verdict["row"], known)]
    return read_row(row, source.columns, verdict["row"], known)
