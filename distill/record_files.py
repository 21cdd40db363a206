"""Files of records: one noun per line as JSON, written whole or not at all, read strictly.

For what a stage makes at once, such as kept traces or examples; what grows while a stage runs is a
``distill.journal``.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from distill.errors import DataError
from distill.records import from_record, to_record
from distill.storage import write_atomically

T = TypeVar("T")


def record_line(noun: object) -> bytes:
    """One noun as a line of JSON."""
    text = json.dumps(to_record(noun), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return f"{text}\n".encode("utf-8", "backslashreplace")


def write_records(path: Path, nouns: Iterable[object]) -> None:
    """Write a file of records; after any crash the old file is there or the new one, whole.

    Raises:
        StorageError: If the disk refuses.
    """
    write_atomically(path, map(record_line, nouns))


def read_records(path: Path, kind: type[T]) -> Iterator[T]:
    """The nouns of a file in order, one at a time.

    Args:
        path: A file that ``write_records`` wrote.
        kind: Which noun, such as ``JudgedTrace``.

    Raises:
        DataError: If the file is missing or a line broken; names file and line.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            place = f"{path}:{number}"
            try:
                record = json.loads(line)
            except ValueError as error:
                raise DataError(f"{place}: the line is no JSON: {error}") from None
            yield from_record(kind, record, place)
