"""The filter keeps what passes all rules, and its funnel adds up."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from distill.errors import StageError
from distill.filter import DroppedTrace, FilterReport, filter_traces
from distill.filter_sections import FilterSection
from distill.record_files import read_records
from distill.types import Completion, FinishReason, JudgedTrace, Trace, Verdict


def _judged(
    prompt: int,
    sample_index: int,
    is_accepted: bool = True,
    finish: FinishReason = "stop",
    reasoning: str | None = "",
) -> JudgedTrace:
    own = f"work {sample_index}" if reasoning == "" else reasoning
    completion = Completion(r"\boxed{1}", own, finish)
    trace = Trace(f"p{prompt}", sample_index, "m", completion)
    return JudgedTrace(trace, Verdict(is_accepted, "boxed 1, gold 2", "answer/1"))


TRACES = [
    _judged(0, 0),
    _judged(0, 1, finish="length"),
    _judged(0, 2, is_accepted=False),
    _judged(0, 3, reasoning="work 0"),
    _judged(1, 0, is_accepted=False, reasoning=None),
    _judged(1, 1, is_accepted=False),
    _judged(2, 0),
    _judged(2, 1),
    _judged(2, 2),
]


def _filter(
    tmp_path: Path, traces: Sequence[JudgedTrace] = TRACES, **settings: Any
) -> tuple[FilterReport, list[JudgedTrace], list[DroppedTrace]]:
    kept, dropped = tmp_path / "kept.jsonl", tmp_path / "dropped.jsonl"
    per_prompt = settings.pop("per_prompt", 4)
    section = FilterSection(**{"correct": "only"} | settings)
    report = filter_traces(
        traces, section, kept_path=kept, dropped_path=dropped, per_prompt=per_prompt
    )
    return report, list(read_records(kept, JudgedTrace)), list(read_records(dropped, DroppedTrace))


def test_every_trace_is_kept_or_dropped_with_its_first_reason(tmp_path: Path) -> None:
    _, kept, dropped = _filter(tmp_path, per_prompt=2)
    assert [judged.trace.id for judged in kept] == ["p0#0", "p2#0", "p2#1"]
    assert [(one.judged.trace.id, one.rule, one.reason) for one in dropped] == [
        ("p0#1", "truncated", "cut at the token limit"),
        ("p0#2", "wrong", "boxed 1, gold 2"),
        ("p0#3", "duplicate", "same reasoning as p0#0"),
        ("p1#0", "malformed", "no reasoning"),
        ("p1#1", "wrong", "boxed 1, gold 2"),
        ("p2#2", "limit", "the prompt has 2 kept traces already"),
    ]
    assert sorted(map(repr, [*kept, *(one.judged for one in dropped)])) == sorted(map(repr, TRACES))


def test_the_funnel_counts_traces_and_prompts_after_each_rule(tmp_path: Path) -> None:
    report, kept, dropped = _filter(tmp_path, per_prompt=2)
    steps = [(s.rule, s.dropped, s.traces_left, s.prompts_left) for s in report.funnel]
    assert steps == [
        ("failed", 0, 9, 3),
        ("truncated", 1, 8, 3),
        ("malformed", 1, 7, 3),
        ("wrong", 2, 5, 2),
        ("duplicate", 1, 4, 2),
        ("length", 0, 4, 2),
        ("limit", 1, 3, 2),
    ]
    assert (report.traces, report.prompts, report.kept) == (9, 3, len(kept))
    assert Counter(one.rule for one in dropped) == {
        s.rule: s.dropped for s in report.funnel if s.dropped
    }


def test_a_filter_that_keeps_nothing_stops_with_its_funnel(tmp_path: Path) -> None:
    wrong = [_judged(prompt, 0, is_accepted=False) for prompt in range(3)]
    with pytest.raises(StageError) as caught:
        _filter(tmp_path, wrong, max_dropped_share=1.0)
    assert "kept none of 3 traces" in caught.value.problem
    assert "wrong" in caught.value.problem
    dropped = list(read_records(tmp_path / "dropped.jsonl", DroppedTrace))
    assert [one.judged for one in dropped] == wrong  # to be looked at


def test_no_traces_at_all_stop_the_stage(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="kept none of 0 traces"):
        _filter(tmp_path, [])


def test_a_filter_that_finds_too_many_faults_stops(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="found fault with 4 of 9 traces, more than 40%"):
        _filter(tmp_path, max_dropped_share=0.4)
    report, _, _ = _filter(tmp_path, max_dropped_share=0.45)
    assert report.kept == 4


def test_choosing_few_of_many_good_traces_is_no_fault(tmp_path: Path) -> None:
    good = [_judged(0, index) for index in range(50)]
    report, _, _ = _filter(tmp_path, good, per_prompt=1, max_dropped_share=0.0)
    assert report.kept == 1


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    _filter(tmp_path / "a")
    _filter(tmp_path / "b")
    for name in ("kept.jsonl", "dropped.jsonl"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert not [path for path in (tmp_path / "a").iterdir() if path.suffix != ".jsonl"]
