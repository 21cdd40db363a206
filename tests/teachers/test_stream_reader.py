"""Events that are read at once say what they say one by one, however they look and are cut."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from distill.reasoning import split_reasoning
from distill.types import Usage
from teachers.alike import Alike
from teachers.wire import Reply, StreamReader, UnreadableError

MANY = 240
"""Events that are read together, whatever the parts are cut to."""

NASTY = [
    "",
    " ",
    '"',
    "\\",
    "\\\\",
    '\\"',
    "\n",
    "\r\n\r\n",
    "\x00",
    "\u2028",
    "é",
    "😀",
    "data:",
    "\ndata: ",
    "[DONE]",
    "data: [DONE]\n\n",
    "{}",
    "}",
    '"}',
    '"}}]}',
    '"content":"',
    '"content": "',
    '"reasoning_content": "',
    '"},"finish_reason":null}]}',
    '"}, "finish_reason": null}]}',
    '"},"finish_reason":"stop"}]}',
    'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n',
    '{"error": "overloaded"}',
    "<think>",
    "</think>",
]
COMMENTS = [
    b": keep-alive",
    b":",
    b": data: nothing",
    b'data-free: {"choices":[]}',
    b"event: message",
    b"id: 7",
    b"retry: 100",
]


@dataclass(frozen=True)
class Form:
    """How a server writes its events.

    Attributes:
        is_ascii: Whether it escapes what is not.
        has_spaces: Whether they follow commas and colons.
        gap: What ends an event.
        order: Of the fields of a choice.
        has_null_finish: Whether events before the last say that nothing has ended.
        reasoning_name: Of the field that holds the reasoning.
        has_null_beside: Whether the text that an event does not bring is null.
        extra: What else each event says after its choices.
        extra_before: The same, before its choices.
        in_choice: What else each choice says.
        in_delta: What else each delta says, after its text.
        created_step: How many events share a time and a count of tokens.
        has_usage_each: Whether each event with a text counts tokens.
        has_last_usage: Whether an event without choices does so at the end.
        has_role_first: Whether the first event of a choice brings no text.
        has_done: Whether it says that this is all.
        comment: What stands between events.
        comment_step: Between how many.
        burst: How many events in a row are of one choice.
    """

    is_ascii: bool = False
    has_spaces: bool = False
    gap: bytes = b"\n\n"
    order: tuple[str, ...] = ("index", "delta", "finish_reason")
    has_null_finish: bool = True
    reasoning_name: str = "reasoning_content"
    has_null_beside: bool = False
    extra: dict[str, Any] = field(default_factory=dict)
    extra_before: dict[str, Any] = field(default_factory=dict)
    in_choice: dict[str, Any] = field(default_factory=dict)
    in_delta: dict[str, Any] = field(default_factory=dict)
    created_step: int = 10_000
    has_usage_each: bool = False
    has_last_usage: bool = True
    has_role_first: bool = True
    has_done: bool = True
    comment: bytes = b""
    comment_step: int = 1
    burst: int = 1

    def line(self, event: dict[str, Any]) -> bytes:
        between = (", ", ": ") if self.has_spaces else (",", ":")
        text = json.dumps(event, ensure_ascii=self.is_ascii, separators=between)
        return b"data: " + text.encode() + self.gap

    def event(
        self, number: int, index: int, delta: dict[str, Any], finish: str | None = None
    ) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": index, "delta": {**delta, **self.in_delta}}
        if finish or self.has_null_finish:
            choice["finish_reason"] = finish
        ordered = {name: choice[name] for name in self.order if name in choice}
        counts = {}
        if self.has_usage_each and not finish:
            counts = {"usage": usage(number // self.created_step)}
        return {
            "id": "chatcmpl-1",
            "model": "m",
            "created": 1_700_000_000 + number // self.created_step,
            **self.extra_before,
            "choices": [{**ordered, **self.in_choice}],
            **counts,
            **self.extra,
        }

    def delta(self, text: str, is_reasoning: bool) -> dict[str, Any]:
        name, other = "content", self.reasoning_name
        if is_reasoning:
            name, other = other, name
        return {other: None, name: text} if self.has_null_beside else {name: text}


def usage(number: int) -> dict[str, Any]:
    return {
        "prompt_tokens": 11,
        "completion_tokens": number + 1,
        "completion_tokens_details": {"reasoning_tokens": number // 2},
    }


ELSEWHERE: list[dict[str, Any]] = [
    {},
    {"obfuscation": {"content": "x", "reasoning_content": "y"}},
    {"metadata": {"content": {"content": "z"}}},
    {"system_fingerprint": "fp_1", "object": "chat.completion.chunk", "usage": None},
]
forms = st.builds(
    Form,
    is_ascii=st.booleans(),
    has_spaces=st.booleans(),
    gap=st.sampled_from([b"\n\n", b"\r\n\r\n", b"\n"]),
    order=st.permutations(["index", "delta", "finish_reason"]).map(tuple),
    has_null_finish=st.booleans(),
    reasoning_name=st.sampled_from(["reasoning_content", "reasoning", "reasoning_text"]),
    has_null_beside=st.booleans(),
    extra=st.sampled_from(ELSEWHERE),
    extra_before=st.sampled_from(ELSEWHERE),
    in_choice=st.sampled_from([{}, {"logprobs": None}, {"logprobs": {"content": []}}]),
    in_delta=st.sampled_from([{}, {}, {"role": "assistant"}, {"meta": {"content": "no"}}]),
    created_step=st.sampled_from([1, 7, 10_000]),
    has_usage_each=st.sampled_from([False, False, True]),
    has_last_usage=st.booleans(),
    has_role_first=st.booleans(),
    has_done=st.booleans(),
    comment=st.sampled_from([b"", b"", *COMMENTS]),
    comment_step=st.sampled_from([1, 9, 50]),
    burst=st.sampled_from([1, 5, 30]),
)
texts = st.lists(st.sampled_from(NASTY) | st.text(max_size=6), min_size=1, max_size=12)


@dataclass(frozen=True)
class Cut:
    """Sizes of the parts of a stream, over and over."""

    sizes: tuple[int, ...]

    def parts(self, data: bytes) -> Iterator[bytes]:
        start = 0
        for size in cycle(self.sizes):
            if start >= len(data):
                return
            yield data[start : start + size]
            start += size


def cuts(fewest: int) -> st.SearchStrategy[Cut]:
    size = st.integers(fewest, 600) | st.integers(fewest, 90_000) | st.just(10_000_000)
    return st.builds(Cut, st.lists(size, min_size=1, max_size=6).map(tuple))


def written(
    form: Form, pieces: Sequence[str], events: int, choices: int, reasoned: int = 0
) -> bytes:
    """A stream; as many of its first events as are said bring reasoning."""
    lines = []
    if form.has_role_first:
        opening = {"role": "assistant", "content": ""}
        lines += [form.line(form.event(0, index, opening)) for index in range(choices)]
    for number, text in zip(range(events), cycle(pieces), strict=False):
        if form.comment and number % form.comment_step == 0:
            lines.append(form.comment + form.gap)
        delta = form.delta(text, number < reasoned)
        lines.append(form.line(form.event(number, number // form.burst % choices, delta)))
    for index in range(choices):
        finish = "stop" if index == 0 else "length"
        lines.append(form.line(form.event(events, index, {}, finish)))
    if form.has_last_usage:
        lines.append(form.line({"model": "m", "choices": [], "usage": usage(events)}))
    if form.has_done:
        lines.append(b"data: [DONE]\n\n")
    return b"".join(lines)


@dataclass
class Plain:
    """What a stream says, read line by line and as plainly as can be."""

    content: dict[int, str] = field(default_factory=lambda: defaultdict(str))
    reasoning: dict[int, str] = field(default_factory=lambda: defaultdict(str))
    finish: dict[int, str] = field(default_factory=lambda: defaultdict(str))
    usage: dict[str, Any] | None = None
    model: str = ""
    is_done: bool = False

    @property
    def completions(self) -> list[tuple[str | None, str, str]]:
        """Reasoning, answer and end of each choice."""
        found = []
        for index in sorted(self.content):
            reasoning, text = self.reasoning[index].strip() or None, self.content[index]
            if not self.reasoning[index]:
                split = split_reasoning(text)
                reasoning, text = split.reasoning, split.answer
            elif reasoning is None:
                reasoning = ""
            text = text if reasoning is None else text.strip()
            found.append((reasoning, text, self.finish[index] or "stop"))
        return found


def plainly(data: bytes) -> Plain:
    plain = Plain()
    for line in data.split(b"\n"):
        if not line.startswith(b"data:"):
            continue
        if line[5:].strip() == b"[DONE]":
            plain.is_done = True
            continue
        event = json.loads(line[5:])
        plain.model = plain.model or event.get("model", "")
        plain.usage = event.get("usage") or plain.usage
        for choice in event.get("choices", []):
            index, delta = choice["index"], choice["delta"]
            plain.content[index] += delta.get("content") or ""
            for name in ("reasoning_content", "reasoning", "reasoning_text"):
                plain.reasoning[index] += delta.get(name) or ""
            plain.finish[index] = choice.get("finish_reason") or plain.finish[index]
    return plain


def whole(text: str | None) -> bytes | None:
    """A text whose surrogate pairs are joined, as bytes that can be compared."""
    return None if text is None else text.encode("utf-16", "surrogatepass")


def read(data: bytes, cut: Cut) -> tuple[Reply, bool]:
    reader = StreamReader()
    for part in cut.parts(data):
        reader.feed(part)
    return reader.reply(), reader.is_done


def assert_read_as_written(data: bytes, cut: Cut) -> None:
    reply, is_done = read(data, cut)
    plain = plainly(data)
    assert [(whole(one.reasoning), whole(one.text), one.finish) for one in reply.completions] == [
        (whole(reasoning), whole(text), finish) for reasoning, text, finish in plain.completions
    ]
    assert (reply.model, is_done) == (plain.model, plain.is_done)
    assert reply.has_usage == (plain.usage is not None)
    if plain.usage is not None:
        total = sum((one.usage for one in reply.completions), Usage())
        written_tokens = plain.usage["completion_tokens"]
        reasoned_tokens = plain.usage["completion_tokens_details"]["reasoning_tokens"]
        assert total == Usage(plain.usage["prompt_tokens"], written_tokens, reasoned_tokens, 0)


EVERYTHING = Cut((10_000_000,))


@settings(max_examples=200)
@given(forms, texts, st.integers(0, 40), st.integers(1, 3), st.integers(0, 40), cuts(1))
@example(Form(has_null_finish=False), ['"}}]}'], 9, 1, 0, EVERYTHING)
def test_a_stream_is_read_as_it_is_written_however_it_looks_and_is_cut(
    form: Form, pieces: list[str], events: int, choices: int, reasoned: int, cut: Cut
) -> None:
    assert_read_as_written(written(form, pieces, events, choices, reasoned), cut)


@settings(max_examples=60)
@given(forms, texts, st.integers(1, 3), st.integers(0, MANY), cuts(50))
def test_a_long_stream_is_read_as_it_is_written(
    form: Form, pieces: list[str], choices: int, reasoned: int, cut: Cut
) -> None:
    assert_read_as_written(written(form, pieces, MANY, choices, reasoned), cut)


@pytest.mark.parametrize("size", [13, 997, 65_536, 10_000_000])
@pytest.mark.parametrize("has_null_beside", [True, False])
def test_reasoning_that_gives_way_to_an_answer_is_read_beyond_all_buffers(
    size: int, has_null_beside: bool
) -> None:
    form = Form(has_null_beside=has_null_beside, has_spaces=True)
    pieces = [f' {word} "{word}"\n' for word in ("seven", "plus", "ätsch", "😀", "\\frac")]
    data = written(form, pieces, 1200, 1, reasoned=700)
    assert len(data) > 3 * 64 * 1024
    assert_read_as_written(data, Cut((size,)))


@pytest.mark.parametrize("text", NASTY)
@pytest.mark.parametrize("is_last", [True, False])
@pytest.mark.parametrize("has_null_finish", [True, False])
def test_a_text_that_looks_like_an_event_is_a_text(
    text: str, is_last: bool, has_null_finish: bool
) -> None:
    form = Form(has_null_finish=has_null_finish, order=("index", "finish_reason", "delta"))
    pieces = [*["x"] * 20, text] if is_last else ["x", text, "y"]
    assert_read_as_written(written(form, pieces, 21, 1), EVERYTHING)


@pytest.mark.parametrize(
    "form",
    [Form(extra=one) for one in ELSEWHERE]
    + [Form(extra_before=one) for one in ELSEWHERE]
    + [Form(in_choice=one) for one in ELSEWHERE]
    + [Form(in_delta=one) for one in ELSEWHERE],
)
def test_a_field_of_the_same_name_elsewhere_is_no_text(form: Form) -> None:
    assert_read_as_written(written(form, ["x"], 20, 1, reasoned=10), EVERYTHING)
    assert_read_as_written(written(form, ["x", "z", "y"], 40, 1, reasoned=20), EVERYTHING)


def many(deltas: Sequence[dict[str, Any]], finish: str | None = None) -> bytes:
    """The events after one without texts and a model, and no end but the one each of them says."""
    form = Form()
    opening = form.event(0, 0, dict.fromkeys(deltas[0], ""), finish) | {"model": ""}
    lines = [form.line(opening)]
    lines += [form.line(form.event(0, 0, delta, finish)) for delta in deltas]
    return b"".join([*lines, b"" if finish else b"data: [DONE]\n\n"])


@pytest.mark.parametrize(
    "delta", [{"content": "a", "reasoning": "b"}, {"reasoning_content": "c", "content": "d"}]
)
def test_an_event_with_two_texts_brings_both(delta: dict[str, str]) -> None:
    assert_read_as_written(many([delta] * 20), EVERYTHING)


def test_a_text_in_two_reasoning_fields_counts_once() -> None:
    delta = {"reasoning": "b", "reasoning_content": "b", "content": None}
    (completion,) = read(many([delta] * 20), EVERYTHING)[0].completions
    assert completion.reasoning == "b" * 20


def test_an_end_that_each_of_many_events_says_is_heard() -> None:
    assert_read_as_written(many([{"content": "x"}] * 20, finish="length"), EVERYTHING)


def test_a_model_that_none_but_events_that_are_alike_name_is_known() -> None:
    reply, _ = read(many([{"content": "x"}] * 20), EVERYTHING)
    assert reply.model == "m"


def test_counts_of_tokens_that_many_events_repeat_are_heard() -> None:
    form = Form(has_usage_each=True, has_last_usage=False, has_role_first=False)
    assert_read_as_written(written(form, ["x"], 20, 1), EVERYTHING)


HEADS: list[tuple[int, dict[str, Any]]] = [(0, {}), (1, {}), (0, {"provider": "other"})]
TAILS: list[dict[str, Any]] = [{}, {"logprobs": None}, {"stop": "\n"}, {"finish_reason": "length"}]


@dataclass(frozen=True)
class Burst:
    """Events in a row that are alike."""

    events: int
    head: tuple[int, dict[str, Any]]
    tail: dict[str, Any]
    comment: bytes
    name: str
    text: str

    def lines(self) -> bytes:
        index, extra = self.head
        form = Form(extra_before=extra, in_choice=self.tail)
        line = form.line(form.event(0, index, {self.name: self.text}))
        return self.comment + line * self.events


bursts = st.builds(
    Burst,
    events=st.integers(1, 3) | st.integers(4, 20),
    head=st.sampled_from(HEADS),
    tail=st.sampled_from(TAILS),
    comment=st.sampled_from([b"", b"", b": keep-alive\n\n", b"data: {}\n\n", b"\n"]),
    name=st.sampled_from(["content", "content", "reasoning"]),
    text=st.sampled_from(["a", "b", "c\n", '"']),
)


@settings(max_examples=150)
@given(st.lists(bursts, min_size=1, max_size=12), st.lists(st.integers(300, 5000), min_size=1))
def test_neighbours_that_differ_before_or_after_their_texts_are_told_apart(
    some: list[Burst], sizes: list[int]
) -> None:
    opening = Form().line(Form().event(0, 0, {"role": "assistant"}))
    data = b"".join([opening, *(burst.lines() for burst in some), b"data: [DONE]\n\n"])
    assert_read_as_written(data, Cut(tuple(sizes)))
    assert_read_as_written(data, EVERYTHING)


@given(st.lists(st.sampled_from(["😀", "a😀b", "\U0001f9ee", "é", "x"]), min_size=10, max_size=30))
def test_surrogate_pairs_that_are_split_over_two_events_are_joined(pieces: list[str]) -> None:
    units = "".join(pieces).encode("utf-16-le")
    halves = [
        units[at : at + 2].decode("utf-16-le", "surrogatepass") for at in range(0, len(units), 2)
    ]
    data = written(Form(is_ascii=True), halves, len(halves), 1)
    assert_read_as_written(data, EVERYTHING)


@pytest.mark.parametrize("lone", ["\ud83d", "a\ud83db", "a\ude00"])
def test_half_of_a_surrogate_pair_among_many_events_is_kept(lone: str) -> None:
    pieces = [*["x"] * 20, lone]
    assert_read_as_written(written(Form(is_ascii=True), pieces, 42, 1), EVERYTHING)


def among_many(line: bytes, before: int = 100) -> bytes:
    form = Form()
    opening = form.line(form.event(0, 0, {"role": "assistant", "content": ""}))
    alike = [form.line(form.event(0, 0, {"content": "word"}))] * MANY
    end = form.line(form.event(0, 0, {}, "stop")) + b"data: [DONE]\n\n"
    return b"".join([opening, *alike[:before], line, *alike[before:], end])


@pytest.mark.parametrize("size", [100, 5_000, 10_000_000])
@pytest.mark.parametrize("before", [0, 1, 100, MANY])
def test_an_error_among_many_events_is_said_in_the_servers_words(size: int, before: int) -> None:
    line = b'data: {"error": {"message": "the worker is overloaded", "code": 503}}\n\n'
    with pytest.raises(UnreadableError, match="the server says: the worker is overloaded"):
        read(among_many(line, before), Cut((size,)))


BROKEN = [
    b'data: {"id": "chatcmpl-1", "choi\n\n',
    b"data: overloaded\n\n",
    Form().line(Form().event(0, 0, {"content": "MARK"})).replace(b"MARK", b'a "b" c'),
    Form().line(Form().event(0, 0, {"content": "MARK"})).replace(b"MARK", b"\\x"),
    Form().line(Form().event(0, 0, {"content": "MARK"})).replace(b"MARK", b"\t"),
    Form().line(Form().event(0, 0, {"content": "MARK"})).replace(b"MARK", b"\xff"),
]


@pytest.mark.parametrize("line", BROKEN)
@pytest.mark.parametrize("size", [100, 10_000_000])
@pytest.mark.parametrize("before", [0, 100, MANY])
def test_a_broken_line_among_many_events_is_never_passed_over(
    line: bytes, size: int, before: int
) -> None:
    with pytest.raises(UnreadableError, match="no JSON"):
        read(among_many(line, before), Cut((size,)))


@pytest.mark.parametrize(
    ("half", "other"), [(b"\\", b"nn"), (b"\\u00", b"41"), (b"\\ud83d\\", b"ude00")]
)
def test_an_escape_that_is_cut_off_is_not_completed_by_the_next_event(
    half: bytes, other: bytes
) -> None:
    line = Form().line(Form().event(0, 0, {"content": "MARK"}))
    broken = line.replace(b"MARK", half) + line.replace(b"MARK", other)
    with pytest.raises(UnreadableError, match="no JSON"):
        read(among_many(broken), EVERYTHING)


@pytest.mark.parametrize("before", [b"", b": keep-alive\n\n", b"data: {}\n\n"])
@pytest.mark.parametrize("gap", [b"\n\n", b"\r\n\r\n", b"\n"])
def test_events_that_are_alike_are_read_together_whatever_stands_before_them(
    before: bytes, gap: bytes
) -> None:
    form = Form(gap=gap)
    event = form.event(0, 0, {"content": "word"})
    line = form.line(event)
    alike = Alike.of(line.rstrip(), gap, event, ("content",))
    assert alike is not None
    assert alike.run(before + line * 50) is not None


def test_a_line_that_is_no_object_among_many_events_is_named() -> None:
    with pytest.raises(UnreadableError, match="no object"):
        read(among_many(b"data: 3\n\n"), EVERYTHING)


@pytest.mark.parametrize("before", [0, 100, MANY])
def test_an_event_in_a_comment_says_nothing(before: int) -> None:
    event = Form().line(Form().event(0, 0, {"content": "not said"}))
    data = among_many(b": " + event, before)
    assert_read_as_written(data, EVERYTHING)
    assert_read_as_written(data.partition(b"\n\n")[2], EVERYTHING)


def test_a_stream_that_breaks_off_among_many_events_is_not_whole() -> None:
    data = among_many(b"")
    with pytest.raises(UnreadableError, match="broke off"):
        read(data[: len(data) // 2].rpartition(b"\n")[0], EVERYTHING)


def is_content(before: bytes, part: bytes) -> bool:
    """Whether a part has any of a line that is known to be an event's by now."""
    start = before.rfind(b"\n") + 1
    return any(line.startswith(b"data:") for line in (before[start:] + part).split(b"\n"))


