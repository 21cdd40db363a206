import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.text_stream import Piece
from students.chat import ChatSession
from tests.cli.conftest import Invoke


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replies are what was said, with one thought before; returns what was forgotten."""
    forgotten: list[str] = []

    def stream(self: ChatSession, text: str) -> Iterator[Piece]:
        yield Piece("reasoning", "I wonder")
        if text == "stop me":
            raise KeyboardInterrupt
        yield Piece("answer", f"you said {text}")

    monkeypatch.setattr(ChatSession, "stream", stream)
    monkeypatch.setattr(ChatSession, "reset", lambda self: forgotten.append("all"))
    return forgotten


def test_every_line_of_a_pipe_is_a_message(
    invoke: Invoke, tiny_job: Path, scripted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("one\n\n  two  \n"))
    shown = invoke("chat", tiny_job / "base")
    assert shown.code == 0
    assert [line for line in shown.out.splitlines() if line] == [
        "I wonder",
        "you said one",
        "I wonder",
        "you said two",
    ]


def test_ctrl_c_stops_one_reply_and_the_conversation_goes_on(
    invoke: Invoke, tiny_job: Path, scripted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("stop me\ngo on\n"))
    shown = invoke("chat", tiny_job / "base")
    assert shown.code == 0
    assert "(stopped)" in shown.err
    assert "you said go on" in shown.out


def test_commands_are_obeyed_and_unknown_ones_named(
    invoke: Invoke, tiny_job: Path, scripted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("/help\n/reset\n/rest\n/quit\nnever\n"))
    shown = invoke("chat", tiny_job / "base")
    assert shown.out == ""
    assert scripted == ["all"]
    assert "/reset  forget what was said" in shown.err
    assert "no command /rest; there are /help, /reset, /quit" in shown.err


def test_a_run_folder_stands_for_its_student(
    invoke: Invoke, finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("What is 2 + 2?\n"))
    shown = invoke("chat", finished_run / "runs/tiny", "--max-tokens", "4")
    assert shown.code == 0
    assert "cut" in shown.err


def test_a_folder_without_a_model_is_named(invoke: Invoke, tmp_path: Path) -> None:
    shown = invoke("chat", tmp_path / "nothing")
    assert shown.code == 6
    assert f"{tmp_path / 'nothing'}: no such folder" in shown.err
