"""Records come back as they were, and a broken one is named with its place."""

import json
import math
from dataclasses import dataclass
from typing import Any

import pytest

from distill.errors import DataError
from distill.records import Record, from_record, to_record
from distill.types import (
    Completion,
    Example,
    JudgedTrace,
    Message,
    Prompt,
    Trace,
    Usage,
    Verdict,
)

TRACE = JudgedTrace(
    Trace("p/1", 3, "teacher", Completion("The answer", "why", "stop", Usage(5, 7, 3, 0))),
    Verdict(True, "boxed 14, gold 14", "answer/1", 1.0),
)


def _record() -> Record:
    record: Record = json.loads(json.dumps(to_record(TRACE)))
    return record


@pytest.mark.parametrize(
    "noun",
    [
        TRACE,
        Prompt("p", "text", answer="0012", kind="story", level=3),
        Prompt("p", "text"),
        Example("e", (Message("user", "hi"), Message("assistant", "yes", "why", True)), 0.5),
        JudgedTrace(
            Trace("p", 0, "m", Completion("", None, "error", error="lost")),
            Verdict(None, "no gold answer", "answer/1"),
        ),
    ],
)
def test_a_noun_comes_back_as_it_was(noun: Any) -> None:
    record = json.loads(json.dumps(to_record(noun)))
    assert from_record(type(noun), record, "here") == noun


def test_the_shape_of_a_stored_trace_is_fixed() -> None:
    assert _record() == {
        "trace": {
            "prompt_id": "p/1",
            "sample_index": 3,
            "model": "teacher",
            "completion": {
                "text": "The answer",
                "reasoning": "why",
                "finish": "stop",
                "usage": {
                    "input_tokens": 5,
                    "output_tokens": 7,
                    "reasoning_tokens": 3,
                    "cached_tokens": 0,
                },
                "error": None,
                "logprobs": None,
            },
            "receipt": None,
        },
        "verdict": {
            "is_accepted": True,
            "reason": "boxed 14, gold 14",
            "verifier": "answer/1",
            "reward": 1.0,
            "milliseconds": 0.0,
        },
    }


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("trace", "sample_index"), "3", "trace.sample_index must be a whole number, not '3'"),
        (("trace", "sample_index"), True, "trace.sample_index must be a whole number, not True"),
        (("trace", "model"), None, "trace.model must be text, not None"),
        (("trace", "completion"), [], "trace.completion must be an object"),
        (("trace", "completion", "finish"), "eos", "must be one of 'stop', 'length', 'error'"),
        (("trace", "completion", "finish"), [], "must be one of 'stop', 'length', 'error'"),
        (("verdict", "is_accepted"), 1, "verdict.is_accepted must be true or false, not 1"),
        (("verdict", "reward"), math.nan, "verdict.reward must be a number, not nan"),
        (("verdict", "colour"), "red", "unknown field verdict.colour; known: is_accepted, reason"),
    ],
)
def test_a_wrong_field_is_named_with_place_and_path(
    path: tuple[str, ...], value: object, message: str
) -> None:
    record = _record()
    inner = record
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    with pytest.raises(DataError) as caught:
        from_record(JudgedTrace, record, "traces.jsonl:17")
    assert caught.value.problem.startswith("traces.jsonl:17: ")
    assert message in caught.value.problem


def test_fields_of_another_version_say_who_wrote_them_and_what_to_do() -> None:
    known = {"made_by": "distill 0.0.9", **_record(), "colour": "red"}
    for record, who in ((known, "distill 0.0.9 wrote it"), (_record(), "probably another version")):
        record["verdict"]["colour"] = "red"
        with pytest.raises(DataError, match="unknown field") as caught:
            from_record(JudgedTrace, record, "traces.jsonl:17")
        assert who in caught.value.hint
        assert "make it again" in caught.value.hint


def test_a_missing_field_is_named() -> None:
    record = _record()
    del record["trace"]["completion"]["usage"]["cached_tokens"]
    with pytest.raises(
        DataError, match=r"field trace\.completion\.usage\.cached_tokens is missing"
    ):
        from_record(JudgedTrace, record, "here")


def test_a_record_that_is_no_object_is_refused() -> None:
    with pytest.raises(DataError, match="the record must be an object"):
        from_record(JudgedTrace, [1], "here")


def test_a_whole_number_is_a_number_but_not_the_other_way() -> None:
    record = _record()
    record["verdict"]["reward"] = 1
    assert from_record(JudgedTrace, record, "here") == TRACE
    record["trace"]["sample_index"] = 3.0
    with pytest.raises(DataError):
        from_record(JudgedTrace, record, "here")


def test_lists_of_numbers_are_checked_item_by_item() -> None:
    @dataclass(frozen=True)
    class Scores:
        values: tuple[float, ...]

    assert from_record(Scores, {"values": [0.5, 1]}, "here") == Scores((0.5, 1.0))
    with pytest.raises(DataError, match=r"values\[1\] must be a number"):
        from_record(Scores, {"values": [0.5, "1"]}, "here")


def test_long_values_are_cut_in_messages() -> None:
    record = _record()
    record["trace"]["sample_index"] = "x" * 10_000
    with pytest.raises(DataError) as caught:
        from_record(JudgedTrace, record, "here")
    assert len(caught.value.problem) < 200


def test_a_field_that_older_records_lack_is_nothing() -> None:
    record = to_record(Completion("yes", logprobs=(-0.5, -1.0)))
    assert from_record(Completion, record, "here").logprobs == (-0.5, -1.0)
    del record["logprobs"], record["error"]
    assert from_record(Completion, record, "here") == Completion("yes")
