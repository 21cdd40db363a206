"""Rows of a data file as they stand there: JSONL, a JSON array, CSV or Parquet.

No value changes its type or its text on the way: ``"0012"`` stays ``"0012"``. A line that cannot
be read is a row with a problem, so that the reader can name several at once. Rows come one at a
time: memory does not grow with the file.
"""

import csv
import gzip
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from distill.errors import DataError, MissingDependencyError

# CSV cells are 128 KiB at most unless told otherwise, and a prompt may hold a whole document.
_LONGEST_CELL = 2**31 - 1
_BATCH_ROWS = 256
_BUFFER_BYTES = 1 << 20
_READ_CHARACTERS = 1 << 16
_LONGEST_VALUE = 1 << 28  # or a broken array would be read to its end in search of a closing brace
_GZIP = ".gz"


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


def read_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[Row]:
    """The rows of a file, by the ending of its name.

    Args:
        path: ``.jsonl``, ``.json``, ``.csv`` or ``.parquet``; the first two also as ``.gz``.
        columns: Read these alone, where a format can leave out others (Parquet).

    Raises:
        DataError: If the file cannot be read at all.
        MissingDependencyError: If it is Parquet and pyarrow is not installed.
    """
    read = _READERS.get(data_suffix(path))
    if read is None:
        raise DataError(f"{path}: a data file ends in {', '.join(_READERS)}; found '{path.suffix}'")
    try:
        yield from read(path, columns)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except EOFError:
        raise DataError(f"{path}: the file is cut off: gzip's end is missing") from None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or str(error).splitlines()[0]}") from None


def is_data_file(path: Path) -> bool:
    """Whether the name says that ``read_rows`` can read it."""
    return data_suffix(path) in _READERS


def data_suffix(path: Path) -> str:
    """What a file holds by its name.

    Example:
        >>> data_suffix(Path("a/chats.JSONL.gz")), data_suffix(Path("train.parquet"))
        ('.jsonl', '.parquet')
    """
    name = path.name.lower().removesuffix(_GZIP)
    suffix = Path(name).suffix
    is_packed = path.name.lower().endswith(_GZIP)
    return "" if is_packed and suffix not in (".jsonl", ".json") else suffix


def _read_jsonl(path: Path, columns: Sequence[str] | None) -> Iterator[Row]:
    del columns
    with _opened(path) as file:
        for number, line in enumerate(file, start=1):
            place = f"{path}:{number}"
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                if text:
                    yield Row(number, place, _as_object(_parsed(text), text))
            except UnicodeDecodeError as error:
                yield Row(number, place, problem=f"byte {error.start + 1} is not UTF-8 text")
            except json.JSONDecodeError as error:
                problem = f"not valid JSON at column {error.colno}: {error.msg}"
                yield Row(number, place, problem=problem)
            except (ValueError, TypeError, RecursionError) as error:
                yield Row(number, place, problem=str(error))


def _read_json(path: Path, columns: Sequence[str] | None) -> Iterator[Row]:
    """A JSON array of objects; a ``.json`` file that begins otherwise holds JSON lines."""
    with _opened(path) as file:
        start = file.read(_READ_CHARACTERS).removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start.startswith(b"["):
        yield from _read_jsonl(path, columns)
        return
    for number, found in enumerate(_array_items(path), start=1):
        place = f"{path}: row {number}"
        try:
            yield Row(number, place, _as_object(found, str(found)))
        except TypeError as error:
            yield Row(number, place, problem=str(error))


def _array_items(path: Path) -> Iterator[object]:
    """The items of a JSON array, parsed one by one out of a window of text that moves on."""
    with _opened(path) as file:
        window = _Window(file)
        try:
            window.skip("[")
            if window.peek() == "]":
                return
            while True:
                yield window.value()
                if window.peek() == "]":
                    return
                window.skip(",")
        except UnicodeDecodeError:
            raise DataError(f"{path}: after row {window.items}: not UTF-8 text") from None
        except (ValueError, RecursionError) as error:
            what = error.msg if isinstance(error, json.JSONDecodeError) else error
            raise DataError(f"{path}: after row {window.items}: not valid JSON: {what}") from None


class _Window:
    """Text of a file from where the reader stands; what is behind it is let go.

    Attributes:
        items: Values taken so far.
    """

    def __init__(self, file: BinaryIO) -> None:
        import codecs

        self.items = 0
        self._text = codecs.getreader("utf-8-sig")(file)
        self._decoder = json.JSONDecoder(
            object_pairs_hook=_unique_keys, parse_constant=_refuse_constant
        )
        self._window, self._at, self._is_whole = "", 0, False

    def peek(self) -> str:
        """The next character that is not white space; empty at the end."""
        while True:
            while self._at < len(self._window) and self._window[self._at] in " \t\r\n":
                self._at += 1
            if self._at < len(self._window) or not self._grow():
                return self._window[self._at : self._at + 1]

    def skip(self, mark: str) -> None:
        """Take a mark; raises ``ValueError`` if another one stands there."""
        found = self.peek()
        if found != mark:
            shown = f"'{found}'" if found else "the end"
            raise ValueError(f"expected '{mark}', found {shown}")
        self._at += 1

    def value(self) -> object:
        """Take a value; reads on until it is whole."""
        self.peek()
        while True:
            try:
                found, end = self._decoder.raw_decode(self._window, self._at)
            except json.JSONDecodeError:
                if len(self._window) - self._at > _LONGEST_VALUE or not self._grow():
                    raise
                continue
            self._at = end
            self.items += 1
            return cast("object", found)

    def _grow(self) -> bool:
        """Read on, as much again as is held: a long value is parsed a few times, not many."""
        more = self._text.read(max(_READ_CHARACTERS, len(self._window)))
        self._window = self._window[self._at :] + more
        self._at = 0
        return bool(more)


def _opened(path: Path) -> BinaryIO:
    return cast(
        "BinaryIO", gzip.open(path) if path.name.lower().endswith(_GZIP) else path.open("rb")
    )


def _parsed(text: str) -> object:
    return json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_refuse_constant)


def _as_object(value: object, text: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError(f"a row is an object in braces, not {text[:40]}")
    return value


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key '{twice}' stands there twice")
    return found


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not a value")


def _read_csv(path: Path, columns: Sequence[str] | None) -> Iterator[Row]:
    del columns
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


def _read_parquet(path: Path, columns: Sequence[str] | None) -> Iterator[Row]:
    try:
        import pyarrow as pa  # type: ignore[import-untyped]
        import pyarrow.parquet as pq  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        raise MissingDependencyError(
            f"{path}: Parquet needs the library pyarrow", hint="pip install pyarrow"
        ) from None
    try:
        number = 0
        # Page by page: as it comes, pyarrow reads a row group ahead, with a thread for each column.
        with pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False) as file:
            for batch in file.iter_batches(_BATCH_ROWS, columns=columns, use_threads=False):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(number, f"{path}: row {number}", values)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not valid Parquet: {str(error).splitlines()[0]}") from None


_READERS: dict[str, Callable[[Path, Sequence[str] | None], Iterator[Row]]] = {
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}
