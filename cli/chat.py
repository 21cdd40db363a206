"""``distill chat``: a conversation with a student in the terminal."""

import shutil
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import is_terminal, note, paint, print_error, say

if TYPE_CHECKING:
    from students.chat import ChatSession

_COMMANDS = {"/help": "show this", "/reset": "forget what was said", "/quit": "leave (or Ctrl-D)"}


def chat(
    student: Annotated[
        Path,
        typer.Argument(
            metavar="STUDENT", help="Folder of a model, or of a run.", show_default=False
        ),
    ],
    *,
    temperature: Annotated[
        float, typer.Option(min=0.0, help="Spread of the draws; 0 is greedy.")
    ] = 0.6,
    top_p: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="Share of the probability drawn from.")
    ] = 0.95,
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens of a reply at most.")] = 4096,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same replies.")] = 0,
) -> None:
    """Talk to a student in the terminal.

    The reply comes as it is written, its reasoning dimmed. Ctrl-C stops a reply. Without a
    terminal, every line of stdin is a message.

    Example: distill chat runs/quickstart/student
    """
    from distill.types import Sampling
    from students.chat import ChatSession

    folder = student / "student" if (student / "manifest.json").is_file() else student
    session = ChatSession(folder, Sampling(temperature, top_p, max_tokens, seed))
    if is_terminal(sys.stdin):
        _greet(folder)
    for message in _messages():
        if message in _COMMANDS:
            if message == "/quit":
                break
            _obey(message, session)
        elif message.startswith("/"):
            note(f"no command {message}; there are {', '.join(_COMMANDS)}")
        else:
            _reply(session, message)


def _greet(folder: Path) -> None:
    note(f"{folder}; /help shows the commands")
    held_out = folder.parent / "prompts" / "eval.jsonl"
    if held_out.is_file():
        from distill.prompts import read_prompts

        columns = shutil.get_terminal_size().columns
        note(textwrap.fill(f"for example: {read_prompts(held_out)[0].text}", columns))


def _messages() -> Iterator[str]:
    """What the user says, line by line; ends with the input, or with Ctrl-C twice in a row."""
    is_watched = is_terminal(sys.stdin)
    if is_watched:
        import readline  # noqa: F401 - gives input() its line editing

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


def _obey(command: str, session: "ChatSession") -> None:
    if command == "/reset":
        session.reset()
        note("forgotten")
    else:
        note("\n".join(f"{name:<7} {meaning}" for name, meaning in _COMMANDS.items()))


def _reply(session: "ChatSession", message: str) -> None:
    """Show one reply as it comes."""
    from distill.errors import ModelError

    kind = ""
    try:
        for piece in session.stream(message):
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
