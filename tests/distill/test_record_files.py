"""A file of records comes back as it was, and a broken line is named."""

from pathlib import Path

import pytest

from distill.errors import DataError
from distill.record_files import read_records, write_records
from distill.types import Example, Message, Usage

EXAMPLES = [
    Example("a", (Message("user", "é \n \ud800"), Message("assistant", "x", None, True))),
    Example("b", (), 0.5),
]


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "x.jsonl"
    write_records(path, EXAMPLES)
    assert list(read_records(path, Example)) == EXAMPLES
    assert len(path.read_bytes().splitlines()) == 2
    write_records(path, [])
    assert list(read_records(path, Example)) == []


def test_a_file_is_left_as_it_was_when_its_making_fails(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    write_records(path, EXAMPLES)
    with pytest.raises(ZeroDivisionError):
        write_records(path, (Usage(1 // number) for number in (1, 0)))
    assert list(read_records(path, Example)) == EXAMPLES


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "x.jsonl:3: the line is no JSON"),
        (b"\xff", "x.jsonl:3: the line is no JSON"),
        (b"[]", "x.jsonl:3: the record must be an object"),
        (b"{}", "x.jsonl:3: field id is missing"),
    ],
)
def test_a_broken_line_is_named(line: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    write_records(path, EXAMPLES)
    with path.open("ab") as file:
        file.write(line)
    with pytest.raises(DataError) as caught:
        list(read_records(path, Example))
    assert message in caught.value.problem


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.jsonl: there is no such file"):
        list(read_records(tmp_path / "x.jsonl", Example))
