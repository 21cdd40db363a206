"""How many requests may be under way, learnt from what the server accepts.

``Window`` grows while the server keeps up (doubling at first, then by one per round) and shrinks
when it refuses, as TCP does (Jacobson 1988, additive increase and multiplicative decrease).
``Rate`` spreads requests and tokens over a minute where a limit is known.

This module knows no sockets; times are seconds of any clock that the caller keeps to.
"""

from collections import deque
from dataclasses import dataclass, field

_FIRST = 32
_SHRINK = 0.85
_MINUTE = 60.0


@dataclass(slots=True)
class Window:
    """How many requests may be under way at once.

    Attributes:
        limit: Never more than this.
        size: What is allowed now, at least 1.
    """

    limit: int
    size: float = field(init=False)
    _is_doubling: bool = field(init=False, default=True)
    _shrunk_at: float = field(init=False, default=float("-inf"))
    _paused_until: float = field(init=False, default=float("-inf"))
    _refusals: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        """Start small: the server is not known yet."""
        self.size = min(_FIRST, self.limit)

    def room(self, under_way: int, now: float) -> int:
        """How many more requests may be sent."""
        return 0 if now < self._paused_until else max(int(self.size) - under_way, 0)

    def pause_left(self, now: float) -> float:
        """Seconds for which nothing at all may be sent."""
        return max(self._paused_until - now, 0.0)

    def accepted(self, under_way: int) -> None:
        """A request was answered; the window grows if it was what held others back."""
        self._refusals = 0
        if under_way + 1 >= int(self.size):
            self.size += 1.0 if self._is_doubling else 1.0 / self.size
            self.size = min(self.size, self.limit)

    def refused(self, under_way: int, sent_at: float, wait: float, now: float) -> None:
        """A request was refused because there were too many.

        Refusals of requests that were sent before the last shrinking say nothing new.

        Args:
            under_way: Requests under way, the refused one left out.
            sent_at: When the refused one was sent.
            wait: Seconds that the server asks to wait, 0 if it does not say.
            now: The time.
        """
        self._refusals += 1
        self._is_doubling = False
        if sent_at > self._shrunk_at:
            self.size = max(1.0, min(self.size * _SHRINK, float(max(under_way, 1))))
            self._shrunk_at = now
        # Nothing got through for a whole window: the limit is not about how many at once.
        if wait and self._refusals > self.size:
            self._paused_until = now + wait
            self._refusals = 0


@dataclass(slots=True)
class Rate:
    """Requests and tokens per minute, over a sliding minute.

    Attributes:
        requests: Limit, ``None`` if there is none or none is known.
        tokens: The same for tokens read and written.
    """

    requests: int | None = None
    tokens: int | None = None
    _sent: deque[float] = field(init=False, default_factory=deque)
    _spent: deque[tuple[float, int]] = field(init=False, default_factory=deque)
    _spent_tokens: int = field(init=False, default=0)
    _answers: int = field(init=False, default=0)
    _answer_tokens: int = field(init=False, default=0)

    def room(self, under_way: int, now: float) -> float:
        """How many more requests may be sent now; infinite without a limit."""
        self._forget(now)
        room = float("inf")
        if self.requests is not None:
            room = self.requests - len(self._sent)
        if self.tokens is not None and self._answers:
            mean = max(self._answer_tokens / self._answers, 1.0)
            room = min(room, (self.tokens - self._spent_tokens) / mean - under_way)
        return max(room, 0.0)

    def wait_left(self, now: float) -> float:
        """Seconds until the oldest request or answer leaves the minute."""
        oldest = [*list(self._sent)[:1], *(at for at, _ in list(self._spent)[:1])]
        return max(min(oldest, default=now) + _MINUTE - now, 0.0)

    def sent(self, now: float) -> None:
        """Count a request."""
        if self.requests is not None:
            self._sent.append(now)

    def answered(self, tokens: int, now: float) -> None:
        """Count what an answer took."""
        if self.tokens is not None:
            self._spent.append((now, tokens))
            self._spent_tokens += tokens
            self._answers += 1
            self._answer_tokens += tokens

    def _forget(self, now: float) -> None:
        while self._sent and self._sent[0] <= now - _MINUTE:
            self._sent.popleft()
        while self._spent and self._spent[0][0] <= now - _MINUTE:
            self._spent_tokens -= self._spent.popleft()[1]
