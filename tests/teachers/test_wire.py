"""Answers are read wherever a server puts them, and what broke off is never taken for whole."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.types import Usage
from teachers.wire import Reply, StreamReader, UnreadableError, read_body


def body(*messages: dict[str, Any], finish: str | None = "stop", **more: Any) -> bytes:
    choices = [
        {"index": index, "message": message, "finish_reason": finish}
        for index, message in enumerate(messages)
    ]
    return json.dumps({"model": "m", "choices": choices, **more}).encode()


def events(*deltas: dict[str, Any], finish: str | None = "stop", done: bool = True) -> bytes:
    parts: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": d}]} for d in deltas]
    parts.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    text = "".join(f"data: {json.dumps(part)}\n\n" for part in parts)
    return (text + ("data: [DONE]\n\n" if done else "")).encode()


def read_stream(data: bytes, size: int = 7) -> Reply:
    reader = StreamReader()
    for start in range(0, len(data), size):
        reader.feed(data[start : start + size])
    return reader.reply()


MESSAGES = [
    {"content": "14", "reasoning_content": "7 + 7"},
    {"content": "14", "reasoning": "7 + 7"},
    {"content": "<think>\n7 + 7\n</think>\n\n14"},
    {"content": "7 + 7\n</think>\n\n14"},  # the chat template wrote the opening tag
    {"content": [{"type": "text", "text": "14"}], "reasoning_content": "7 + 7"},
]


@pytest.mark.parametrize("message", MESSAGES)
def test_reasoning_is_found_in_a_body_wherever_it_is(message: dict[str, Any]) -> None:
    (completion,) = read_body(body(message)).completions
    assert (completion.reasoning, completion.text) == ("7 + 7", "14")
    assert completion.finish == "stop"


@pytest.mark.parametrize("message", MESSAGES[:4])
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_reasoning_is_found_in_a_stream_cut_anywhere(message: dict[str, str], size: int) -> None:
    deltas = [{name: char} for name in reversed(message) for char in message[name]]
    (completion,) = read_stream(events(*deltas), size).completions
    assert (completion.reasoning, completion.text) == ("7 + 7", "14")


def test_several_choices_come_apart_in_a_body_and_in_a_stream() -> None:
    reply = read_body(body({"content": "a"}, {"content": "b"}))
    assert [one.text for one in reply.completions] == ["a", "b"]
    mixed = [
        {"choices": [{"index": index, "delta": {"content": text}, "finish_reason": finish}]}
        for index, text, finish in [(1, "b", None), (0, "a", "stop"), (1, "c", "length")]
    ]
    stream = "".join(f"data: {json.dumps(event)}\n\n" for event in mixed).encode()
    assert [(one.text, one.finish) for one in read_stream(stream).completions] == [
        ("a", "stop"),
        ("bc", "length"),
    ]


def test_usage_is_shared_out_over_the_choices_and_sums_up() -> None:
    usage = {
        "prompt_tokens": 11,
        "completion_tokens": 21,
        "prompt_cache_hit_tokens": 5,
        "completion_tokens_details": {"reasoning_tokens": 7},
    }
    reply = read_body(body({"content": "a"}, {"content": "b"}, usage=usage))
    first, second = (one.usage for one in reply.completions)
    assert first + second == Usage(11, 21, 7, 5)
    assert reply.has_usage


def test_cached_tokens_are_read_in_the_form_of_openai_as_well() -> None:
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 1,
        "prompt_tokens_details": {"cached_tokens": 4},
    }
    assert read_body(body({"content": "a"}, usage=usage)).completions[0].usage.cached_tokens == 4


def test_signs_of_life_and_a_missing_done_do_no_harm() -> None:
    data = b": keep-alive\n\n\n\n" + events({"content": "14"}, done=False).replace(b"\n", b"\r\n")
    reply = read_stream(data)
    assert reply.completions[0].text == "14"
    assert not reply.has_usage


def test_signs_of_life_are_no_content() -> None:
    reader = StreamReader()
    assert not reader.feed(b": keep-alive\n\n")
    assert reader.feed(events({"content": "x"}))


def test_an_error_in_a_stream_is_said_at_once_and_not_when_it_ends() -> None:
    reader = StreamReader(looks_for_reasoning=False)
    reader.feed(events({"content": 'no "error" yet'}, done=False))
    with pytest.raises(UnreadableError, match="the server says: overloaded"):
        reader.feed(b'data: {"error": {"message": "overloaded"}}\n\n')


def test_usage_in_the_last_event_counts() -> None:
    last = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}
    data = events({"content": "14"}, done=False) + f"data: {json.dumps(last)}\n\n".encode()
    assert read_stream(data).completions[0].usage == Usage(3, 4)


def test_a_cut_by_the_token_limit_is_a_result() -> None:
    data = body({"content": "", "reasoning": "so far"}, finish="length")
    (completion,) = read_body(data).completions
    assert completion.is_truncated
    assert completion.reasoning == "so far"


def test_a_filter_of_the_server_is_an_error_that_was_answered() -> None:
    (completion,) = read_body(body({"content": "x"}, finish="content_filter")).completions
    assert completion.finish == "error"
    assert completion.error == "the server ended it: content_filter"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the body is empty"),
        (b'{"choices": [{"mess', "the body is no JSON"),
        (b"[]", "the body is no object"),
        (b'{"choices": []}', "holds no choices"),
        (b'{"choices": [3]}', "holds no message"),
        (b'{"error": {"message": "overloaded"}}', "the server says: overloaded"),
        (body({"content": ""}, finish="insufficient_system_resource"), "gave up"),
    ],
)
def test_a_broken_body_is_said_to_be_broken(data: bytes, words: str) -> None:
    with pytest.raises(UnreadableError, match=words):
        read_body(data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "nothing in it"),
        (b": keep-alive\n\n", "nothing in it"),
        (events({"content": "1"}, finish=None, done=False), "broke off"),
        (b'data: {"choices": [{"ind\n\n', "no JSON"),
        (b'data: {"error": "overloaded"}\n\n', "the server says: overloaded"),
    ],
)
def test_a_broken_stream_is_said_to_be_broken(data: bytes, words: str) -> None:
    with pytest.raises(UnreadableError, match=words):
        read_stream(data)


def test_half_of_a_surrogate_pair_does_not_lose_the_answer() -> None:
    reply = read_body(rb'{"choices": [{"message": {"content": "a\ud83d"}}]}')
    assert reply.completions[0].text == "a\ud83d"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "message", "delta", "content", "reasoning", "usage", "error", "index"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_no_json_breaks_the_readers_in_another_way(value: Any) -> None:
    data = json.dumps(value).encode()
    for read in (read_body, lambda text: read_stream(b"data: " + text + b"\n\n")):
        try:
            read(data)
        except UnreadableError:
            continue
