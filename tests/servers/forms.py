"""Forms of endpoints that no test can reach, with answers in the shape that they document.

Every answer says that 100 + 11 is 111. The shapes are those of November 2026: DeepSeek's own API,
Azure AI Foundry's v1 API and its older one for models, OpenRouter.
"""

import json
from collections.abc import Mapping, Sequence

from tests.servers.recorder import Form

REASONING = "100 and 11: add the tens and the ones, 111."
TEXT = "The answer is \\boxed{111}."
_FILTERS = {"hate": {"filtered": False, "severity": "safe"}}
_USAGE = {"prompt_tokens": 16, "completion_tokens": 30, "total_tokens": 46}
_DETAILS = {"completion_tokens_details": {"reasoning_tokens": 20}}


def deepseek() -> Form:
    """Empty lines come before a body and comments before a stream while it waits."""
    usage = (
        _USAGE
        | _DETAILS
        | {
            "prompt_tokens_details": {"cached_tokens": 8},
            "prompt_cache_hit_tokens": 8,
            "prompt_cache_miss_tokens": 8,
        }
    )
    message = {"role": "assistant", "content": TEXT, "reasoning_content": REASONING}
    body = _body(message, model="deepseek-flash", usage=usage, choice={"logprobs": None})
    deltas = [
        {"role": "assistant", "content": None, "reasoning_content": ""},
        *({"content": None, "reasoning_content": part} for part in _parts(REASONING)),
        *({"content": part, "reasoning_content": None} for part in _parts(TEXT)),
    ]
    chunks: list[Mapping[str, object]] = [*_chunks(deltas), _last(usage={**usage})]
    stream = b": keep-alive\n\n: keep-alive\n\n" + _events(chunks) + b"data: [DONE]\n\n"
    return Form("/v1/chat/completions", ("authorization", "Bearer "), b"\n\n\n\n" + body, stream)


def azure_v1() -> Form:
    """A stream begins with a chunk without choices, and usage comes in one of its own."""
    message = {"role": "assistant", "content": TEXT, "reasoning_content": REASONING}
    filters = {"content_filter_results": _FILTERS}
    body = _body(
        message,
        model="DeepSeek-R1",
        usage=_USAGE,
        choice=filters,
        prompt_filter_results=[{"prompt_index": 0, **filters}],
    )
    chunks: list[Mapping[str, object]] = [
        {"choices": [], "prompt_filter_results": [{"prompt_index": 0, **filters}]},
        *_chunks(
            [
                {"role": "assistant", "content": ""},
                *({"reasoning_content": part} for part in _parts(REASONING)),
                *({"content": part} for part in _parts(TEXT)),
            ]
        ),
        _last(),
        {"choices": [], "usage": _USAGE},
    ]
    stream = _events(chunks) + b"data: [DONE]\n\n"
    return Form("/openai/v1/chat/completions", ("api-key", ""), body, stream)


def azure_models() -> Form:
    """The older form leaves the reasoning between think tags."""
    tagged = f"<think>\n{REASONING}\n</think>\n\n{TEXT}"
    body = _body({"role": "assistant", "content": tagged}, model="deepseek-r1", usage=_USAGE)
    deltas = [{"role": "assistant", "content": ""}, *({"content": each} for each in _parts(tagged))]
    chunks: list[Mapping[str, object]] = [
        *_chunks(deltas),
        _last(),
        {"choices": [], "usage": _USAGE},
    ]
    return Form(
        "/models/chat/completions?api-version=2024-05-01-preview",
        ("api-key", ""),
        body,
        _events(chunks) + b"data: [DONE]\n\n",
    )


def openrouter() -> Form:
    """The field is ``reasoning``, and comments tell that it works."""
    message = {"role": "assistant", "content": TEXT, "reasoning": REASONING, "refusal": None}
    body = _body(
        message,
        model="deepseek/deepseek-v4-pro",
        usage=_USAGE,
        choice={"native_finish_reason": "stop"},
        provider="DeepSeek",
    )
    deltas = [
        *({"role": "assistant", "content": "", "reasoning": part} for part in _parts(REASONING)),
        *({"role": "assistant", "content": part} for part in _parts(TEXT)),
    ]
    chunks: list[Mapping[str, object]] = [
        *_chunks(deltas),
        _last(),
        {"choices": [], "usage": _USAGE},
    ]
    stream = b": OPENROUTER PROCESSING\n\n" + _events(chunks) + b"data: [DONE]\n\n"
    return Form("/api/v1/chat/completions", ("authorization", "Bearer "), body, stream)


def _body(
    message: Mapping[str, object],
    *,
    model: str,
    usage: Mapping[str, object],
    choice: Mapping[str, object] | None = None,
    **more: object,
) -> bytes:
    only = {"index": 0, "message": message, "finish_reason": "stop", **(choice or {})}
    whole = {"id": "a1", "object": "chat.completion", "created": 1, "model": model}
    return json.dumps({**whole, "choices": [only], "usage": usage, **more}).encode()


def _parts(text: str) -> list[str]:
    return [text[start : start + 6] for start in range(0, len(text), 6)]


def _chunks(deltas: Sequence[Mapping[str, object]]) -> list[dict[str, object]]:
    return [
        {"choices": [{"index": 0, "delta": delta, "finish_reason": None}], "usage": None}
        for delta in deltas
    ]


def _last(**more: object) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], **more}


def _events(chunks: Sequence[Mapping[str, object]]) -> bytes:
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)
