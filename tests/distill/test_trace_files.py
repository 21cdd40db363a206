"""Trace files from anywhere: what is read, what is refused, where, and what goes on."""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.errors import DataError, RecipeError, StageError
from distill.journal import Journal
from distill.layout import RunLayout
from distill.prompts import write_prompts
from distill.trace_columns import FIELDS, Columns, choose_columns, read_mapping
from distill.trace_files import BrokenRow, parse_row, read_row, row_key
from distill.traces import trace_line
from distill.types import Completion, JudgedTrace, Prompt, Trace, Verdict
from tests.distill.filtering import check, fates, row, run_filter, trained, verdicts

GOOD = row(0, 0)


def _lines(path: Path, lines: Sequence[bytes]) -> Path:
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def _broken(folder: Path) -> list[dict[str, Any]]:
    text = RunLayout(folder / "out").broken.read_text()
    return [json.loads(line) for line in text.splitlines()]


BAD_LINES = [
    (b'{"prompt_id": "p1", "prom', "not valid JSON at column"),
    (b"[1, 2]", "a row is an object in braces, not [1, 2]"),
    (b'{"prompt_id": "p1", "prompt": "?", "text": NaN}', "NaN is not a value"),
    (b'{"prompt_id": "p1", "prompt": "?", "text": "\\ud83d"}', "half a character"),
    (b'{"prompt_id": "p1", "prompt": "?", "text": "\xff"}', "is not UTF-8 text"),
    (b'{"prompt_id": "p1", "prompt": "?", "text": 3}', "text must be text, not 3"),
    (b'{"prompt_id": "p1", "prompt": "?", "text": null}', "text is missing"),
    (b'{"prompt_id": "p1", "text": "3"}', "prompt is missing"),
    (b'{"prompt_id": "p1", "prompt": " ", "text": "3"}', "prompt is empty"),
    (b'{"prompt_id": "p1", "prompt": "?", "text": "3", "answer": 0.1}', "answer must be text"),
    (b'{"prompt_id": "p1", "prompt": "?", "text": "3", "finish": "maybe"}', "finish must be"),
    (b'{"prompt_id": "p1", "prompt": "?", "text": "3", "tokens": -1}', "tokens must be a whole"),
    (b'{"prompt_id": "p0", "prompt": "another", "text": "3"}', "prompt p0 has another text"),
]


@pytest.mark.parametrize(("line", "problem"), BAD_LINES)
def test_a_broken_row_is_counted_and_located_and_the_others_are_judged(
    tmp_path: Path, line: bytes, problem: str
) -> None:
    extra = {"answer": "1", "finish": "stop", "tokens": 9}
    path = _lines(tmp_path / "x.jsonl", [json.dumps(GOOD | extra).encode(), b"", line])
    report = run_filter(tmp_path, path, max_broken_share=0.5)
    assert (report.traces, report.kept, report.broken) == (1, 1, 1)
    (found,) = _broken(tmp_path)
    assert found["row"] == 3
    assert problem in found["problem"]


