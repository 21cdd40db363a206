"""Every trace is kept or dropped with its reasons, and the funnel adds up."""

import json
import shutil
from collections import Counter
from pathlib import Path
from unittest import mock

import pyarrow.parquet as pq
import pytest

from distill import filter_index, filter_shard
from distill.errors import DataError, StageError
from distill.filter import read_record
from distill.filter_tables import TRAIN, VERDICTS, read_examples
from distill.journal import Journal
from distill.layout import RunLayout
from distill.prompts import write_prompts
from distill.traces import trace_line
from distill.types import Completion, JudgedTrace, Prompt, Trace, Verdict
from distill.verify import build_verifier
from tests.distill.filtering import (
    Row,
    check,
    fates,
    reasoning,
    row,
    run_filter,
    trained,
    verdicts,
    write_rows,
)

ROWS = [
    row(0, 0),
    row(0, 1, finish="length"),
    row(0, 2, "2"),
    row(0, 0),
    row(1, 0, "2", reasoning=""),
    row(1, 1, "2"),
    row(2, 0),
    row(2, 1),
    row(2, 2),
]
FATES = {
    "p0#0": None,
    "p0#1": "finished",
    "p0#2": "correct",
    "p0#3": "duplicate",
    "p1#0": "finished",
    "p1#1": "correct",
    "p2#0": None,
    "p2#1": None,
    "p2#2": "limit",
}


def test_every_trace_is_kept_or_has_its_first_failing_rule(tmp_path: Path) -> None:
    run_filter(tmp_path, ROWS, correct="only", per_prompt=2, by="first")
    assert fates(tmp_path) == FATES
    kept = [name for name, rule in FATES.items() if rule is None]
    assert [one["id"] for one in trained(tmp_path)] == kept
    assert check(tmp_path, "p0#1", "finished")["reason"] == "cut at the token limit"
    assert check(tmp_path, "p0#2", "correct")["reason"] == "boxed 2, gold 1"
    assert check(tmp_path, "p0#3", "duplicate")["reason"] == "100 % the same as p0#0"


def test_the_funnel_counts_traces_prompts_and_tokens_after_each_rule(tmp_path: Path) -> None:
    report = run_filter(tmp_path, ROWS, correct="only", per_prompt=2)
    steps = {s.rule: (s.dropped, s.traces_left, s.prompts_left) for s in report.funnel}
    assert {rule: step for rule, step in steps.items() if step[0]} == {
        "finished": (2, 7, 3),
        "correct": (2, 5, 2),
        "duplicate": (1, 4, 2),
        "limit": (1, 3, 2),
    }
    assert (report.traces, report.prompts, report.kept, report.kept_prompts) == (9, 3, 3, 2)
    rows = verdicts(tmp_path)
    assert Counter(one["first_failed"] for one in rows if one["first_failed"]) == {
        s.rule: s.dropped for s in report.funnel if s.dropped
    }
    assert report.kept_tokens == sum(one["tokens"] for one in rows if one["selected"])
    assert report.funnel[-1].tokens_left == report.kept_tokens


def test_all_faults_of_a_trace_are_known_and_only_sole_ones_are_exclusive(tmp_path: Path) -> None:
    rows = [row(0, 0), row(0, 1, "2"), row(0, 2, "2", finish="length")]
    report = run_filter(tmp_path, rows, correct="only")
    by_id = {one["id"]: one for one in verdicts(tmp_path)}
    assert by_id["p0#2"]["first_failed"] == "finished"
    assert by_id["p0#2"]["also_failed"] == ["correct"]
    exclusive = {s.rule: s.exclusive for s in report.funnel if s.dropped}
    assert exclusive == {"finished": 0, "correct": 1}


def test_prefer_keeps_wrong_traces_of_prompts_without_a_right_one(tmp_path: Path) -> None:
    run_filter(tmp_path, ROWS[:6], wrong_weight=0.25)
    assert fates(tmp_path)["p1#1"] is None
    assert fates(tmp_path)["p0#2"] == "correct"
    (wrong,) = [one for one in trained(tmp_path) if one["id"] == "p1#1"]
    assert (wrong["weight"], wrong["is_correct"], wrong["pass_rate"]) == (0.25, False, 0.0)


def test_label_keeps_all_and_says_what_is_wrong(tmp_path: Path) -> None:
    run_filter(tmp_path, ROWS[:3], correct="label")
    assert fates(tmp_path) == {"p0#0": None, "p0#1": "finished", "p0#2": None}
    assert check(tmp_path, "p0#2", "correct")["value_text"] == "wrong"


def test_a_rule_can_be_a_label_or_off(tmp_path: Path) -> None:
    rows = [row(0, 0), row(0, 1, text="The answer is 1.")]
    run_filter(tmp_path, rows)
    assert fates(tmp_path)["p0#1"] == "boxed"
    run_filter(tmp_path, rows, label_only=("boxed",))
    assert fates(tmp_path)["p0#1"] is None
    assert check(tmp_path, "p0#1", "boxed")["reason"] == "no box in the answer"
    run_filter(tmp_path, rows, off=("boxed",))
    names = [one["name"] for one in verdicts(tmp_path)[1]["checks"]]
    assert "boxed" not in names
    assert "finished" in names


