"""Opening a student to talk to: which back end, and on a GPU the most precise weights that fit."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from distill.errors import ModelError
from engine.completer import end_ids
from engine.folder import LoadedModel, load_tokenizer
from engine.session import Engine
from students.adapted import is_adapter, load_adapted
from students.catalog import Architecture
from students.export.bits import quantization
from students.load import folder_end_ids, load_student
from students.memory_run import RunFormat, longest_context, plan_running
from students.memory_source import read_facts
from students.serve.backend import Backend
from students.serve.choosing import BackendChoice, choose_backend
from students.serve.own import EngineBackend

_LOADED: Final[tuple[RunFormat, ...]] = ("bf16", "int8", "nf4")
"""What our engine can hold weights in on a GPU, most precise first."""


@contextmanager
def opened_backend(
    path: Path,
    *,
    choice: BackendChoice | None = None,
    base: Path | None = None,
    rows: int,
    context_tokens: int,
    max_tokens: int,
    tokens_per_record: int = 1,
    kept_log: Path | None = None,
) -> Iterator[Backend]:
    """Load a student, or start what serves it, as long as the block lasts.

    Args:
        path: Folder of a model or of an adapter, or a GGUF file.
        choice: Which back end; by default the one that suits.
        base: Of an adapter, if it does not name it.
        rows: Completions that are drawn at once.
        context_tokens: Prompt and answer that must have room, each; vLLM and llama.cpp get no more.
        max_tokens: New tokens of a completion at most.
        tokens_per_record: Tokens that vLLM brings at a time: more cost less, and come later.
        kept_log: Where the log of vLLM or llama.cpp is kept if it fails.

    Raises:
        ModelError: If it cannot be loaded, or the GPU is too small for it.
        MissingDependencyError: If a GGUF file is given and llama.cpp is not installed.
    """
    choice = choice or choose_backend(path, None, context_tokens)
    sizes = _Sizes(rows, context_tokens, max_tokens, tokens_per_record)
    if choice.name == "llama.cpp":
        opened: AbstractContextManager[Backend] = _llama_cpp(path, sizes, kept_log)
    elif choice.name == "vllm":
        opened = _vllm(path, sizes, kept_log)
    else:
        opened = _own(path, base, sizes)
    with opened as backend:
        yield backend


@dataclass(frozen=True, slots=True)
class _Sizes:
    rows: int
    context_tokens: int
    max_tokens: int
    tokens_per_record: int


@contextmanager
def _llama_cpp(path: Path, sizes: _Sizes, kept_log: Path | None) -> Iterator[Backend]:
    from students.llama_cpp import serving
    from students.serve.llama_cpp import LlamaCppBackend

    with serving(
        path, context_tokens=sizes.context_tokens, slots=sizes.rows, kept_log=kept_log
    ) as server:
        yield LlamaCppBackend(server, min(sizes.max_tokens, sizes.context_tokens))


@contextmanager
def _vllm(folder: Path, sizes: _Sizes, kept_log: Path | None) -> Iterator[Backend]:
    from students.serve.vllm import VllmBackend
    from students.vllm import serving

    tokenizer = load_tokenizer(folder)
    facts = read_facts(folder / "config.json")
    context = min(sizes.context_tokens, facts.context_tokens or sizes.context_tokens)
    with serving(
        folder,
        facts,
        context_tokens=context,
        rows=sizes.rows,
        tokens_per_record=sizes.tokens_per_record,
        kept_log=kept_log,
    ) as server:
        yield VllmBackend(
            server,
            tokenizer,
            end_ids=folder_end_ids(folder, tokenizer),
            context_tokens=context,
            max_tokens=sizes.max_tokens,
        )


@contextmanager
def _own(path: Path, base: Path | None, sizes: _Sizes) -> Iterator[Backend]:
    context = sizes.context_tokens
    loaded = load_adapted(path, base) if is_adapter(path) else _loaded(path, context)
    ends = end_ids(loaded.model, loaded.tokenizer)
    backend = EngineBackend(
        Engine(loaded.model, end_ids=ends, most_rows=sizes.rows), loaded.tokenizer, sizes.max_tokens
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