def test_too_many_broken_rows_stop_the_stage_with_their_places(tmp_path: Path) -> None:
    lines = [json.dumps(row(index, 0)).encode() for index in range(20)]
    path = _lines(tmp_path / "x.jsonl", [*lines, b"{", b"{"])
    with pytest.raises(DataError) as caught:
        run_filter(tmp_path, path, max_broken_share=0.05)
    assert "2 of 22 rows cannot be used, more than 5.00%:" in caught.value.problem
    assert f"\n  {path}:21: not valid JSON" in caught.value.problem
    assert "broken.jsonl" in caught.value.hint
    assert len(_broken(tmp_path)) == 2
    assert run_filter(tmp_path, path, max_broken_share=0.1).kept == 20


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"", "it is empty"), (b"\n\n{\n", "none of its lines is a JSON object")],
)
def test_a_file_without_rows_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"there are no traces in it: {problem}"):
        run_filter(tmp_path, path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        run_filter(tmp_path, tmp_path / "x.jsonl")


def test_missing_gold_is_unknown_and_never_right(tmp_path: Path) -> None:
    rows = [row(0, index) | {"answer": None} for index in range(2)]
    report = run_filter(tmp_path, rows, correct="prefer")
    assert (report.unknown, report.right, report.kept) == (2, 0, 2)
    assert verdicts(tmp_path)[0]["verdict"]["is_accepted"] is None
    with pytest.raises(StageError, match=r"could not judge 2 of 2 traces, more than 50%"):
        run_filter(tmp_path, rows, max_unknown_share=0.5)
    with pytest.raises(StageError, match="found fault with 2 of 2"):
        run_filter(tmp_path, rows, correct="only")


def test_an_unknown_verifier_is_named_before_the_file_is_read(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="did you mean 'answer'"):
        run_filter(tmp_path, tmp_path / "nowhere.jsonl", kind="anwser")


def test_a_verifier_that_raises_or_hangs_makes_a_verdict_unknown(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import time\n"
        "def judge(prompt, completion):\n"
        "    if '0x1x' in completion.reasoning: raise KeyError('no')\n"
        "    if '0x2x' in completion.reasoning: time.sleep(60)\n"
        "    return True\n"
    )
    options = {"function": f"{tmp_path}/mine.py:judge", "seconds": 0.5}
    rows = [row(0, index) for index in range(4)]
    report = run_filter(tmp_path, rows, kind="custom", options=options, correct="label")
    found = [one["verdict"] for one in verdicts(tmp_path)]
    assert [one["is_accepted"] for one in found] == [True, None, None, True]
    assert "raised KeyError" in found[1]["reason"]
    assert "was stopped" in found[2]["reason"]
    assert (report.unknown, report.kept) == (2, 4)
    with pytest.raises(StageError, match="could not judge 2 of 4"):
        run_filter(tmp_path, rows, kind="custom", options=options, max_unknown_share=0.25)


def test_gold_answers_stay_what_they_are(tmp_path: Path) -> None:
    rows = [row(0, 0, "0012") | {"answer": "0012"}, row(1, 0, "7") | {"answer": 7}]
    assert run_filter(tmp_path, rows, kind="exact").right == 2


def test_other_columns_are_named_with_the_mapping_that_would_do() -> None:
    columns = ["problem", "expected_answer", "deepseek_reasoning", "response", "uuid"]
    with pytest.raises(DataError) as caught:
        choose_columns(Path("x.parquet"), columns, {}, has_prompts=False)
    assert "no column holds the prompt or the completion; found: problem," in caught.value.problem
    assert caught.value.hint == (
        "Say which is which: --map prompt=problem --map completion=response"
        " --map answer=expected_answer --map reasoning=deepseek_reasoning"
    )


def test_a_column_that_may_be_useful_is_pointed_out() -> None:
    columns = choose_columns(Path("x"), ["prompt", "completion", "gold"], {}, has_prompts=False)
    assert columns.notes == ("column 'gold' may hold the answer; if so: --map answer=gold",)


def test_a_field_that_comes_late_is_read_as_well(tmp_path: Path) -> None:
    rows = [row(index, 0) for index in range(30)] + [row(31, 0, finish="length")]
    run_filter(tmp_path, rows)
    assert fates(tmp_path)["p31#0"] == "finished"


def test_a_mapping_must_name_a_field_and_a_column() -> None:
    with pytest.raises(DataError, match="--map quest=x: write FIELD=COLUMN; fields: prompt_id"):
        read_mapping(["quest=x"])
    with pytest.raises(DataError, match="--map prompt=ask: there is no such column; found: text"):
        choose_columns(Path("x"), ["text"], {"prompt": "ask"}, has_prompts=False)


def test_parquet_with_other_columns_is_read_by_a_mapping(tmp_path: Path) -> None:
    table = pa.table(
        {
            "problem": ["1 + 1 ?", "2 + 2 ?"],
            "gold": ["2", "4"],
            "generations": [[r"<think>a b</think>\boxed{2}", r"<think>c d</think>\boxed{3}"]] * 2,
            "finish_reasons": [["stop", "length"], ["stop", "stop"]],
            "unused": [1, 2],
        }
    )
    pq.write_table(table, tmp_path / "x.parquet")
    mapping = {
        "prompt": "problem",
        "answer": "gold",
        "completion": "generations",
        "finish": "finish_reasons",
    }
    report = run_filter(tmp_path, tmp_path / "x.parquet", mapping=mapping)
    assert (report.traces, report.prompts, report.right) == (4, 2, 1)
    assert [one["row"] for one in verdicts(tmp_path)] == [1, 1, 2, 2]
    assert trained(tmp_path)[0]["messages"][1]["reasoning_content"] == "a b"


def test_a_file_that_is_no_parquet_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match="not valid Parquet"):
        run_filter(tmp_path, tmp_path / "x.parquet")


@pytest.mark.parametrize(
    "messages",
    [
        [
            {"role": "system", "content": "Think."},
            {"role": "user", "content": "1 + 0 ?"},
            {"role": "assistant", "content": r"\boxed{1}", "reasoning_content": "one"},
        ],
        [
            {"from": "human", "value": "1 + 0 ?"},
            {"from": "gpt", "value": "<think>one</think>\n\\boxed{1}"},
        ],
    ],
)
def test_conversations_are_read(tmp_path: Path, messages: list[dict[str, str]]) -> None:
    assert run_filter(tmp_path, [{"messages": messages, "answer": "1"}]).right == 1
    user, assistant = trained(tmp_path)[0]["messages"]
    assert user["content"] == "1 + 0 ?"
    assert (assistant["content"], assistant["reasoning_content"]) == (r"\boxed{1}", "one")


def test_a_conversation_of_several_questions_is_no_trace() -> None:
    columns = Columns({"messages": "messages"})
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    with pytest.raises(BrokenRow, match="one question and one answer, not 2 and 2"):
        read_row({"messages": turns * 2}, columns, 1, None)


