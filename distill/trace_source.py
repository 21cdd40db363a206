"""``TraceSource``: one file of traces and the prompts it is about, ready to be read by place.

A Parquet file is written out as JSONL into the work folder first, and prompts as one JSONL, so
that rows can be read one by one wherever they stand.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import orjson

from distill.errors import DataError
from distill.prompts import stream_prompts, write_prompts
from distill.storage import make_folder, storage_errors
from distill.trace_columns import Columns, choose_columns, with_optional
from distill.trace_files import BrokenRow, Row, parse_row

_LOOKED_AT = 20
_BATCH_ROWS = 256


@dataclass(frozen=True, slots=True)
class TraceSource:
    """Where the candidates of the filter come from.

    Attributes:
        path: What the user named.
        rows: JSONL of its rows; the same file, unless that is Parquet.
        columns: Which column is what; ``None`` for a journal of our own.
        prompts: JSONL of the prompts; ``None`` if the rows hold them.
        notes: For the user.
    """

    path: Path
    rows: Path
    columns: Columns | None
    prompts: Path | None
    notes: tuple[str, ...] = ()

    @property
    def first_row(self) -> int:
        """How many lines stand before the first row."""
        return 1 if self.columns is None and _is_header(self.rows) else 0


def open_source(
    path: Path, work: Path, *, prompts: Path | None = None, mapping: Mapping[str, str] | None = None
) -> TraceSource:
    """Find out what a file holds, and make it readable row by row.

    Args:
        path: JSONL or Parquet; a journal of ours is recognised.
        work: Folder for what has to be written for that.
        prompts: The prompts, if they stand in a file of their own.
        mapping: Column by field, see ``distill.trace_columns``.

    Raises:
        DataError: If the file cannot be read, is empty, or its columns are not known.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    if path.suffix.lower() == ".parquet":
        names = _parquet_columns(path)
        columns = choose_columns(path, names, mapping or {}, has_prompts=prompts is not None)
        rows = work / "rows.jsonl"
        _spool_parquet(path, rows, list(dict.fromkeys(columns.of_field.values())))
        return TraceSource(path, rows, columns, _spool_prompts(prompts, work), columns.notes)
    first = _first_rows(path)
    if _is_ours(first):
        if prompts is None:
            prompts = path.parent / "prompts" / "train.jsonl"
            if not prompts.is_file():
                raise DataError(
                    f"{path}: this is a journal of traces, and its prompts are not beside it",
                    hint="Name their file: --prompts FILE",
                )
        return TraceSource(path, path, None, _spool_prompts(prompts, work))
    names = list(dict.fromkeys(name for row in first for name in row))
    columns = choose_columns(path, names, mapping or {}, has_prompts=prompts is not None)
    columns = with_optional(columns)
    return TraceSource(path, path, columns, _spool_prompts(prompts, work), columns.notes)


def _spool_prompts(prompts: Path | None, work: Path) -> Path | None:
    if prompts is None:
        return None
    spooled = work / "prompts.jsonl"
    write_prompts(spooled, stream_prompts(prompts))
    return spooled


def _first_rows(path: Path) -> list[Row]:
    """The first rows that can be read: the columns of a file that names none."""
    try:
        with path.open("rb") as file:
            found = list(islice(_readable(file), _LOOKED_AT))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    if not found:
        what = "it is empty" if path.stat().st_size == 0 else "none of its lines is a JSON object"
        raise DataError(f"{path}: there are no traces in it: {what}")
    return found


def _readable(lines: Iterable[bytes]) -> Iterator[Row]:
    for line in lines:
        if line.strip():
            try:
                yield parse_row(line)
            except BrokenRow:
                continue


def _is_header(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            return parse_row(file.readline()).get("kind") == "header"
        except BrokenRow:
            return False


def _is_ours(rows: list[Row]) -> bool:
    return rows[0].get("kind") == "header" or {"trace", "verdict"} <= rows[0].keys()


def _parquet_columns(path: Path) -> list[str]:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    try:
        with pq.ParquetFile(path) as file:
            if file.metadata.num_rows == 0:
                raise DataError(f"{path}: there are no traces in it: it has no rows")
            return list(file.schema_arrow.names)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not valid Parquet: {str(error).splitlines()[0]}") from None


def _spool_parquet(path: Path, rows: Path, columns: list[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    make_folder(rows.parent)
    draft = rows.with_suffix(".draft")
    with storage_errors(rows):
        try:
            with pq.ParquetFile(path) as file, draft.open("wb") as written:
                for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
                    for row in batch.to_pylist():
                        written.write(orjson.dumps(row, default=str) + b"\n")
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise DataError(f"{path}: not valid Parquet: {str(error).splitlines()[0]}") from None
        draft.replace(rows)
