"""llama.cpp on one GGUF file: its tokens and what it writes, for checks after an export.

The server runs in a process of its own, from the wheel ``xllamacpp`` (extra ``gguf``), and ends
with its parent, even if that is killed: it watches its standard input.

    python -m students.export.llama_cpp MODEL.gguf CONTEXT_TOKENS
"""

import importlib.util
import json
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from distill.errors import MissingDependencyError, ModelError
from distill.types import Sampling
from students.export.weights import usable_cpus

INSTALL = "pip install 'distill-reasoning[gguf]'"
SLOTS = 4
_ANSWER_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Written:
    """What llama.cpp wrote; ``is_cut`` says whether the limit ended it."""

    text: str
    tokens: int
    is_cut: bool


@dataclass(frozen=True, slots=True)
class Next:
    """The likeliest next token, and the log-probabilities of the likeliest ones.

    ``log_probabilities`` is empty where the token ends within a character: then it is not told.
    """

    token_id: int
    log_probabilities: dict[int, float]


@dataclass(frozen=True, slots=True)
class LlamaCpp:
    """A server that runs; ``url`` is its address."""

    url: str

    def tokens(self, text: str) -> list[int]:
        """The tokens of a text, special ones recognised, nothing added."""
        body = {"content": text, "add_special": False, "parse_special": True}
        return list(self._post("/tokenize", body)["tokens"])

    def prompt(self, text: str) -> str:
        """What its chat template makes of a user's message."""
        body = {"messages": [{"role": "user", "content": text}]}
        return str(self._post("/apply-template", body)["prompt"])

    def next_token(self, token_ids: Sequence[int], *, likeliest: int = 20) -> Next:
        """What it would write next, greedily."""
        body = {
            "prompt": list(token_ids),
            "n_predict": 1,
            "temperature": 0,
            "n_probs": likeliest,
            "return_tokens": True,
            "cache_prompt": True,
        }
        answer = self._post("/completion", body)
        places = answer.get("completion_probabilities", [])
        likely = places[0]["top_logprobs"] if places else []
        found = {each["id"]: each["logprob"] for each in likely}
        return Next(answer["tokens"][0], found)

    def write(self, prompt_ids: Sequence[int], sampling: Sampling) -> Written:
        """Continue a prompt until it ends by itself or reaches the limit."""
        body = {
            "prompt": list(prompt_ids),
            "n_predict": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed,
            "samplers": ["temperature", "top_p"],
            "cache_prompt": False,
        }
        answer = self._post("/completion", body)
        return Written(
            answer["content"], answer["tokens_predicted"], answer["stop_type"] == "limit"
        )

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(
            self.url + path,
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as reply:
                found: dict[str, Any] = json.load(reply)
                return found
        except (OSError, ValueError) as error:
            raise ModelError(f"llama.cpp did not answer {path}: {error}") from error


def is_installed() -> bool:
    """Whether the library is there; it is not loaded for it."""
    return importlib.util.find_spec("xllamacpp") is not None


@contextmanager
def running(path: Path, *, context_tokens: int) -> Iterator[LlamaCpp]:
    """llama.cpp on a file, from its first answer to the end of the block.

    Args:
        path: A GGUF file.
        context_tokens: Prompt and answer together, of each of four requests at once.

    Raises:
        MissingDependencyError: If llama.cpp is not installed.
        ModelError: If it cannot load the file, with its own last words.
    """
    if not is_installed():
        raise MissingDependencyError("llama.cpp is not installed", hint=INSTALL)
    command = [sys.executable, "-m", "students.export.llama_cpp", str(path), str(context_tokens)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    log = _Tail(process.stderr)
    try:
        address = process.stdout.readline().decode().strip()
        if not address:
            raise ModelError(f"{path}: llama.cpp cannot load this file:\n{log.text()}")
        yield LlamaCpp(address)
    finally:
        process.stdin.close()
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        log.close()


class _Tail:
    """Reads what a process says, so that it never waits for a reader, and keeps the end of it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._stream:
            self._lines = [*self._lines[-7:], line.decode(errors="replace").rstrip()]

    def text(self) -> str:
        """The last lines, once the process has ended."""
        self._reader.join(timeout=5)
        return "\n".join(self._lines)

    def close(self) -> None:
        """Wait for the end of the stream."""
        self._reader.join(timeout=5)
        self._stream.close()


def main() -> None:
    """Serve the file until standard input ends."""
    import xllamacpp  # type: ignore[import-untyped, unused-ignore]

    params = xllamacpp.CommonParams()
    params.model.path = sys.argv[1]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_parallel = SLOTS
    params.n_ctx = int(sys.argv[2]) * SLOTS
    params.n_gpu_layers = 0
    params.warmup = False
    # Half precision in the cache and in flash attention moves log-probabilities by 0.02.
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    threads = int(os.environ.get("OMP_NUM_THREADS") or usable_cpus())
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    server = xllamacpp.Server(params)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
