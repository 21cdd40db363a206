"""Requests of the OpenAI API as nouns, and replies as JSON.

What a request asks for and cannot have is refused by name: a client that believes that a setting
was obeyed would measure something else.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from distill.reasoning import split_reasoning
from distill.types import Message, Role
from students.serve.backend import ChatRequest, Delta, End, RequestError, TokenLogprob

MOST_CHOICES: Final = 64
_ROLES: Final[Mapping[str, Role]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}
# Asked for by clients as a matter of course; without effect on what is drawn.
_IGNORED: Final = frozenset(
    {"model", "user", "metadata", "store", "service_tier", "safety_identifier"}
)
_KNOWN: Final = frozenset(
    {
        *("messages", "n", "max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k"),
        *("min_p", "repetition_penalty", "seed", "stop", "stream", "stream_options", "logprobs"),
    }
)
# May be sent with the value that means nothing.
_NEUTRAL: Final[Mapping[str, tuple[object, ...]]] = {
    "frequency_penalty": (0, None),
    "presence_penalty": (0, None),
    "top_logprobs": (0, None),
    "logit_bias": (None, {}),
    "tools": (None, []),
    "tool_choice": (None, "none"),
    "response_format": (None, {"type": "text"}),
    "parallel_tool_calls": (None, True, False),
}


def read_request(body: object, *, most_tokens: int) -> ChatRequest:
    """Read the body of a request for chat completions.

    Args:
        body: What JSON gave.
        most_tokens: The server's limit for new tokens.

    Raises:
        RequestError: Naming the field that is wrong.
    """
    if not isinstance(body, dict):
        raise RequestError("the body must be a JSON object")
    _refuse_unknown(body)
    limit = body.get("max_completion_tokens")
    limit_name = "max_tokens" if limit is None else "max_completion_tokens"
    max_tokens = _number(body, limit_name, None, low=1, high=most_tokens, kind=int)
    stream_options = body.get("stream_options") or {}
    if not isinstance(stream_options, dict):
        raise RequestError("stream_options must be an object", param="stream_options")
    return ChatRequest(
        messages=_messages(body.get("messages")),
        choices=_number(body, "n", 1, low=1, high=MOST_CHOICES, kind=int),
        max_tokens=max_tokens,
        temperature=_number(body, "temperature", 0.6, low=0, high=2),
        top_p=_number(body, "top_p", 0.95, low=0, high=1, is_open=True),
        top_k=max(_number(body, "top_k", 0, low=-1, high=1_000_000, kind=int), 0),
        min_p=_number(body, "min_p", 0.0, low=0, high=1),
        repetition_penalty=_number(body, "repetition_penalty", 1.0, low=0, high=10, is_open=True),
        seed=_number(body, "seed", None, low=-(2**63), high=2**63, kind=int),
        stops=_stops(body.get("stop")),
        is_stream=_flag(body, "stream"),
        wants_usage=bool(stream_options.get("include_usage")),
        wants_logprobs=_flag(body, "logprobs"),
    )


def _refuse_unknown(body: Mapping[str, Any]) -> None:
    for name, value in body.items():
        if name in _KNOWN or name in _IGNORED:
            continue
        if name in _NEUTRAL:
            if value not in _NEUTRAL[name]:
                raise RequestError(f"{name} is not supported by this server", param=name)
            continue
        raise RequestError(f"unknown field {name}", param=str(name))


def _messages(found: object) -> list[Message]:
    if not isinstance(found, list) or not found:
        raise RequestError("messages must be a list of at least one message", param="messages")
    messages = []
    for place, one in enumerate(found):
        where = f"messages[{place}]"
        if not isinstance(one, dict) or one.get("role") not in _ROLES:
            raise RequestError(f"{where}.role must be one of {', '.join(_ROLES)}", param=where)
        role = _ROLES[one["role"]]
        content = _content(one.get("content"), where)
        reasoning = one.get("reasoning_content")
        if role == "assistant" and reasoning is None:
            split = split_reasoning(content)
            content, reasoning = split.answer, split.reasoning
        if reasoning is not None and not isinstance(reasoning, str):
            raise RequestError(f"{where}.reasoning_content must be text", param=where)
        messages.append(Message(role, content, reasoning if role == "assistant" else None))
    if messages[-1].role == "assistant":
        raise RequestError(
            "the last message is the assistant's own; there is nothing to answer", param="messages"
        )
    return messages


def _content(found: object, where: str) -> str:
    if isinstance(found, str):
        return found
    if isinstance(found, list) and all(
        isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
        for part in found
    ):
        return "".join(part["text"] for part in found)
    raise RequestError(f"{where}.content must be text", param=f"{where}.content")


def _stops(found: object) -> tuple[str, ...]:
    stops = [found] if isinstance(found, str) else found or []
    if not isinstance(stops, list) or not all(isinstance(one, str) and one for one in stops):
        raise RequestError("stop must be text or a list of texts, none of them empty", param="stop")
    return tuple(stops)


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise RequestError(f"{name} must be true or false", param=name)
    return bool(value)


def _number(
    body: Mapping[str, Any],
    name: str,
    default: Any,  # noqa: ANN401 - of the kind that is asked for
    *,
    low: float,
    high: float,
    kind: type = float,
    is_open: bool = False,
) -> Any:  # noqa: ANN401
    """A number of the body within its bounds; ``is_open`` leaves the lower one out."""
    value = body.get(name)
    if value is None:
        return default
    is_kind = type(value) is int or (kind is float and type(value) is float)
    if not is_kind or not low <= value <= high or (is_open and value == low):
        what = "a whole number" if kind is int else "a number"
        above = "above" if is_open else "from"
        raise RequestError(f"{name} must be {what} {above} {low:g} to {high:g}", param=name)
    return value


def error_body(problem: str, *, param: str, status: int) -> dict[str, Any]:
    """An error as OpenAI's clients read it."""
    client, server = 400, 500
    kind = "invalid_request_error" if client <= status < server else "server_error"
    return {"error": {"message": problem, "type": kind, "param": param or None, "code": status}}


