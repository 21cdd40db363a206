"""Which program draws a student's tokens, and why that one."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from distill.errors import ModelError
from engine.vllm_program import find_vllm, require_vllm
from students.adapted import is_adapter
from students.memory_run import plan_running
from students.memory_source import read_facts

BackendName = Literal["own", "vllm", "llama.cpp"]


@dataclass(frozen=True, slots=True)
class BackendChoice:
    """The back end of a student, and what to tell the user of it."""

    name: BackendName
    why: str


def choose_backend(path: Path, asked: BackendName | None, context_tokens: int) -> BackendChoice:
    """The back end that is asked for, else the one that suits.

    A GGUF file is for llama.cpp. A folder is for vLLM where it is installed and its weights fit a
    GPU as they are, and for our own engine otherwise.

    Args:
        path: Folder of a model or of an adapter, or a GGUF file.
        asked: What the user wants; ``None`` for what suits.
        context_tokens: Prompt and answer that must have room.

    Raises:
        ModelError: If the student is not one for what is asked.
        MissingDependencyError: If that is not installed.
    """
    if path.suffix == ".gguf":
        if asked not in {None, "llama.cpp"}:
            raise ModelError(
                f"--backend {asked} reads folders, and {path} is a GGUF file",
                hint="leave --backend out, or name the folder that it was made of",
            )
        return BackendChoice("llama.cpp", "a GGUF file is its format")
    if asked == "llama.cpp":
        raise ModelError(
            f"--backend llama.cpp reads GGUF files, and {path} is a folder",
            hint=f"distill export {path} --to DIR --format gguf",
        )
    if asked == "own":
        return BackendChoice("own", "it was asked for")
    unsuited = _unsuited(path)
    if asked == "vllm":
        if unsuited:
            raise ModelError(f"--backend vllm: {path} {unsuited}", hint="take --backend own")
        return BackendChoice("vllm", f"it was asked for, and is {require_vllm()}")
    why_not = _why_not_vllm(path, context_tokens, unsuited)
    if why_not:
        return BackendChoice("own", why_not)
    return BackendChoice("vllm", "it is installed, and the student fits the GPU in bf16")


def _unsuited(folder: Path) -> str:
    """Why vLLM cannot serve a folder, as the rest of a sentence; empty if it can."""
    if is_adapter(folder):
        return "is an adapter; merged (`distill export`) it would serve it"
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "has no config.json that can be read"
    return "holds quantised weights" if config.get("quantization_config") else ""


def _why_not_vllm(folder: Path, context_tokens: int, unsuited: str) -> str:
    """Why our own engine is taken where the user does not say; empty for vLLM."""
    if find_vllm() is None:
        return "vLLM is not installed"
    if unsuited:
        return f"this {unsuited}"
    if not torch.cuda.is_available():
        return "there is no GPU; --backend vllm takes vLLM all the same"
    try:
        facts = read_facts(folder / "config.json")
    except ModelError:
        return "vLLM is taken for Qwen2, Qwen3 and Llama only"
    wanted = min(context_tokens, facts.context_tokens or context_tokens)
    free_bytes, _all = torch.cuda.mem_get_info()
    if plan_running(facts, "bf16", wanted).total > free_bytes:
        return "in bf16 the student does not fit the GPU, and our own engine holds it in fewer bits"
    return ""
