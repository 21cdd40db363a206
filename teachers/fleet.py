"""``Fleet``: servers of one model that the client shares its calls over, and when one is stalled.

A server is well as long as tokens come, whatever its health page says. The client reports what it
hears once a second; whoever watches the servers (``teachers.engine_server``) starts them again.
Only plain attributes are shared between the client's thread and the watchers'.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from distill.errors import TeacherError

if TYPE_CHECKING:
    from teachers.calls import Call

_AWAY_SECONDS: Final = 5.0
"""The client did not look for so long: what it did not hear in that time says nothing."""


@dataclass(slots=True)
class Server:
    """One server, as its watcher and the client see it.

    Attributes:
        name: For messages.
        base_url: Up to ``/v1``.
        is_ready: Whether it may be asked.
        life: Grows each time that it becomes ready.
        under_way: Calls that wait for it.
        tokens_at: When it sent a token last, by the monotonic clock.
        silent_since: Since when it has calls and sends no token, if it sent none after that.
        has_stalled: Whether it was silent for too long in this life.
        is_given_up: Whether nobody starts it again.
        restarts: In all.
    """

    name: str
    base_url: str
    is_ready: bool = False
    life: int = 0
    under_way: int = 0
    tokens_at: float = float("-inf")
    silent_since: float = float("-inf")
    has_stalled: bool = False
    is_given_up: bool = False
    restarts: int = 0

    @property
    def chat_url(self) -> str:
        """Where completions are asked for."""
        return f"{self.base_url}/chat/completions"

    def come_up(self, now: float) -> None:
        """It answers: a new life begins."""
        self.silent_since = now
        self.has_stalled = False
        self.life += 1
        self.is_ready = True


@dataclass(slots=True)
class Fleet:
    """All servers.

    Attributes:
        servers: One for each replica.
        stall_seconds: Silence after which a server is stalled.
        failure: Why the last server was given up; ``None`` while there is hope.
    """

    servers: Sequence[Server]
    stall_seconds: float
    failure: TeacherError | None = None
    _looked_at: float = field(default=float("-inf"))

    @property
    def is_ready(self) -> bool:
        """Whether any server may be asked."""
        return any(server.is_ready for server in self.servers)

    def choose(self) -> Server | None:
        """The ready server with the fewest calls under way."""
        ready = [server for server in self.servers if server.is_ready]
        return min(ready, key=lambda server: server.under_way, default=None)

    def observe(self, now: float, calls: Iterable["Call"]) -> None:
        """Take note of who sends tokens; whoever has been silent for too long is stalled.

        Args:
            now: By the monotonic clock.
            calls: All that are under way.
        """
        was_away, self._looked_at = now - self._looked_at > _AWAY_SECONDS, now
        for call in calls:
            server = call.server
            if server is not None and call.content_at > call.sent_at and not is_gone(call):
                server.tokens_at = max(server.tokens_at, call.content_at)
        for server in self.servers:
            if was_away or not server.under_way:
                server.silent_since = now
            silence = now - max(server.tokens_at, server.silent_since)
            if server.is_ready and silence > self.stall_seconds:
                server.has_stalled, server.is_ready = True, False

    def give_up(self, server: Server, error: TeacherError) -> None:
        """Nobody starts a server again; without any other, that ends the run."""
        server.is_ready, server.is_given_up = False, True
        if all(each.is_given_up for each in self.servers):
            self.failure = error

    def figures(self) -> Mapping[str, str]:
        """What to show beside the progress."""
        ready = sum(server.is_ready for server in self.servers)
        shown = {"servers": f"{ready}/{len(self.servers)}"}
        if restarts := sum(server.restarts for server in self.servers):
            shown["restarts"] = str(restarts)
        return shown


def is_gone(call: "Call") -> bool:
    """Whether the server that a call waits for is down, or was started again since."""
    server = call.server
    return server is not None and (not server.is_ready or server.life != call.life)