def usage_record(ends: Sequence[End]) -> dict[str, Any]:
    """Tokens of all choices together; their prompt is read and counted once."""
    prompt = max((end.prompt_tokens for end in ends), default=0)
    written = sum(end.completion_tokens for end in ends)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": written,
        "total_tokens": prompt + written,
        "completion_tokens_details": {
            "reasoning_tokens": sum(end.reasoning_tokens for end in ends)
        },
    }


class Replies:
    """JSON of one request's replies."""

    def __init__(self, request_id: str, model: str) -> None:
        """Take what all of them share."""
        self._shared = {"id": request_id, "created": int(time.time()), "model": model}

    def body(
        self, choices: Sequence[Sequence[Delta]], ends: Sequence[End], request: ChatRequest
    ) -> dict[str, Any]:
        """The whole reply at once."""
        return {
            **self._shared,
            "object": "chat.completion",
            "choices": [
                _choice(index, deltas, end, request)
                for index, (deltas, end) in enumerate(zip(choices, ends, strict=True))
            ],
            "usage": usage_record(ends),
        }

    def first(self, choice: int) -> dict[str, Any]:
        """The chunk that opens a choice."""
        return self._chunk(choice, {"role": "assistant", "content": ""}, None, ())

    def delta(self, choice: int, delta: Delta) -> dict[str, Any]:
        """A chunk with what is new."""
        field = "reasoning_content" if delta.kind == "reasoning" else "content"
        return self._chunk(choice, {field: delta.text}, None, delta.logprobs)

    def end(self, choice: int, end: End) -> dict[str, Any]:
        """The chunk that ends a choice."""
        return self._chunk(choice, {}, end.finish, ())

    def usage(self, ends: Sequence[End]) -> dict[str, Any]:
        """The chunk with the usage, after all others."""
        shared = {**self._shared, "object": "chat.completion.chunk"}
        return {**shared, "choices": [], "usage": usage_record(ends)}

    def _chunk(
        self,
        choice: int,
        delta: Mapping[str, str],
        finish: str | None,
        logprobs: Sequence[TokenLogprob],
    ) -> dict[str, Any]:
        record: dict[str, Any] = {"index": choice, "delta": delta, "finish_reason": finish}
        if logprobs:
            record["logprobs"] = {"content": [_logprob(one) for one in logprobs]}
        return {**self._shared, "object": "chat.completion.chunk", "choices": [record]}


def _choice(index: int, deltas: Sequence[Delta], end: End, request: ChatRequest) -> dict[str, Any]:
    texts = {
        kind: "".join(delta.text for delta in deltas if delta.kind == kind)
        for kind in ("reasoning", "answer")
    }
    message = {"role": "assistant", "content": texts["answer"]}
    if texts["reasoning"]:
        message["reasoning_content"] = texts["reasoning"]
    record: dict[str, Any] = {"index": index, "message": message, "finish_reason": end.finish}
    if request.wants_logprobs:
        found = [one for delta in deltas for one in delta.logprobs]
        record["logprobs"] = {"content": [_logprob(one) for one in found]}
    return record


def _logprob(one: TokenLogprob) -> dict[str, Any]:
    return {
        "token": one.token,
        "logprob": one.logprob,
        "bytes": list(one.token.encode()),
        "top_logprobs": [],
    }
