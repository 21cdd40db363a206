"""``distill chat``: a conversation with a student in the terminal."""

import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.backends import BackendOption, opened_student
from cli.console import is_terminal, note, paint, print_error, say

if TYPE_CHECKING:
    from students.chat import ChatSession


def chat(
    student: Annotated[
        str,
        typer.Argument(
            metavar="STUDENT",
            help="Folder of a student, an adapter or a run, or a GGUF file.",
            show_default=False,
        ),
    ],
    *,
    system: Annotated[str, typer.Option(help="What the student is told first.")] = "",
    temperature: Annotated[
        float, typer.Option(min=0.0, max=2.0, help="Spread of the draws; 0 is greedy.")
    ] = 0.6,
    top_p: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="Share of the probability drawn from.")
    ] = 0.95,
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens of a reply at most.")] = 4096,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same replies.")] = 0,
    context: Annotated[
        int, typer.Option("--context", min=16, help="Prompt and answer that must have room.")
    ] = 8192,
    backend: BackendOption = None,
    base: Annotated[
        Path | None, typer.Option("--base", help="Base of an adapter, if it does not name it.")
    ] = None,
    reasoning: Annotated[
        str, typer.Option(help="fold, show or hide; folded on a terminal, else shown.")
    ] = "",
) -> None:
    """Talk to a student in the terminal.

    The reply comes as it is written; its reasoning runs past dimmed and is folded, /show unfolds
    it. Ctrl-C stops a reply. Without a terminal, every line of stdin is a message.

    Example: distill chat runs/quickstart/student
    """
    from cli.eval_models import find_model
    from distill.errors import ModelError, RecipeError
    from students.chat import ChatSession, ChatSettings

    if reasoning not in {"", "fold", "show", "hide"}:
        raise RecipeError(f"--reasoning {reasoning}: it must be fold, show or hide")
    choice = find_model(student, base=base)
    if choice.path is None:
        raise ModelError(
            f"{student} is no model on this machine",
            hint="talk to a student's folder, an adapter, a run or a GGUF file",
        )
    is_watched = is_terminal(sys.stdin)
    if is_watched:
        note(f"loading {choice.path}")
    with opened_student(
        choice,
        backend,
        rows=1,
        context_tokens=context,
        max_tokens=max_tokens,
        is_quiet=not is_watched,
    ) as opened:
        settings = ChatSettings(temperature, top_p, max_tokens, seed, system)
        session = ChatSession(opened, settings)
        if is_watched:
            _greet(choice.path)
        shown = reasoning or ("fold" if is_terminal(sys.stdout) else "show")
        for message in _messages():
            if message.startswith("/"):
                if not _obey(message, session):
                    break
            else:
                _reply(session, message, shown)


def _greet(folder: Path) -> None:
    note("/help shows the commands")
    held_out = folder.parent / "prompts" / "eval.jsonl"
    if held_out.is_file():
        from distill.prompts import read_prompts

        width = shutil.get_terminal_size().columns
        note(textwrap.fill(f"for example: {read_prompts(held_out)[0].text}", width))


def _messages() -> Iterator[str]:
    """What the user says, line by line; ends with the input, or with Ctrl-C twice in a row."""
    is_watched = is_terminal(sys.stdin)
    if is_watched:
        import readline  # noqa: F401 - gives input() its line editing and its history

    was_stopped = False
    while True:
        try:
            line = input("\nyou> " if is_watched else "")
        except EOFError:
            if is_watched:
                say()
            return
        except KeyboardInterrupt:
            if was_stopped or not is_watched:
                raise
            note("\n/quit or Ctrl-D leaves, and so does another Ctrl-C")
            was_stopped = True
            continue
        was_stopped = False
        if line.strip():
            yield line.strip()


def _obey(line: str, session: "ChatSession") -> bool:
    """Do what a line that begins with a slash says; whether the conversation goes on."""
    name, _, rest = line.partition(" ")
    if name == "/quit":
        return False
    if name in _COMMANDS:
        _COMMANDS[name][1](session, rest.strip())
    else:
        note(f"no command {name}; there are {', '.join([*_COMMANDS, '/quit'])}")
    return True


