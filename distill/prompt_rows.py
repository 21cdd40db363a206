"""Rows of a prompt file as they stand there: JSONL, CSV or Parquet.

No value changes its type or its text on the way: ``"0012"`` stays ``"0012"``. A line that cannot
be read is a row with a problem, so that the reader can name several at once.
"""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from distill.errors import DataError, MissingDependencyError

# CSV cells are 128 KiB at most unless told otherwise, and a prompt may hold a whole document.
_LONGEST_CELL = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        number: Of its line, or of the row where a file has no lines; from 1.
        place: Where it stands, such as ``"math.jsonl:17"``.
        values: By column; empty when there is a problem.
        problem: Why it cannot be read; empty when it can.
    """

    number: int
    place: str
    values: Mapping[str, object] = field(default_factory=dict)
    problem: str = ""


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a file, by the ending of its name.

    Raises:
        DataError: If the file cannot be read at all.
        MissingDependencyError: If it is Parquet and pyarrow is not installed.
    """
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise DataError(
            f"{path}: a prompt file ends in {', '.join(_READERS)}; found '{path.suffix}'"
        )
    try:
        yield from read(path)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or str(error).splitlines()[0]}") from None


def _read_jsonl(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            place = f"{path}:{number}"
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                if text:
                    yield Row(number, place, _parse_object(text))
            except UnicodeDecodeError as error:
                yield Row(number, place, problem=f"byte {error.start + 1} is not UTF-8 text")
            except json.JSONDecodeError as error:
                problem = f"not valid JSON at column {error.colno}: {error.msg}"
                yield Row(number, place, problem=problem)
            except (ValueError, TypeError, RecursionError) as error:
                yield Row(number, place, problem=str(error))


def _parse_object(text: str) -> dict[str, object]:
    value = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    if not isinstance(value, dict):
        raise TypeError(f"a prompt is an object in braces, not {text[:40]}")
    return value


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key '{twice}' stands there twice")
    return found


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not a value")


def _read_csv(path: Path) -> Iterator[Row]:
    csv.field_size_limit(_LONGEST_CELL)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = next(reader, [])
            if len(set(header)) < len(header):
                raise DataError(f"{path}:1: a column is named twice: {', '.join(header)}")
            number = reader.line_num + 1  # a cell may go over several lines
            for cells in reader:
                if cells:
                    yield _csv_row(number, f"{path}:{number}", header, cells)
                number = reader.line_num + 1
        except UnicodeDecodeError as error:
            problem = f"after line {reader.line_num}: not UTF-8 text: {error.reason}"
            raise DataError(f"{path}: {problem}") from None
        except csv.Error as error:
            raise DataError(f"{path}:{reader.line_num}: not valid CSV: {error}") from None


def _csv_row(number: int, place: str, header: list[str], cells: list[str]) -> Row:
    if len(cells) != len(header):
        problem = f"{len(cells)} cells, but the first line names {len(header)} columns"
        return Row(number, place, problem=problem)
    values: dict[str, object] = {
        column: _csv_value(column, cell) for column, cell in zip(header, cells, strict=True)
    }
    return Row(number, place, values)


def _csv_value(column: str, cell: str) -> object:
    """CSV has only text: an empty cell means no value, and a level is a number."""
    if column == "level" and cell.removeprefix("-").isdecimal():
        return int(cell)
    return cell if cell or column == "text" else None


def _read_parquet(path: Path) -> Iterator[Row]:
    try:
        import pyarrow as pa  # type: ignore[import-untyped]
        import pyarrow.parquet as pq  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        raise MissingDependencyError(
            f"{path}: Parquet needs the library pyarrow", hint="pip install pyarrow"
        ) from None
    try:
        number = 0
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                for values in batch.to_pylist():
                    number += 1
                    yield Row(number, f"{path}: row {number}", values)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not valid Parquet: {str(error).splitlines()[0]}") from None


_READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}
