"""llama.cpp on one GGUF file: its tokens and what it writes, for checks after an export."""

import json
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from distill.errors import ModelError
from distill.types import Sampling
from students.llama_cpp import serving

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
            # Its own defaults cut the tail that the student is sampled with.
            "top_k": 0,
            "min_p": 0,
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
    return find_spec("xllamacpp") is not None


@contextmanager
def running(path: Path, *, context_tokens: int) -> Iterator[LlamaCpp]:
    """llama.cpp on a file, computing in float32, from its first answer to the end of the block.

    Args:
        path: A GGUF file.
        context_tokens: Prompt and answer together, of each of four requests at once.

    Raises:
        MissingDependencyError: If llama.cpp is not installed.
        ModelError: If it cannot load the file, with its own last words.
    """
    with serving(path, context_tokens=context_tokens, slots=SLOTS, is_exact=True) as server:
        yield LlamaCpp(server.base_url.removesuffix("/v1"))