def _help(session: "ChatSession", rest: str) -> None:
    del session, rest
    rows = {name: meaning for name, (meaning, _do) in _COMMANDS.items()}
    rows["/quit"] = "leave (or Ctrl-D)"
    width = max(map(len, rows))
    note("\n".join(f"{name:<{width}}  {meaning}" for name, meaning in rows.items()))


def _reset(session: "ChatSession", rest: str) -> None:
    del rest
    session.reset()
    note("forgotten")


def _system(session: "ChatSession", rest: str) -> None:
    session.settings.system = rest
    note(f"system: {rest}" if rest else "no system message")


def _temp(session: "ChatSession", rest: str) -> None:
    try:
        value = float(rest)
    except ValueError:
        value = -1.0
    if 0 <= value <= 2:  # noqa: PLR2004 - what the option takes
        session.settings.temperature = value
    note(f"temperature {session.settings.temperature:g}; /temp takes a number from 0 to 2")


def _show(session: "ChatSession", rest: str) -> None:
    del rest
    thoughts = [turn.reasoning for turn in session.history if turn.reasoning]
    say(paint(thoughts[-1], "dim") if thoughts else "no reasoning so far")


def _save(session: "ChatSession", rest: str) -> None:
    """Write the conversation as training data: one line that every stage here reads."""
    import json

    from distill.errors import StorageError
    from distill.storage import write_atomically

    if not rest:
        note("/save FILE writes the conversation there, as JSONL that `distill train --data` reads")
        return
    messages = [
        {
            "role": turn.role,
            "content": turn.content,
            **({"reasoning_content": turn.reasoning} if turn.reasoning else {}),
        }
        for turn in session.messages()
    ]
    line = json.dumps({"messages": messages}, ensure_ascii=False)
    try:
        write_atomically(Path(rest).expanduser(), f"{line}\n".encode())
    except StorageError as error:
        print_error(error.problem, error.hint)
        return
    note(f"{len(messages)} turns in {rest}")


_COMMANDS: dict[str, tuple[str, Callable[["ChatSession", str], None]]] = {
    "/help": ("show this", _help),
    "/show": ("the reasoning of the last reply", _show),
    "/system": ("what the student is told first: /system TEXT", _system),
    "/temp": ("spread of the draws: /temp 0.6", _temp),
    "/save": ("write the conversation: /save FILE", _save),
    "/reset": ("forget what was said", _reset),
}


def _reply(session: "ChatSession", message: str, shown: str) -> None:
    """Show one reply as it comes."""
    from distill.errors import ModelError

    kind = ""
    folded = _Folded() if shown == "fold" else None
    try:
        for piece in session.stream(message):
            if piece.kind == "reasoning" and shown != "show":
                if folded is not None:
                    folded.add(piece.text)
                continue
            if folded is not None:
                folded.end()
                folded = None
            if piece.kind != kind:
                say("\n" if kind else "")
                kind = piece.kind
            sys.stdout.write(paint(piece.text, "dim") if kind == "reasoning" else piece.text)
            sys.stdout.flush()
        say()
        if session.is_cut:
            note("(cut: the reply reached the token limit)")
    except KeyboardInterrupt:
        say()
        note("(stopped)")
    except ModelError as error:
        print_error(error.problem, "/reset starts a new conversation")
    finally:
        if folded is not None:
            folded.end()


class _Folded:
    """Reasoning that runs past in one dimmed line, and leaves one about itself."""

    def __init__(self) -> None:
        self._text = ""
        self._started = time.monotonic()
        self._is_ended = False

    def add(self, text: str) -> None:
        """Show the newest of it."""
        self._text = f"{self._text}{text}"
        width = max(shutil.get_terminal_size().columns - 2, 10)
        newest = " ".join(self._text.split())[-width:]
        sys.stdout.write(f"\r\x1b[K{paint(newest, 'dim')}")
        sys.stdout.flush()

    def end(self) -> None:
        """Put one line in its place."""
        if self._text and not self._is_ended:
            seconds = time.monotonic() - self._started
            words = len(self._text.split())
            line = f"(thought {words:,} words in {seconds:.1f} s; /show unfolds)"
            sys.stdout.write(f"\r\x1b[K{paint(line, 'dim')}\n")
            sys.stdout.flush()
        self._is_ended = True
