"""vLLM as a back end: it draws token ids from token ids, everything else is ours."""

import hashlib
from collections.abc import AsyncGenerator, Collection, Iterator
from contextlib import aclosing
from typing import Any

from transformers import PreTrainedTokenizerBase

from distill.errors import ModelError
from engine.server_process import RunningServer
from students.serve.backend import ChatRequest, Delta, End
from students.serve.reply import Reply, Token, read_prompt
from students.serve.upstream import Upstream
from students.vllm import MODEL

_SEED_BITS = 62
"""vLLM takes signed integers of 64."""


class VllmBackend:
    """Draws completions with vLLM's server, which somebody else starts and ends."""

    name = "vllm"

    def __init__(
        self,
        server: RunningServer,
        tokenizer: PreTrainedTokenizerBase,
        *,
        end_ids: Collection[int],
        context_tokens: int,
        max_tokens: int,
    ) -> None:
        """Take the server over; whoever started it ends it.

        Args:
            server: vLLM's, with the student.
            tokenizer: Of the student, with a chat template.
            end_ids: Tokens that end a completion.
            context_tokens: Prompt and answer that the server has room for.
            max_tokens: New tokens of a completion at most.
        """
        self._upstream = Upstream("vLLM", server)
        self._tokenizer = tokenizer
        self._end_ids = sorted(end_ids)
        self._context_tokens = context_tokens
        self._max_tokens = max_tokens
        self.running = 0
        self.drawn_tokens = 0

    def fault(self) -> str:
        """Why nothing can be drawn any more."""
        return self._upstream.fault()

    def close(self) -> None:
        """Nothing to do: whoever started vLLM ends it."""

    async def complete(
        self, request: ChatRequest, choice: int
    ) -> AsyncGenerator[Delta | End, None]:
        """See ``Backend``."""
        prompt_ids = read_prompt(self._tokenizer, request.messages, self._context_tokens)
        reply = Reply(self._tokenizer, prompt_ids, request)
        body = self._body(request, choice, prompt_ids)
        self.running += 1
        try:
            async with aclosing(self._upstream.stream("completions", body)) as records:
                async for record in records:
                    tokens = list(_tokens(record))
                    self.drawn_tokens += len(tokens)
                    for delta in reply.feed(tokens):
                        yield delta
                    if reply.end is not None:  # at a stop text of the request: leaving ends it
                        yield reply.end
                        return
        finally:
            self.running -= 1
        raise ModelError(self.fault() or "vLLM ended a completion without saying why")

    def _body(self, request: ChatRequest, choice: int, prompt_ids: list[int]) -> dict[str, Any]:
        room = self._context_tokens - len(prompt_ids)
        seed = {} if request.seed is None else {"seed": _seed(request.seed, choice)}
        return {
            "model": MODEL,
            "prompt": prompt_ids,
            "max_tokens": min(request.max_tokens or self._max_tokens, room),
            "temperature": request.temperature,
            "top_p": request.top_p,
            "top_k": request.top_k,
            "min_p": request.min_p,
            "repetition_penalty": request.repetition_penalty,
            "stop_token_ids": self._end_ids,
            "stream": True,
            "return_token_ids": True,
            **seed,
            **({"logprobs": 0} if request.wants_logprobs else {}),
        }


def _tokens(record: dict[str, Any]) -> Iterator[Token]:
    """What one record of the stream brings; the last token of a completion says how it ended."""
    for choice in record.get("choices", []):
        token_ids = choice["token_ids"]
        logprobs = (choice.get("logprobs") or {}).get("token_logprobs") or [None] * len(token_ids)
        finish = choice.get("finish_reason")
        if finish not in {None, "stop", "length"}:
            raise ModelError(f"vLLM dropped a completion: {finish}")
        for place, (token_id, logprob) in enumerate(zip(token_ids, logprobs, strict=True), 1):
            yield Token(token_id, logprob, finish if place == len(token_ids) else None)


def _seed(seed: int, choice: int) -> int:
    """Another one for each choice, and far from those of the seeds beside."""
    digest = hashlib.sha256(f"{seed}/{choice}".encode()).digest()
    return int.from_bytes(digest[:8]) >> (64 - _SEED_BITS)
