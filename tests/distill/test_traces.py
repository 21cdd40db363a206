"""Stored traces come back in order, and a broken one is named with its line."""

from pathlib import Path

import pytest

from distill.errors import DataError
from distill.journal import Journal
from distill.records import Record
from distill.traces import read_traces, trace_line
from distill.types import Completion, JudgedTrace, Prompt, Trace, Verdict

PROMPTS = [Prompt("b", "?"), Prompt("a", "?")]


def _judged(prompt_id: str, sample_index: int, text: str = "") -> JudgedTrace:
    trace = Trace(prompt_id, sample_index, "m", Completion(text or f"{prompt_id}{sample_index} é"))
    return JudgedTrace(trace, Verdict(True, "", "answer/1"))


def _write(path: Path, records: list[Record]) -> Path:
    with Journal.open(path) as journal:
        journal.append({"kind": "header"})
        for record in records:
            journal.append(record)
    return path


def test_traces_come_by_rank_of_their_prompt_and_then_by_sample(tmp_path: Path) -> None:
    arrived = [_judged("a", 1), _judged("b", 10), _judged("a", 0), _judged("b", 9)]
    path = _write(tmp_path / "t.jsonl", [trace_line(judged) for judged in arrived])
    read = list(read_traces(path, PROMPTS))
    assert read == [_judged("b", 9), _judged("b", 10), _judged("a", 0), _judged("a", 1)]


def test_of_two_records_about_one_sample_the_later_counts(tmp_path: Path) -> None:
    arrived = [_judged("a", 0, "first"), _judged("a", 0, "second")]
    path = _write(tmp_path / "t.jsonl", [trace_line(judged) for judged in arrived])
    assert [j.trace.completion.text for j in read_traces(path, PROMPTS)] == ["second"]


def test_a_torn_last_record_is_passed_over(tmp_path: Path) -> None:
    path = _write(tmp_path / "t.jsonl", [trace_line(_judged("a", 0))])
    with path.open("ab") as file:
        file.write(b'{"kind":"trace","tra')
    assert list(read_traces(path, PROMPTS)) == [_judged("a", 0)]


def test_a_trace_of_no_prompt_is_refused_with_its_line(tmp_path: Path) -> None:
    path = _write(tmp_path / "t.jsonl", [trace_line(_judged("c", 0))])
    with pytest.raises(DataError, match=r"t\.jsonl:2: trace c#0 belongs to no prompt"):
        list(read_traces(path, PROMPTS))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"kind": "note"}, "t.jsonl:3: the record is no trace but 'note'"),
        ({}, "t.jsonl:3: the record is no trace but None"),
        ({"kind": "trace"}, "t.jsonl:3: field trace is missing"),
    ],
)
def test_a_record_that_is_no_trace_is_refused_with_its_line(
    record: Record, message: str, tmp_path: Path
) -> None:
    path = _write(tmp_path / "t.jsonl", [trace_line(_judged("a", 0)), record])
    with pytest.raises(DataError) as caught:
        list(read_traces(path, PROMPTS))
    assert message in caught.value.problem


def test_an_empty_journal_has_no_traces(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "t.jsonl"):
        pass
    assert list(read_traces(tmp_path / "t.jsonl", PROMPTS)) == []
