"""Tokens become text, reasoning, answer and stops as they come, the same however they are cut."""

from itertools import groupby, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from engine.folder import load_tokenizer
from engine.text_stream import Piece, ReasoningSplitter, StopFinder, TokenText
from students.load import EMBEDDED


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return load_tokenizer(EMBEDDED)


def parts(pieces: list[Piece]) -> list[tuple[str, str]]:
    grouped = groupby(pieces, key=lambda piece: piece.kind)
    return [(kind, "".join(piece.text for piece in group)) for kind, group in grouped]


def split(texts: list[str], *, is_opened: bool = False) -> list[tuple[str, str]]:
    splitter = ReasoningSplitter(is_opened=is_opened)
    pieces = [piece for text in texts for piece in splitter.feed(text)]
    return parts([*pieces, *splitter.finish()])


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("hello", [("answer", "hello")]),
        ("<think>\na\nb\n</think>\n\nc d", [("reasoning", "a\nb"), ("answer", "c d")]),
        ("\n<think>a", [("reasoning", "a")]),
        ("<think>1 < 2 </ 3</think>x", [("reasoning", "1 < 2 </ 3"), ("answer", "x")]),
        ("a <think> b", [("answer", "a <think> b")]),
        ("", []),
    ],
)
def test_reply_comes_in_parts_without_tags(reply: str, expected: list[tuple[str, str]]) -> None:
    assert split([reply]) == expected
    assert split(list(reply)) == expected  # a tag in several pieces is still a tag


def test_reasoning_that_the_template_opened_is_reasoning() -> None:
    assert split(["a</think>b"], is_opened=True) == [("reasoning", "a"), ("answer", "b")]


@given(st.text(alphabet="ab <>/think\n"), st.lists(st.integers(0, 60)))
def test_where_a_reply_is_cut_changes_nothing(reply: str, cuts: list[int]) -> None:
    places = sorted({0, *(cut for cut in cuts if cut < len(reply)), len(reply)})
    pieces = [reply[start:end] for start, end in pairwise(places)]
    assert split(pieces) == split([reply])


@given(st.text(alphabet="abc"), st.lists(st.text(alphabet="abc", min_size=1, max_size=3)))
def test_text_ends_before_the_first_stop_however_it_comes(text: str, stops: list[str]) -> None:
    finder = StopFinder(stops)
    given_out = "".join(finder.feed(letter) for letter in text) + finder.finish()
    ends = [text.find(stop) + len(stop) for stop in stops if stop in text]
    if not ends:
        assert given_out == text
        return
    first = min(ends)  # the stop that is complete first is met first
    met = [stop for stop in stops if text[:first].endswith(stop)]
    assert given_out == text[: first - max(map(len, met))]
    assert finder.is_found


def test_a_character_of_several_tokens_comes_when_it_is_whole(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    text = TokenText(tokenizer)
    ids = tokenizer("caf\u00e9 \U0001f600", add_special_tokens=False)["input_ids"]
    pieces = [text.feed(token) for token in ids]
    assert "".join(pieces) + text.finish() == tokenizer.decode(ids)
    assert "\N{REPLACEMENT CHARACTER}" not in "".join(pieces)
