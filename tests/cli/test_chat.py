import io
import json
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
    assert "/reset   forget what was said" in shown.err
    assert "no command /rest; there are /help, /show, /system, /temp, /save, /reset, /quit" in (
        shown.err
    )


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
    assert f"there is no model '{tmp_path / 'nothing'}' here" in shown.err


def test_settings_change_and_the_conversation_is_saved_as_training_data(
    invoke: Invoke, tiny_job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "/temp 0\n/temp 9\n/system Be short.\nhi\n/save talk.jsonl\n/save\n/save no/such/file\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(said))
    shown = invoke("chat", tiny_job / "base", "--max-tokens", "3")
    assert shown.code == 0
    assert shown.err.count("temperature 0;") == 2
    assert "3 turns in talk.jsonl" in shown.err
    assert "no/such" in shown.err
    turns = json.loads((tmp_path / "talk.jsonl").read_text())["messages"]
    assert [turn["role"] for turn in turns] == ["system", "user", "assistant"]


def test_folded_reasoning_leaves_one_line_and_show_unfolds_it(
    invoke: Invoke, tiny_job: Path, scripted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("one\n"))
    shown = invoke("chat", tiny_job / "base", "--reasoning", "fold")
    last = shown.out.split("\x1b[K")[-1]
    assert last.startswith("(thought 2 words in ")
    assert "you said one" in last
    monkeypatch.setattr("sys.stdin", io.StringIO("one\n"))
    assert "I wonder" not in invoke("chat", tiny_job / "base", "--reasoning", "hide").out
    assert invoke("chat", tiny_job / "base", "--reasoning", "maybe").code == 2
