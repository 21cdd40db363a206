"""Opening a student to talk to: which back end, and on a GPU the most precise weights that fit."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch

from distill.errors import ModelError
from engine.completer import end_ids
from engine.folder import LoadedModel
from engine.session import Engine
from students.adapted import is_adapter, load_adapted
from students.catalog import Architecture
from students.export.bits import quantization
from students.load import load_student
from students.memory_run import RunFormat, longest_context, plan_running
from students.memory_source import read_facts
from students.serve.backend import Backend
from students.serve.own import EngineBackend

_LOADED: Final[tuple[RunFormat, ...]] = ("bf16", "int8", "nf4")
"""What our engine can hold weights in on a GPU, most precise first."""


@contextmanager
def opened_backend(
    path: Path, *, base: Path | None = None, rows: int, context_tokens: int, max_tokens: int
) -> Iterator[Backend]:
    """Load a student, or start llama.cpp with it, as long as the block.

    Args:
        path: Folder of a model or of an adapter, or a GGUF file.
        base: Of an adapter, if it does not name it.
        rows: Completions that are drawn at once.
        context_tokens: Prompt and answer that must have room, each; a GGUF file gets as many.
        max_tokens: New tokens of a completion at most.

    Raises:
        ModelError: If it cannot be loaded, or the GPU is too small for it.
        MissingDependencyError: If a GGUF file is given and llama.cpp is not installed.
    """
    if path.suffix == ".gguf":
        from students.llama_cpp import serving
        from students.serve.llama_cpp import LlamaCppBackend

        with serving(path, context_tokens=context_tokens, slots=rows) as server:
            yield LlamaCppBackend(server, min(max_tokens, context_tokens))
        return
    loaded = load_adapted(path, base) if is_adapter(path) else _loaded(path, context_tokens)
    ends = end_ids(loaded.model, loaded.tokenizer)
    backend = EngineBackend(
        Engine(loaded.model, end_ids=ends, most_rows=rows), loaded.tokenizer, max_tokens
    )
    try:
        yield backend
    finally:
        backend.close()


def _loaded(folder: Path, context_tokens: int) -> LoadedModel:
    if not torch.cuda.is_available() or not (folder / "config.json").is_file():
        return load_student(folder)
    free_bytes, _all = torch.cuda.mem_get_info()
    format_ = format_that_fits(read_facts(folder / "config.json"), context_tokens, free_bytes)
    options: dict[str, Any] = {"dtype": torch.bfloat16}
    if format_ != "bf16":
        options["quantization"] = quantization("nf4" if format_ == "nf4" else "int8")
    return load_student(folder, **options)


def format_that_fits(facts: Architecture, context_tokens: int, free_bytes: int) -> RunFormat:
    """The most precise weights that leave room for a context.

    Raises:
        ModelError: If none does; says what would.
    """
    wanted = min(context_tokens, facts.context_tokens or context_tokens)
    for format_ in _LOADED:
        if plan_running(facts, format_, wanted).total <= free_bytes:
            return format_
    need = plan_running(facts, "nf4", wanted).total
    shorter = longest_context(facts, "nf4", free_bytes)
    fits = f"--context {shorter} would fit" if shorter else "`distill fit STUDENT --run` lists more"
    raise ModelError(
        f"the GPU has {free_bytes / 1024**3:.1f} GiB free; in 4 bits with a context of {wanted:,}"
        f" tokens this student needs {need / 1024**3:.1f} GiB",
        hint=f"{fits}; or hide the GPU (CUDA_VISIBLE_DEVICES=) and use a GGUF file",
    )
