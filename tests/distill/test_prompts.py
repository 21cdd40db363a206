"""What the prompt reader takes, and that it names every mistake by file and line."""

import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from distill.errors import DataError, MissingDependencyError
from distill.problems import embedded_prompts
from distill.prompts import read_prompts, write_prompts
from distill.types import Prompt

ROWS = [
    Prompt("a/1", "What is 1 + 1?", "0012", "story", 2),
    Prompt("a/2", 'Zwei, 二\nand a second line, with "quotes"', None, "", 0),
    Prompt("a/3", "When?", "2026-01-01"),
    Prompt("a/4", "True or 1e5?", "1e5"),
]
COLUMNS = ["id", "text", "answer", "kind", "level"]


def write_jsonl(path: Path, *rows: object) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def write_csv(path: Path, rows: Sequence[Sequence[object]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def write_parquet(path: Path, columns: dict[str, list[object]]) -> Path:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    pq.write_table(pa.table(columns), path)
    return path


def mistakes_in(path: Path) -> list[str]:
    with pytest.raises(DataError) as found:
        read_prompts(path)
    header, *lines = str(found.value).splitlines()
    assert header.startswith(f"{path}: ")
    return [line.removeprefix(f"  {path}:").strip() for line in lines]


def test_written_prompts_come_back_as_they_were(tmp_path: Path) -> None:
    for prompts in (ROWS, embedded_prompts("train", count=9, seed=0)):
        write_prompts(tmp_path / "new" / "p.jsonl", prompts)
        assert read_prompts(tmp_path / "new" / "p.jsonl") == prompts


def test_csv_keeps_text_as_it_stands(tmp_path: Path) -> None:
    rows = [[row.id, row.text, row.answer, row.kind, row.level] for row in ROWS]
    assert read_prompts(write_csv(tmp_path / "p.csv", [COLUMNS, *rows])) == ROWS


def test_parquet_keeps_text_as_it_stands(tmp_path: Path) -> None:
    columns = {name: [getattr(row, name) for row in ROWS] for name in COLUMNS}
    assert read_prompts(write_parquet(tmp_path / "p.parquet", columns)) == ROWS


def test_a_prompt_without_id_is_named_after_its_line(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"text": "a"}\n\n{"text": "b", "id": null, "kind": null, "level": null}\r\n')
    assert read_prompts(path) == [Prompt("line-1", "a"), Prompt("line-3", "b")]
    path = write_csv(tmp_path / "p.csv", [["text"], ["a\nb"], ["c"]])
    assert [prompt.id for prompt in read_prompts(path)] == ["line-2", "line-4"]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_a_byte_order_mark_is_read_over(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"p{suffix}"
    path.write_text('{"text": "a"}' if suffix == ".jsonl" else "text\na\n", encoding="utf-8-sig")
    assert [prompt.text for prompt in read_prompts(path)] == ["a"]


@pytest.mark.parametrize(
    ("row", "mistake"),
    [
        ({"id": "x"}, "text is missing"),
        ({"text": None}, "text is missing"),
        ({"text": " \n"}, "text is empty"),
        ({"text": 5}, "text must be text in quotes, not 5"),
        ({"text": "a", "answer": 12}, "answer must be text in quotes, not 12"),
        ({"text": "a", "answer": ""}, "answer is empty; leave it out"),
        ({"text": "a", "id": ""}, "id is empty; leave it out"),
        ({"text": "a", "level": "2"}, "level must be a whole number, at least 0, not '2'"),
        ({"text": "a", "level": True}, "level must be a whole number, at least 0, not True"),
        ({"text": "a", "level": -1}, "level must be a whole number, at least 0, not -1"),
        ({"text": "a\ud800"}, r"text holds \ud800, which is half a character"),
        ({"text": "a", "answer": float("nan")}, "NaN is not a value"),
        (["a"], 'a row is an object in braces, not ["a"]'),
    ],
)
def test_a_wrong_value_is_named_by_line(tmp_path: Path, row: object, mistake: str) -> None:
    path = write_jsonl(tmp_path / "p.jsonl", {"text": "fine"}, row)
    assert mistakes_in(path) == [f"2: {mistake}"]


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        (b'{"text": "a"', "not valid JSON at column 13: Expecting ',' delimiter"),
        (b'{"text": "a", "text": "b"}', "the key 'text' stands there twice"),
        (b'{"text": "\xff"}', "byte 11 is not UTF-8 text"),
        (b"[" * 100_000, "maximum recursion depth exceeded"),
        (b'{"level": ' + b"9" * 5_000 + b"}", "Exceeds the limit (4300"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: bytes, mistake: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(b'{"text": "fine"}\n' + line + b'\n{"text": "fine"}')
    (found,) = mistakes_in(path)
    assert found.startswith(f"2: {mistake}")


@pytest.mark.parametrize(
    ("column", "advice"),
    [
        ("question", "rename it to 'text'"),
        ("Problem", "rename it to 'text'"),
        ("solution", "rename it to 'answer'"),
        ("anwser", "rename it to 'answer'"),
        ("zzz", "take it out"),
    ],
)
def test_an_unknown_column_is_named_once_with_ours(
    tmp_path: Path, column: str, advice: str
) -> None:
    path = write_csv(tmp_path / "p.csv", [[column, "level"], ["a", 1], ["b", 2]])
    known = "id, text, answer, kind, level"
    assert mistakes_in(path) == [f"2: unknown column '{column}': {advice}; known: {known}"]


def test_the_first_five_mistakes_are_named_and_the_rest_counted(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "p.jsonl", *({"text": ""} for _ in range(7)))
    assert mistakes_in(path) == [*(f"{line}: text is empty" for line in range(1, 6)), "and 2 more"]
    with pytest.raises(DataError, match="7 mistakes:"):
        read_prompts(path)


def test_an_id_may_stand_for_one_prompt_only(tmp_path: Path) -> None:
    path = write_jsonl(
        tmp_path / "p.jsonl", {"id": "line-2", "text": "a"}, {"text": "b"}, {"text": "c"}
    )
    assert mistakes_in(path) == [f"2: the id 'line-2' is taken by {path}:1"]


@pytest.mark.parametrize("name", ["p.jsonl", "p.csv", "p.parquet"])
def test_a_set_without_prompts_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith("parquet"):
        write_parquet(path, {"text": []})
    else:
        path.write_text("\n" if name.endswith("jsonl") else "text\n")
    with pytest.raises(DataError, match="there are no prompts"):
        read_prompts(path)


def test_numbers_in_parquet_are_no_text(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "p.parquet", {"text": ["a", "b"], "answer": [12, None]})
    assert mistakes_in(path) == ["row 1: answer must be text in quotes, not 12"]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("p.txt", b"x", "a data file ends in .jsonl, .json, .csv, .parquet; found '.txt'"),
        ("p.parquet", b"PAR1 no", "not valid Parquet"),
        ("p.csv", b'text\n"a', "not valid CSV: unexpected end of data"),
        ("p.csv", b"text\n\xff", "not UTF-8 text"),
        ("p.csv", b"text,text\na,b", "a column is named twice: text, text"),
        ("p.csv", b"text,id\na", "1 cells, but the first line names 2 columns"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(
    tmp_path: Path, name: str, content: bytes, problem: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as found:
        read_prompts(tmp_path / name)
    assert problem in str(found.value)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_prompts(tmp_path / f"none{suffix}")
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(DataError, match="directory"):
        read_prompts(tmp_path / f"folder{suffix}")


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependencyError, match="pip install pyarrow"):
        read_prompts(tmp_path / "p.parquet")


def test_a_prompt_of_a_megabyte_fits_into_a_cell(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "p.csv", [["text"], ["x" * 1_000_000]])
    assert len(read_prompts(path)[0].text) == 1_000_000
