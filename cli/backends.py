"""``--backend``: who draws the tokens of a student here, and opening it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.console import note, paint_note
from distill.errors import ModelError, RecipeError

if TYPE_CHECKING:
    from cli.eval_models import ModelChoice
    from distill.types import Completer
    from students.serve.backend import Backend
    from students.serve.choosing import BackendChoice

BackendName = Literal["own", "vllm", "llama.cpp"]
BackendOption = Annotated[
    BackendName | None,
    typer.Option(
        "--backend",
        help="Who draws the tokens.  [default: llama.cpp for a GGUF file; vLLM where it is"
        " installed and the student fits a GPU; else our own engine]",
        show_default=False,
    ),
]
_TOKENS_PER_RECORD = 8
"""Nobody watches the tokens of an evaluation one by one."""
_SHOWN = {"own": "our own engine", "vllm": "vLLM", "llama.cpp": "llama.cpp"}


def chosen_backend(
    choice: "ModelChoice", asked: BackendName | None, context_tokens: int
) -> "BackendChoice":
    """Who draws, of what was asked for and what suits.

    Raises:
        DistillError: If what was asked for does not go with the student, or is not installed.
    """
    from students.serve.choosing import choose_backend

    if choice.path is None:
        raise RecipeError(f"--backend {asked} goes with a student's folder or a GGUF file")
    return choose_backend(choice.path, asked, context_tokens)


@contextmanager
def opened_student(
    choice: "ModelChoice",
    asked: BackendName | None,
    *,
    rows: int,
    context_tokens: int,
    max_tokens: int,
    is_quiet: bool = False,
) -> "Iterator[Backend]":
    """A student that answers, as long as the block lasts; says who draws, and why that one.

    Args:
        choice: The student.
        asked: Who shall draw; ``None`` for what suits.
        rows: Completions that are drawn at once.
        context_tokens: Prompt and answer that must have room.
        max_tokens: New tokens of a completion at most.
        is_quiet: Say it only of what starts slowly.

    Raises:
        DistillError: If it cannot be opened.
    """
    from students.serve.opening import opened_backend

    assert choice.path is not None
    backend = chosen_backend(choice, asked, context_tokens)
    if not is_quiet or backend.name == "vllm":
        note_backend(backend)
    with (
        _hinted(backend),
        opened_backend(
            choice.path,
            choice=backend,
            base=choice.base,
            rows=rows,
            context_tokens=context_tokens,
            max_tokens=max_tokens,
        ) as opened,
    ):
        yield opened


@contextmanager
def opened_vllm(
    choice: "ModelChoice",
    backend: "BackendChoice",
    *,
    rows: int,
    context_tokens: int,
    max_tokens: int,
    kept_log: Path | None = None,
) -> "Iterator[Completer]":
    """A student behind vLLM as something that completes prompts, as long as the block lasts."""
    from engine.folder import folder_fingerprint
    from students.serve.completer import BackendCompleter
    from students.serve.opening import opened_backend

    assert choice.path is not None
    fingerprint = folder_fingerprint(choice.path)
    with (
        _hinted(backend),
        opened_backend(
            choice.path,
            choice=backend,
            rows=rows,
            context_tokens=context_tokens,
            max_tokens=max_tokens,
            tokens_per_record=_TOKENS_PER_RECORD,
            kept_log=kept_log,
        ) as opened,
    ):
        yield BackendCompleter(opened, name=choice.who, fingerprint=fingerprint, rows=rows)


def shown_backend(backend: "BackendChoice") -> str:
    """Who draws, and why that one."""
    return f"{_SHOWN[backend.name]}: {backend.why}"


def note_backend(backend: "BackendChoice") -> None:
    """Say who draws, and why that one."""
    slow = "\nvLLM starts, which takes a minute" if backend.name == "vllm" else ""
    note(paint_note(f"drawn by {shown_backend(backend)}{slow}", "dim"))


@contextmanager
def _hinted(backend: "BackendChoice") -> Iterator[None]:
    """An error of vLLM's comes with the way around it."""
    try:
        yield
    except ModelError as error:
        if backend.name == "vllm" and not error.hint:
            raise ModelError(error.problem, hint="Without vLLM: --backend own") from error
        raise
