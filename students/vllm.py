"""A student behind vLLM's own server, on 127.0.0.1, for as long as a block lasts.

vLLM is a program and not a library here: it pins its own torch and transformers, so it lives in an
environment of its own, and its ``vllm`` is named or found. It reads and writes token ids; chat
template, text and stop texts are ours (``students.serve.reply``).
"""

import math
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import torch

from engine.server_process import RunningServer, free_port, running_server
from engine.vllm_program import require_vllm, serve_command, whole_prompts
from students.catalog import Architecture
from students.memory_run import plan_running

MODEL: Final = "student"
"""What its requests call the model."""
_READY_SECONDS: Final = 1200.0  # it compiles kernels at its first start on a machine
_GPU_SHARE: Final = 0.92
_MEMORY_SHARE: Final = 4
_GIB: Final = 1024**3


@contextmanager
def serving(
    folder: Path,
    facts: Architecture,
    *,
    context_tokens: int,
    rows: int,
    tokens_per_record: int = 1,
    kept_log: Path | None = None,
) -> Iterator[RunningServer]:
    """Serve a student's folder for as long as the block lasts.

    Args:
        folder: Of a whole model.
        facts: What it is built like.
        context_tokens: Prompt and answer of one completion, at most what the model was made for.
        rows: Completions that are drawn at once.
        tokens_per_record: Tokens that a stream brings at a time: more cost less, and come later.
        kept_log: Where its log is kept if it fails.

    Raises:
        ModelError: If it does not start, with its own last words.
        MissingDependencyError: If it is not installed.
    """
    program, port, key = require_vllm(), free_port(), secrets.token_hex(16)
    sizes = {
        "--port": port,
        "--max-model-len": context_tokens,
        "--max-num-seqs": rows,
        "--stream-interval": tokens_per_record,
    }
    command = [
        *serve_command(program, str(folder)),
        *("--served-model-name", MODEL, "--host", "127.0.0.1"),
        *(word for name, size in sizes.items() for word in (name, str(size))),
        *_computing(context_tokens),
        *("--generation-config", "vllm"),  # or settings of the folder would be mixed into ours
        "--disable-uvicorn-access-log",
    ]
    environment = {
        "VLLM_API_KEY": key,
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "PYTHONUNBUFFERED": "1",
        **_cpu_room(facts, context_tokens, rows),
    }
    root = f"http://127.0.0.1:{port}"
    with running_server(
        command,
        environment,
        f"{root}/health",
        name="vLLM",
        ready_seconds=_READY_SECONDS,
        kept=kept_log,
    ) as process:
        yield RunningServer(f"{root}/v1", process, key)


def _computing(context_tokens: int) -> list[str]:
    """The precision in which our engine computes; on a GPU, the memory that is free."""
    if not torch.cuda.is_available():
        return ["--dtype", "float32", *whole_prompts(context_tokens)]
    free_bytes, all_bytes = torch.cuda.mem_get_info()
    share = math.floor(100 * _GPU_SHARE * free_bytes / all_bytes) / 100
    return ["--dtype", "bfloat16", "--gpu-memory-utilization", str(share)]


def _cpu_room(facts: Architecture, context_tokens: int, rows: int) -> dict[str, str]:
    """Without a GPU, whole GiB for keys and values; what the user has set holds."""
    name = "VLLM_CPU_KVCACHE_SPACE"
    if torch.cuda.is_available() or name in os.environ:
        return {}
    one = 2 * plan_running(facts, "bf16", context_tokens).cache  # float32 takes twice as much
    all_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    room = max(one, min(rows * one, all_bytes // _MEMORY_SHARE))
    return {name: str(math.ceil(room / _GIB))}
