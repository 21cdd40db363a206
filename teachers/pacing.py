"""How many requests may be under way, learnt from what the server accepts.

``Window`` grows while the server keeps up (doubling at first, then by a tenth per round) and
shrinks by how much it refuses, after TCP (Jacobson 1988). A server that refuses a few now and then,
whatever the load, must not bring it down to nothing.
``Rate`` spreads requests and tokens over a minute where a limit is known.

This module knows no sockets; times are seconds of any clock that the caller keeps to.
"""

from collections import deque
from dataclasses import dataclass, field

_FIRST = 32
_TOLERATED = 0.05
"""Share of refusals that is no sign of too many requests: some servers refuse now and then."""
_MEMORY = 1 / 64
_GROWTH = 0.1
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
    _refused_share: float = field(init=False, default=0.0)
    _is_doubling: bool = field(init=False, default=True)
    _shrunk_at: float = field(init=False, default=float("-inf"))
    _paused_until: float = field(init=False, default=float("-inf"))
    _in_a_row: int = field(init=False, default=0)

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
        self._in_a_row = 0
        self._refused_share *= 1 - _MEMORY
        if under_way + 1 >= int(self.size) and self._refused_share <= _TOLERATED:
            round_growth = self.size if self._is_doubling else max(1.0, _GROWTH * self.size)
            self.size = min(self.size + round_growth / self.size, self.limit)

    def refused(self, sent_at: float, wait: float, now: float) -> None:
        """A request was refused because there were too many.

        Refusals of requests that were sent before the last shrinking say nothing new.

        Args:
            sent_at: When the refused one was sent.
            wait: Seconds that the server asks to wait, 0 if it does not say.
            now: The time.
        """
        self._in_a_row += 1
        self._refused_share += (1 - self._refused_share) * _MEMORY
        if self._refused_share > _TOLERATED and sent_at > self._shrunk_at:
            self._is_doubling = False
            self.size = max(1.0, self.size * (1 - self._refused_share / 2))
            self._shrunk_at = now
        # Nothing got through for a whole window: the limit is not about how many at once.
        if wait and self._in_a_row > self.size:
            self._paused_until = now + wait
            self._in_a_row = 0


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
