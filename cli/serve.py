"""``distill serve``: a student behind the OpenAI API."""

import asyncio
import os
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import typer

from cli.backends import BackendOption, opened_student
from cli.console import note

_KEY_VARIABLE = "DISTILL_API_KEY"


def serve(
    student: Annotated[
        str,
        typer.Argument(
            metavar="STUDENT",
            help="Folder of a student, an adapter or a run, or a GGUF file.",
            show_default=False,
        ),
    ],
    *,
    host: Annotated[str, typer.Option(help="Address to listen at; a key is asked elsewhere.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes any free one.")] = 8000,
    name: Annotated[
        str | None, typer.Option("--name", help="Model name that clients ask for.")
    ] = None,
    backend: BackendOption = None,
    base: Annotated[
        Path | None, typer.Option("--base", help="Base of an adapter, if it does not name it.")
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option("--api-key-file", help=f"File with the API key; else {_KEY_VARIABLE}."),
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Completions drawn at once.")] = 16,
    queue: Annotated[int, typer.Option(min=1, help="Completions under way or waiting.")] = 256,
    max_tokens: Annotated[int, typer.Option(min=1, help="New tokens at most.")] = 32_768,
    context: Annotated[
        int, typer.Option("--context", min=16, help="Prompt and answer that must have room, each.")
    ] = 8192,
    stall_seconds: Annotated[
        float, typer.Option(min=1, help="Without a token, after which /health says so.")
    ] = 60.0,
) -> None:
    """Serve a student with the OpenAI API.

    /v1/chat/completions with streaming, n, stop, seed, logprobs and reasoning_content; /v1/models;
    /health, which is well while tokens advance; /metrics for Prometheus. Ctrl-C and SIGTERM let
    what is under way end.

    Example: distill serve runs/quickstart/student --port 8000
    """
    from cli.eval_models import find_model
    from distill.errors import ModelError
    from students.serve.app import Limits, StudentServer
    from students.serve.run import run_server

    key = _key(host, key_file)
    choice = find_model(student, base=base)
    if choice.path is None:
        raise ModelError(
            f"{student} is behind an endpoint already",
            hint="serve a student's folder, an adapter, a run or a GGUF file",
        )
    limits = Limits(choices=queue, max_tokens=max_tokens, stall_seconds=stall_seconds)
    with opened_student(
        choice,
        backend,
        rows=concurrency,
        context_tokens=context,
        max_tokens=max_tokens,
    ) as opened:
        model = name or choice.label.removesuffix("-student")
        server = StudentServer(opened, model, limits, key)

        def ready(url: str) -> None:
            note(f"{model} at {url} ({opened.name}, {concurrency} at once)")
            note("Ctrl-C ends it; what is under way is answered first")

        asyncio.run(run_server(server, host, port, on_ready=ready))
    note("ended")


def _key(host: str, key_file: Path | None) -> str:
    """The API key; one is needed where others can reach the server."""
    from distill.errors import RecipeError
    from distill.storage import storage_errors

    if key_file is not None:
        with storage_errors(key_file):
            key = key_file.read_text(encoding="utf-8").strip()
        if not key:
            raise RecipeError(f"--api-key-file {key_file}: the file is empty")
        return key
    key = os.environ.get(_KEY_VARIABLE, "").strip()
    if not key and not _is_local(host):
        raise RecipeError(
            f"--host {host} lets others in, and there is no API key",
            hint=f"set {_KEY_VARIABLE}, or --api-key-file FILE; or listen at 127.0.0.1",
        )
    return key


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