def test_each_rule_of_the_table_can_drop_a_trace(tmp_path: Path) -> None:
    german = "Das ist aber nicht richtig, also rechnen wir noch einmal nach. " * 3
    loop = "now we look at all of the numbers that are left and take the smallest of them away "
    benchmark = write_rows(
        tmp_path / "bench.jsonl",
        [{"text": "How many red hats does Tom have after the sale today?"}],
    )
    own = [row(0, index) for index in range(7)]
    own[1]["reasoning"] += german
    own[2]["reasoning"] = "one two three four " * 40
    own[3]["reasoning"] += " ".join(map(reasoning, range(90, 98), range(8))) + loop * 12
    own[4]["reasoning"] = "We count what lies on both tables. So the answer is 7."
    own[5]["text"] += "\n```python\nfor x in\n```"
    own[6]["reasoning"] = f"{own[0]['reasoning']} Yes"
    held = row(9, 0) | {"prompt": "How many red hats does Tom have after the sale today?"}
    run_filter(tmp_path, [*own, held], benchmarks=(benchmark,), max_dropped_share=1.0)
    assert fates(tmp_path) == {
        "p0#0": None,
        "p0#1": "language",
        "p0#2": "repetition",
        "p0#3": "loop",
        "p0#4": "agreement",
        "p0#5": "code_syntax",
        "p0#6": "near_duplicate",
        "p9#0": "contamination",
    }
    assert "line-1 of bench.jsonl" in check(tmp_path, "p9#0", "contamination")["reason"]


def test_length_is_counted_in_the_students_tokens(tmp_path: Path, repository: Path) -> None:
    tokenizer = repository / "students" / "embedded" / "tokenizer.json"
    run_filter(
        tmp_path,
        [row(0, 0), row(0, 1, reasoning="1 + 0 = 1")],
        tokenizer=tokenizer,
        max_reasoning_tokens=20,
    )
    assert fates(tmp_path) == {"p0#0": "length", "p0#1": None}
    assert check(tmp_path, "p0#1", "length")["value"] == 5


def test_conversations_have_reasoning_in_a_field_of_their_own(tmp_path: Path) -> None:
    run_filter(tmp_path, ROWS[:1])
    (one,) = trained(tmp_path)
    assert one["messages"] == [
        {"role": "user", "content": ROWS[0]["prompt"], "reasoning_content": None},
        {
            "role": "assistant",
            "content": ROWS[0]["text"],
            "reasoning_content": ROWS[0]["reasoning"],
        },
    ]
    (example,) = read_examples(RunLayout(tmp_path / "out").train)
    assert [turn.is_trained for turn in example.messages] == [False, True]
    assert example.messages[1].reasoning == ROWS[0]["reasoning"]


def test_both_files_have_the_schema_that_is_written_down(tmp_path: Path) -> None:
    run_filter(tmp_path, ROWS)
    paths = RunLayout(tmp_path / "out")
    assert pq.read_schema(paths.verdicts).equals(VERDICTS)
    assert pq.read_schema(paths.train).equals(TRAIN)


