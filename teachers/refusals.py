"""What a failed call means: wait, ask again, give this prompt up, or stop everything.

This module knows status codes and error bodies, no sockets.
"""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, Literal

Action = Literal["wait", "retry", "give up", "stop"]

_WAIT: Final = frozenset({408, 425, 429, 503, 529})
_OF_ONE_PROMPT: Final = frozenset({413})
_PROMPT_CODES: Final = (
    "content_filter",
    "content_policy_violation",
    "context_length_exceeded",
    "string_above_max_length",
    "invalid_prompt",
)
_QUOTA_CODES: Final = ("insufficient_quota", "billing_hard_limit_reached", "insufficient_balance")
_LONGEST_WAIT: Final = 120.0
_SHOWN: Final = 300


@dataclass(frozen=True, slots=True)
class Refusal:
    """What an error answer means.

    Attributes:
        action: What to do.
        words: The server's own, in one line.
        seconds: What the server asks to wait; 0 if it does not say.
    """

    action: Action
    words: str
    seconds: float = 0.0


def classify(status: int, headers: Mapping[str, str], body: bytes) -> Refusal:
    """What an answer with an error status means; names of headers are in lower case.

    Example:
        >>> classify(429, {"retry-after": "2"}, b"{}").seconds
        2.0
        >>> classify(401, {}, b'{"error": {"message": "no such key"}}')
        Refusal(action='stop', words='401: no such key', seconds=0.0)
    """
    message, code = _message(body)
    words = f"{status}: {message}" if message else f"{status} without a word"
    if status in _WAIT and code not in _QUOTA_CODES:
        return Refusal("wait", words, retry_after(headers))
    if status >= 500:  # noqa: PLR2004 - the range of server errors
        return Refusal("retry", words, retry_after(headers))
    if status in _OF_ONE_PROMPT or code in _PROMPT_CODES:
        return Refusal("give up", words)
    return Refusal("stop", words)


def retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that a server asks to wait: a number, or a date; 0 if it does not say."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name, "")
        try:
            return min(max(float(text) * unit, 0.0), _LONGEST_WAIT)
        except ValueError:
            pass
        try:
            left = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
            return min(max(left, 0.0), _LONGEST_WAIT)
        except (ValueError, TypeError):
            continue
    return 0.0


def backoff(attempt: int, asked: float, rng: random.Random) -> float:
    """Seconds before the next attempt: doubling, with jitter, never less than the server asked.

    Args:
        attempt: How many attempts have failed, at least 1.
        asked: What the server asked to wait.
        rng: Source of the jitter, so that thousands do not come back at once.
    """
    most = min(0.5 * 2.0**attempt, 60.0)
    return (
        asked + rng.uniform(0.0, 0.25 * max(asked, 1.0)) if asked else rng.uniform(most / 2, most)
    )


def _message(body: bytes) -> tuple[str, str]:
    """The message and the code of an error body, whatever shape it has."""
    text = body.decode("utf-8", "replace")
    code = ""
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None
    if isinstance(answer, dict):
        error = answer.get("error") or answer.get("detail") or answer.get("message") or answer
        if isinstance(error, dict):
            code = str(error.get("code") or error.get("type") or "")
            error = error.get("message") or json.dumps(error)
        text = str(error)
    line = " ".join(text.split())
    return (line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."), code
