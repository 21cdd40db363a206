"""llama.cpp as a back end: its own server behind ours, so a GGUF file is asked the same way."""

import json
from collections.abc import AsyncGenerator
from typing import Any, Final

import aiohttp

from distill.errors import ModelError
from engine.text_stream import Kind
from students.serve.backend import ChatRequest, Delta, End, RequestError, TokenLogprob

_FIELDS: Final[tuple[tuple[Kind, str], ...]] = (
    ("reasoning", "reasoning_content"),
    ("answer", "content"),
)


class LlamaCppBackend:
    """Draws completions with llama.cpp's server, which somebody else starts and ends."""

    name = "llama.cpp"

    def __init__(self, base_url: str, max_tokens: int) -> None:
        """Take its address, up to ``/v1``.

        Args:
            base_url: Where it listens.
            max_tokens: New tokens of a completion at most.
        """
        self._url = f"{base_url}/chat/completions"
        self._max_tokens = max_tokens
        self._fault = ""
        self.running = 0
        self.drawn_tokens = 0

    def fault(self) -> str:
        """Why nothing can be drawn any more."""
        return self._fault

    def close(self) -> None:
        """Nothing to do: whoever started llama.cpp ends it."""

    async def complete(
        self, request: ChatRequest, choice: int
    ) -> AsyncGenerator[Delta | End, None]:
        """See ``Backend``."""
        self.running += 1
        try:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(self._url, json=self._body(request, choice)) as answer,
            ):
                if answer.status >= 400:  # noqa: PLR2004 - of HTTP
                    raise _refused(await answer.text(), answer.status)
                async for item in self._items(answer):
                    yield item
        except aiohttp.ClientError as error:
            self._fault = f"llama.cpp is gone: {error}"
            raise ModelError(self._fault) from error
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

    async def _items(self, answer: aiohttp.ClientResponse) -> AsyncGenerator[Delta | End, None]:
        finish: str | None = None
        usage: dict[str, Any] = {}
        reasoning = 0
        async for line in answer.content:
            if not line.startswith(b"data: ") or line.startswith(b"data: [DONE]"):
                continue
            record = json.loads(line.removeprefix(b"data: "))
            if "error" in record:
                raise ModelError(f"llama.cpp: {record['error'].get('message', record['error'])}")
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


def _refused(text: str, status: int) -> RequestError | ModelError:
    try:
        words = json.loads(text)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        words = text[:200]
    return RequestError(str(words)) if status < 500 else ModelError(f"llama.cpp: {words}")  # noqa: PLR2004