def test_datasets_loads_what_is_trained_on(tmp_path: Path) -> None:
    from datasets import load_dataset

    run_filter(tmp_path, ROWS)
    loaded = load_dataset(
        "parquet",
        data_files=str(RunLayout(tmp_path / "out").train),
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    assert loaded[0]["messages"][1]["reasoning_content"] == ROWS[0]["reasoning"]


def test_a_filter_that_keeps_nothing_stops_with_its_funnel(tmp_path: Path) -> None:
    wrong = [row(prompt, 0, "2") for prompt in range(3)]
    with pytest.raises(StageError) as caught:
        run_filter(tmp_path, wrong, correct="only", max_dropped_share=1.0)
    assert "kept none of 3 traces" in caught.value.problem
    assert "such as p0#0: boxed 2, gold 1" in caught.value.problem
    assert len(verdicts(tmp_path)) == 3  # to be looked at


def test_a_filter_that_finds_too_many_faults_stops(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="found fault with 5 of 9 traces, more than 50%"):
        run_filter(tmp_path, ROWS, correct="only", max_dropped_share=0.5)
    assert run_filter(tmp_path, ROWS, correct="only", max_dropped_share=0.6).kept == 4


def test_a_broken_rule_stops_the_run_before_all_is_judged(tmp_path: Path) -> None:
    wrong = [row(prompt, 0, "2") for prompt in range(60)]
    with (
        mock.patch.object(filter_index, "SHARD_ROWS", 10),
        mock.patch("distill.filter._EARLY_TRACES", 20),
        pytest.raises(StageError, match="20 of 20 traces, more than 60% so far, of 60 rows"),
    ):
        run_filter(tmp_path, wrong, correct="only", max_dropped_share=0.6)
    assert len(verdicts(tmp_path)) == 20


def test_choosing_few_of_many_good_traces_is_no_fault(tmp_path: Path) -> None:
    good = [row(0, index) for index in range(50)]
    assert run_filter(tmp_path, good, per_prompt=1, max_dropped_share=0.0).kept == 1


def test_any_number_of_workers_writes_the_same_bytes(tmp_path: Path) -> None:
    rows = [row(prompt, sample, "12"[sample % 2]) for prompt in range(20) for sample in range(4)]
    with mock.patch.object(filter_index, "SHARD_ROWS", 16):
        for workers in (1, 2):
            run_filter(tmp_path / str(workers), rows, workers=workers, by="random", per_prompt=1)
    for name in ("traces.verdicts.parquet", "train.parquet"):
        one, two = ((tmp_path / str(workers) / "out" / name).read_bytes() for workers in (1, 2))
        assert one == two


def _judged_shards(folder: Path, rows: list[Row], dies_after: int | None = None) -> list[int]:
    """Which shards a run judges; it is killed after some of them."""
    judged: list[int] = []
    judge = filter_shard.ShardJudge.judge

    def counted(self: filter_shard.ShardJudge, shard: int) -> filter_shard.ShardResult:
        if len(judged) == dies_after:
            raise KeyboardInterrupt
        judged.append(shard)
        return judge(self, shard)

    with (
        mock.patch.object(filter_index, "SHARD_ROWS", 10),
        mock.patch.object(filter_shard.ShardJudge, "judge", counted),
    ):
        if dies_after is None:
            run_filter(folder, rows)
        else:
            with pytest.raises(KeyboardInterrupt):
                run_filter(folder, rows)
    return judged


def test_what_was_judged_is_not_judged_again(tmp_path: Path) -> None:
    rows = [row(prompt, 0) for prompt in range(50)]
    assert _judged_shards(tmp_path / "whole", rows) == [0, 1, 2, 3, 4]
    assert _judged_shards(tmp_path / "cut", rows, dies_after=2) == [0, 1]
    shutil.copytree(tmp_path / "cut", tmp_path / "other", copy_function=shutil.copy2)
    assert _judged_shards_again(tmp_path / "cut", rows) == [2, 3, 4]
    for name in ("traces.verdicts.parquet", "train.parquet"):
        whole = (tmp_path / "whole" / "out" / name).read_bytes()
        assert (tmp_path / "cut" / "out" / name).read_bytes() == whole
    rows[0]["answer"] = "3"  # another file: nothing that was judged holds
    assert _judged_shards(tmp_path / "other", rows) == [0, 1, 2, 3, 4]
    assert not (tmp_path / "cut" / "out" / ".filter").exists()


def _judged_shards_again(folder: Path, rows: list[Row]) -> list[int]:
    """The same over the file as it lies there."""
    with mock.patch("tests.distill.filtering.write_rows", lambda path, rows: path):
        return _judged_shards(folder, rows)


def test_without_gold_answers_the_majority_of_a_prompt_is_right(tmp_path: Path) -> None:
    rows = [row(0, index, "774"[index]) | {"answer": None} for index in range(3)]
    report = run_filter(tmp_path, rows, kind="agreement", correct="only")
    assert [one["verdict"]["is_accepted"] for one in verdicts(tmp_path)] == [True, True, False]
    assert report.verifier.startswith("agreement/")


def test_a_stored_verdict_counts_if_it_is_known_and_of_the_same_verifier(tmp_path: Path) -> None:
    write_prompts(tmp_path / "prompts" / "train.jsonl", [Prompt("p", "?", "1")])
    name = build_verifier("answer").name
    stored = [(False, name), (None, name), (False, "other/1")]
    path = tmp_path / "traces.jsonl"
    with Journal.open(path) as journal:
        journal.append({"kind": "header", "sampling": {}})
        for index, (is_accepted, verifier) in enumerate(stored):
            trace = Trace("p", index, "m", Completion(r"\boxed{1}", f"w{index} is 1"))
            verdict = Verdict(is_accepted, "stored", verifier)
            journal.append(trace_line(JudgedTrace(trace, verdict)))
    report = run_filter(tmp_path, path, correct="label")
    assert [one["verdict"]["is_accepted"] for one in verdicts(tmp_path)] == [False, True, True]
    assert report.judged == 2


def test_a_filter_that_was_finished_can_be_read_back(tmp_path: Path) -> None:
    report = run_filter(tmp_path, ROWS, correct="only")
    record = read_record(RunLayout(tmp_path / "out"))
    assert record["report"]["kept"] == report.kept
    assert [one["id"] for one in record["examples"]["finished"]] == ["p0#1", "p1#0"]
    with pytest.raises(DataError, match="no filter was finished here"):
        read_record(RunLayout(tmp_path))
    assert json.loads(RunLayout(tmp_path / "out").filter_record.read_text()) == record
