"""Rows come one at a time from JSON lines, JSON arrays and packed files, as they stand there."""

import gzip
import json
import tracemalloc
from pathlib import Path

import pytest

from distill.data_rows import read_rows
from distill.errors import DataError

ROWS = [{"text": f'row {n}, "quoted" [and] {{bracketed}} 二' + "x" * n, "n": n} for n in range(500)]


def test_a_json_array_gives_the_same_rows_as_json_lines(tmp_path: Path) -> None:
    lines, array = tmp_path / "a.jsonl", tmp_path / "a.json"
    lines.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in ROWS))
    array.write_text(json.dumps(ROWS, ensure_ascii=False, indent=1))
    assert [row.values for row in read_rows(array)] == ROWS
    assert [row.values for row in read_rows(lines)] == ROWS
    assert [row.place for row in read_rows(array)][-1] == f"{array}: row 500"


def test_a_json_file_may_hold_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    assert [row.values for row in read_rows(path)] == ROWS


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.json.gz"])
def test_a_packed_file_is_read_as_it_is(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with gzip.open(path, "wt") as file:
        file.write("".join(f"{json.dumps(row)}\n" for row in ROWS))
    assert [row.values for row in read_rows(path)] == ROWS
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="cut off"):
        list(read_rows(path))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[{"a": 1}, {"a": 2}', r"after row 2: not valid JSON: expected ',', found the end"),
        ('[{"a": 1} {"a": 2}]', r"after row 1: not valid JSON: expected ',', found '\{'"),
        ('[{"a": 1, "a": 2}]', "after row 0: not valid JSON: the key 'a' stands there twice"),
        ('[{"a": NaN}]', "NaN is not a value"),
        ('[{"a": "un', "Unterminated string"),
    ],
)
def test_a_broken_array_is_named_with_the_row_before(
    tmp_path: Path, text: str, problem: str
) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(DataError, match=problem):
        list(read_rows(path))


def test_an_item_that_is_no_object_is_a_row_with_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('[{"a": 1}, 5]')
    assert [row.problem for row in read_rows(path)] == [
        "",
        "a row is an object in braces, not 5",
    ]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    row = json.dumps({"text": "word " * 2_000})
    with path.open("w") as file:  # 20 MB
        file.write("[" if name == "a.json" else "")
        file.write(("," if name == "a.json" else "\n").join([row] * 2_000))
        file.write("]" if name == "a.json" else "")
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_rows(path)) == 2_000
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