EVENT = Form().line(Form().event(0, 0, {"content": "data: x"}))
LINES = [EVENT, EVENT, b": keep-alive\n\n", b": no data: yet\n\n", b":data:\n\n", b"\n", b"\r\n"]


@given(
    st.lists(st.sampled_from(LINES), min_size=1, max_size=40),
    st.lists(st.integers(1, 12) | st.integers(1, 400), min_size=1, max_size=6),
)
def test_content_is_told_from_signs_of_life_wherever_they_are_cut(
    lines: list[bytes], sizes: list[int]
) -> None:
    reader, before = StreamReader(), b""
    for part in Cut(tuple(sizes)).parts(b"".join(lines)):
        assert reader.feed(part) == is_content(before, part), (before[-40:], part)
        before += part


@pytest.mark.parametrize("at", range(1, 5))
@pytest.mark.parametrize("before", [b"", EVENT, EVENT * 20])
def test_a_mark_that_is_cut_in_two_begins_an_event(at: int, before: bytes) -> None:
    reader = StreamReader()
    reader.feed(before + EVENT[:at])
    assert reader.feed(EVENT[at:])


@pytest.mark.parametrize("before", [b"", EVENT, EVENT * 20])
@pytest.mark.parametrize("comment", [b": keep-alive", b": waiting for data: soon", b":data: x"])
def test_the_word_data_in_a_comment_is_no_content(before: bytes, comment: bytes) -> None:
    reader = StreamReader()
    if before:
        reader.feed(before)
    assert not reader.feed(comment + b"\n\n")


@pytest.mark.parametrize("before", [b"", EVENT * 20])
def test_a_comment_that_is_cut_before_the_word_data_is_no_content(before: bytes) -> None:
    reader = StreamReader()
    if before:
        reader.feed(before)
    assert not reader.feed(b": waiting for ")
    assert not reader.feed(b"data: soon\n\n")