def test_traces_of_a_prompt_need_not_stand_together(tmp_path: Path) -> None:
    rows = [row(prompt, sample) for sample in range(3) for prompt in range(5)]
    run_filter(tmp_path, rows, per_prompt=2, by="first")
    assert list(fates(tmp_path)) == [f"p{p}#{s}" for p in range(5) for s in range(3)]
    assert run_filter(tmp_path, rows).prompts == 5


def test_prompts_without_an_id_are_told_apart_by_their_text(tmp_path: Path) -> None:
    rows = [
        {k: v for k, v in row(p, s).items() if k != "prompt_id"} for p in (0, 1) for s in (0, 1)
    ]
    assert run_filter(tmp_path, rows).prompts == 2


def _journal(folder: Path) -> Path:
    path = folder / "traces.jsonl"
    with Journal.open(path) as journal:
        journal.append({"kind": "header", "sampling": {}})
        for sample, answer in ((1, "1"), (0, "3"), (0, "1")):  # the first sample was asked again
            completion = Completion(rf"\boxed{{{answer}}}", f"w{sample} so {answer}")
            trace = Trace("p", sample, "teacher", completion)
            journal.append(trace_line(JudgedTrace(trace, Verdict(None, "", "none"))))
    return path


def test_a_journal_needs_its_prompts(tmp_path: Path) -> None:
    path = _journal(tmp_path)
    with pytest.raises(DataError, match="its prompts are not beside it") as caught:
        run_filter(tmp_path, path)
    assert "--prompts FILE" in caught.value.hint
    write_prompts(tmp_path / "prompts" / "train.jsonl", [Prompt("p", "?", "1")])
    report = run_filter(tmp_path, path)
    assert (report.traces, report.right, report.judged) == (2, 2, 2)
    assert [one["row"] for one in verdicts(tmp_path)] == [4, 2]


def test_a_broken_journal_is_refused(tmp_path: Path) -> None:
    path = _journal(tmp_path)
    write_prompts(tmp_path / "prompts" / "train.jsonl", [Prompt("p", "?", "1")])
    path.write_bytes(path.read_bytes().replace(b"w1", b"w2", 1))
    with pytest.raises(DataError, match=r"traces.jsonl:2: the record is broken"):
        run_filter(tmp_path, path)


def test_a_trace_of_a_prompt_that_is_not_in_the_set_is_a_broken_row(tmp_path: Path) -> None:
    write_prompts(tmp_path / "set.jsonl", [Prompt("p0", "What is 1?", "1")])
    rows = [row(0, 0), row(1, 0)]
    report = run_filter(tmp_path, rows, prompts=tmp_path / "set.jsonl", max_broken_share=0.5)
    assert (report.traces, report.broken) == (1, 1)
    assert _broken(tmp_path) == [{"row": 2, "problem": "its prompt is not in the prompt set"}]
    assert trained(tmp_path)[0]["messages"][0]["content"] == "What is 1?"


def test_divergence_is_computed_from_what_both_found_likely(tmp_path: Path) -> None:
    rows = [
        row(0, 0, teacher_logprobs=[-0.1, -0.2], student_logprobs=[-0.1, -0.2]),
        row(0, 1, teacher_logprobs=[0.0, 0.0], student_logprobs=[-3.0, -2.0]),
        row(0, 2, teacher_logprobs=[-4.0, -4.0], student_logprobs=[0.0, 0.0]),
    ]
    run_filter(tmp_path, rows, by="divergent", per_prompt=1)
    assert fates(tmp_path) == {"p0#0": "limit", "p0#1": None, "p0#2": "limit"}
    assert "diverge more" in check(tmp_path, "p0#0", "limit")["reason"]
    with pytest.raises(DataError, match="no such columns"):
        run_filter(tmp_path, [row(0, 0)], by="divergent")
    with pytest.raises(DataError, match="trace p0#1 has none"):
        run_filter(tmp_path, [rows[0], row(0, 1)], by="divergent")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
ANY_ROW = st.dictionaries(st.sampled_from([*FIELDS, "other"]), JSON, max_size=8)
ALL_COLUMNS = [
    Columns({name: name for name in FIELDS if name != "completion"}),
    Columns({name: name for name in FIELDS}),
    Columns({"messages": "messages", "answer": "answer"}),
]


@settings(max_examples=300, deadline=None)
@given(ANY_ROW, st.sampled_from(ALL_COLUMNS))
def test_any_row_is_read_or_refused_in_words(found: dict[str, Any], columns: Columns) -> None:
    with suppress(BrokenRow):  # anything else is a bug
        key = row_key(found, columns)
        candidates = read_row(found, columns, 1, None)
        assert candidates
        assert {one.prompt.id for one in candidates} == {key}
        assert all(isinstance(one.trace.completion.text, str) for one in candidates)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda one: one.encode("utf-8", "ignore")))
def test_any_line_is_an_object_or_refused_in_words(line: bytes) -> None:
    with suppress(BrokenRow):
        assert isinstance(parse_row(line), dict)
