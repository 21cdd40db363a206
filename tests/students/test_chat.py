"""A conversation: what the student is asked, what stays of a reply, and that it is the engine's."""

from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest

import students
from distill.errors import ModelError
from distill.types import Answer, Message, Prompt, Request, Sampling
from students.catalog import find_student
from students.chat import ChatSession, ChatSettings, Piece
from students.serve.backend import ChatRequest, Delta, End, RequestError
from students.serve.opening import format_that_fits, opened_backend


class Scripted:
    """A back end that says what it is told to, and keeps what it was asked."""

    name = "scripted"
    running = 0
    drawn_tokens = 0

    def __init__(self) -> None:
        self.reply: list[Delta | BaseException] = []
        self.finish = "stop"
        self.asked: list[ChatRequest] = []
        self.closed = 0

    async def complete(
        self, request: ChatRequest, choice: int
    ) -> AsyncGenerator[Delta | End, None]:
        del choice
        self.asked.append(request)
        try:
            for item in self.reply:
                if isinstance(item, BaseException):
                    raise item
                yield item
            yield End("length" if self.finish == "length" else "stop", 1, 2, 1)
        finally:
            self.closed += 1

    def fault(self) -> str:
        return ""

    def close(self) -> None:
        pass


@pytest.fixture
def backend() -> Scripted:
    found = Scripted()
    found.reply = [Delta("reasoning", "a"), Delta("answer", "b"), Delta("answer", "c")]
    return found


@pytest.fixture
def session(backend: Scripted) -> ChatSession:
    return ChatSession(backend, ChatSettings(temperature=0.3, max_tokens=7, seed=5))


def test_history_holds_both_turns_and_reset_forgets_them(session: ChatSession) -> None:
    assert list(session.stream("hi")) == [
        Piece("reasoning", "a"),
        Piece("answer", "b"),
        Piece("answer", "c"),
    ]
    assert session.history == [Message("user", "hi"), Message("assistant", "bc", "a")]
    assert not session.is_cut
    session.reset()
    assert session.history == []


def test_the_whole_conversation_and_the_settings_are_asked_for(
    session: ChatSession, backend: Scripted
) -> None:
    list(session.stream("hi"))
    session.settings.system = "Be short."
    session.settings.temperature = 1.0
    list(session.stream("and?"))
    first, second = backend.asked
    assert (first.temperature, first.max_tokens, first.seed) == (0.3, 7, 5)
    assert second.temperature == 1.0
    assert [turn.role for turn in second.messages] == ["system", "user", "assistant", "user"]


def test_stopped_reply_stays_as_far_as_it_came(session: ChatSession, backend: Scripted) -> None:
    pieces: Iterator[Piece] = session.stream("hi")
    next(pieces)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert session.history == [Message("user", "hi"), Message("assistant", "b", "a")]
    assert backend.closed == 1  # what ran for it was told to stop


def test_a_reply_that_reached_the_limit_says_so(session: ChatSession, backend: Scripted) -> None:
    backend.finish = "length"
    list(session.stream("hi"))
    assert session.is_cut


def test_interrupt_stops_one_reply_and_the_session_goes_on(
    session: ChatSession, backend: Scripted
) -> None:
    reply, backend.reply = backend.reply, [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        list(session.stream("hi"))
    assert session.history == []
    backend.reply = reply
    assert [piece.text for piece in session.stream("there?")] == ["a", "b", "c"]


def test_a_conversation_that_cannot_be_read_is_refused(
    session: ChatSession, backend: Scripted
) -> None:
    backend.reply = [RequestError("the conversation has 600 tokens")]
    with pytest.raises(ModelError, match="has 600 tokens") as refused:
        list(session.stream("hi"))
    assert refused.value.hint == "start a new conversation"
    assert session.history == []


def test_greedy_reply_is_that_of_the_completer(tiny_student: Path) -> None:
    with opened_backend(tiny_student, rows=1, context_tokens=64, max_tokens=12) as backend:
        session = ChatSession(backend, ChatSettings(temperature=0, max_tokens=12))
        reply = "".join(piece.text for piece in session.stream("2 + 2?"))

    class Once:
        def __init__(self) -> None:
            self.waiting = [Request(Prompt("p", "2 + 2?"), 0)]

        def take(self, n: int) -> list[Request]:
            taken, self.waiting = self.waiting[:n], self.waiting[n:]
            return taken

    completer = students.build(tiny_student, batch_size=4)
    greedy = Sampling(temperature=0, max_tokens=12)
    (answer,) = list[Answer](completer.complete(Once(), greedy))
    assert reply == (answer.completion.reasoning or "") + answer.completion.text
    assert session.is_cut == answer.completion.is_truncated


def test_same_seed_says_the_same_and_a_long_conversation_is_refused(tiny_qwen2: Path) -> None:
    settings = ChatSettings(temperature=1.0, max_tokens=8, seed=5)
    with opened_backend(tiny_qwen2, rows=1, context_tokens=64, max_tokens=8) as backend:
        first, second = (list(ChatSession(backend, settings).stream("hi")) for _ in range(2))
        assert first == second
        with pytest.raises(ModelError, match=r"has \d+ tokens; this server reads 511 at most"):
            list(ChatSession(backend, settings).stream("x" * 600))


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(ModelError, match="not a whole model folder"),
        opened_backend(tmp_path, rows=1, context_tokens=64, max_tokens=8),
    ):
        pass


def test_a_gpu_gets_the_most_precise_weights_that_fit() -> None:
    facts = find_student("Qwen/Qwen2.5-7B").architecture
    gib = 1024**3
    formats = [format_that_fits(facts, 8192, free * gib) for free in (24, 11, 8)]
    assert formats == ["bf16", "int8", "nf4"]
    with pytest.raises(ModelError, match=r"the GPU has 4\.0 GiB free"):
        format_that_fits(facts, 8192, 4 * gib)
    with pytest.raises(ModelError) as refused:
        format_that_fits(facts, 32_768, 7 * gib)
    assert "--context" in refused.value.hint
