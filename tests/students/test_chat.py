from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest

import students
from distill.errors import ModelError
from distill.types import Answer, Message, Prompt, Request, Sampling
from engine.text_stream import Piece
from students.chat import ChatSession

GREEDY = Sampling(temperature=0, max_tokens=12)


@pytest.fixture
def session(tiny_qwen2: Path) -> ChatSession:
    return ChatSession(tiny_qwen2, GREEDY)


def scripted(session: ChatSession, reply: str) -> ChatSession:
    """The session with a model that writes this, one byte or tag at a time."""
    ids = session._loaded.tokenizer(reply, add_special_tokens=False)["input_ids"]
    session._tokens = lambda _prompt: iter(ids)  # type: ignore[method-assign]
    return session


def parts(pieces: Iterator[Piece]) -> list[tuple[str, str]]:
    grouped = groupby(pieces, key=lambda piece: piece.kind)
    return [(kind, "".join(piece.text for piece in group)) for kind, group in grouped]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("hello", [("answer", "hello")]),
        ("<think>\na\nb\n</think>\n\nc d", [("reasoning", "a\nb"), ("answer", "c d")]),
        ("\n<think>a", [("reasoning", "a")]),
        ("<think>1 < 2 </ 3</think>x", [("reasoning", "1 < 2 </ 3"), ("answer", "x")]),
        ("a <think> b", [("answer", "a <think> b")]),
        ("caf\u00e9 \U0001f600", [("answer", "caf\u00e9 \U0001f600")]),
        ("", []),
    ],
)
def test_reply_comes_in_parts_without_tags(
    session: ChatSession, reply: str, expected: list[tuple[str, str]]
) -> None:
    assert parts(scripted(session, reply).stream("hi")) == expected


def test_tag_in_several_tokens_is_still_a_tag(session: ChatSession) -> None:
    text = "<think>ab</think>c"
    ids = [
        token
        for letter in text
        for token in session._loaded.tokenizer(letter, add_special_tokens=False)["input_ids"]
    ]
    session._tokens = lambda _prompt: iter(ids)  # type: ignore[method-assign]
    assert parts(session.stream("hi")) == [("reasoning", "ab"), ("answer", "c")]


def test_reasoning_that_the_template_opened_is_reasoning(session: ChatSession) -> None:
    template = str(session._loaded.tokenizer.chat_template)
    session._loaded.tokenizer.chat_template = template.replace(
        "{{ '<|assistant|>' }}", "{{ '<|assistant|><think>\\n' }}"
    )
    pieces = parts(scripted(session, "a</think>b").stream("hi"))
    assert pieces == [("reasoning", "a"), ("answer", "b")]
    assert session.history[-1] == Message("assistant", "b", "a")


def test_pieces_come_as_they_are_written(session: ChatSession) -> None:
    pieces = scripted(session, "one two").stream("hi")
    assert next(pieces) == Piece("answer", "o")


def test_history_holds_both_turns_and_reset_forgets_them(session: ChatSession) -> None:
    list(scripted(session, "<think>\na\n</think>\n\nb").stream("hi"))
    assert session.history == [Message("user", "hi"), Message("assistant", "b", "a")]
    session.reset()
    assert session.history == []


def test_stopped_reply_stays_as_far_as_it_came(session: ChatSession) -> None:
    pieces = scripted(session, "one two").stream("hi")
    next(pieces)
    pieces.close()
    assert session.history == [Message("user", "hi"), Message("assistant", "o")]


def test_interrupt_stops_one_reply_and_the_session_goes_on(session: ChatSession) -> None:
    def interrupted(_prompt: list[int]) -> Iterator[int]:
        raise KeyboardInterrupt
        yield 0

    session._tokens = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        list(session.stream("hi"))
    assert session.history == []
    assert parts(scripted(session, "yes").stream("there?")) == [("answer", "yes")]


def test_greedy_reply_is_that_of_the_completer(tiny_student: Path) -> None:
    session = ChatSession(tiny_student, GREEDY)
    reply = "".join(piece.text for piece in session.stream("2 + 2?"))

    class Once:
        def __init__(self) -> None:
            self.waiting = [Request(Prompt("p", "2 + 2?"), 0)]

        def take(self, n: int) -> list[Request]:
            taken, self.waiting = self.waiting[:n], self.waiting[n:]
            return taken

    completer = students.build(tiny_student, batch_size=4)
    (answer,) = list[Answer](completer.complete(Once(), GREEDY))
    assert completer.model == tiny_student.name
    assert reply == (answer.completion.reasoning or "") + answer.completion.text
    assert session.is_cut == answer.completion.is_truncated


def test_same_seed_says_the_same(tiny_qwen2: Path) -> None:
    sampling = Sampling(temperature=1.0, max_tokens=8, seed=5)
    first, second = (list(ChatSession(tiny_qwen2, sampling).stream("hi")) for _ in range(2))
    assert first == second


def test_conversation_longer_than_the_model_reads_is_refused(session: ChatSession) -> None:
    with pytest.raises(ModelError, match=r"has \d+ tokens, the model reads 512"):
        list(session.stream("x" * 600))


def test_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not a whole model folder"):
        ChatSession(tmp_path, GREEDY)
