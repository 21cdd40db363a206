"""llama.cpp as a back end: its own server behind ours, so a GGUF file is asked the same way."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

from distill.errors import ModelError
from engine.server_process import RunningServer
from engine.text_stream import Kind
from students.serve.backend import ChatRequest, Delta, End, TokenLogprob
from students.serve.upstream import Upstream

_FIELDS: Final[tuple[tuple[Kind, str], ...]] = (
    ("reasoning", "reasoning_content"),
    ("answer", "content"),
)


class LlamaCppBackend:
    """Draws completions with llama.cpp's server, which somebody else starts and ends."""

    name = "llama.cpp"

    def __init__(self, server: RunningServer, max_tokens: int) -> None:
        """Take the server over; whoever started it ends it.

        Args:
            server: llama.cpp's, with one model.
            max_tokens: New tokens of a completion at most.
        """
        self._upstream = Upstream(self.name, server)
        self._max_tokens = max_tokens
        self.running = 0
        self.drawn_tokens = 0

    def fault(self) -> str:
        """Why nothing can be drawn any more."""
        return self._upstream.fault()

    def close(self) -> None:
        """Nothing to do: whoever started llama.cpp ends it."""

    async def complete(
        self, request: ChatRequest, choice: int
    ) -> AsyncGenerator[Delta | End, None]:
        """See ``Backend``."""
        self.running += 1
        try:
            stream = self._upstream.stream("chat/completions", self._body(request, choice))
            async with aclosing(stream) as records:
                async for item in self._items(records):
                    yield item
        finally:
            self.running -= 1

    def _body(self, request: ChatRequest, choice: int) -> dict[str, Any]:
        return {
            "messages": [
                {
                    "role": one.role,
                    "content": one.content,
                    **({"reasoning_content": one.reasoning} if one.reasoning else {}),
                }
                for one in request.messages
            ],
            "temperature": request.temperature,
            "top_p": request.top_p,
            "top_k": request.top_k,
            "min_p": request.min_p,
            "repeat_penalty": request.repetition_penalty,
            "max_tokens": request.max_tokens or self._max_tokens,
            "seed": -1 if request.seed is None else (request.seed + choice) % 2**31,
            "stop": list(request.stops),
            "stream": True,
            "stream_options": {"include_usage": True},
            **({"logprobs": True} if request.wants_logprobs else {}),
        }

    async def _items(
        self, records: AsyncGenerator[dict[str, Any]]
    ) -> AsyncGenerator[Delta | End, None]:
        finish: str | None = None
        usage: dict[str, Any] = {}
        reasoning = 0
        async for record in records:
            usage = record.get("usage") or usage
            for found in record.get("choices", []):
                finish = found.get("finish_reason") or finish
                logprobs = _logprobs(found)
                self.drawn_tokens += 1
                for kind, field in _FIELDS:
                    if text := found.get("delta", {}).get(field):
                        reasoning += kind == "reasoning"
                        yield Delta(kind, text, logprobs)
                        logprobs = ()
        if finish is None:
            raise ModelError("llama.cpp ended a completion without saying why")
        written = int(usage.get("completion_tokens", 0))
        yield End(
            "length" if finish == "length" else "stop",
            int(usage.get("prompt_tokens", 0)),
            written,
            min(reasoning, written),
        )


def _logprobs(choice: dict[str, Any]) -> tuple[TokenLogprob, ...]:
    found = (choice.get("logprobs") or {}).get("content") or []
    return tuple(TokenLogprob(one["token"], float(one["logprob"])) for one in found)
