"""``Drain``: sends calls to an endpoint, as many at once as it takes, until a source is empty.

One turn of the loop gives up what is silent, fills the free places, and hands on what was answered.
What is refused because there are too many waits; what breaks off is sent again, with jitter; both
while others go on. Several servers of one model (`teachers.fleet`) share the calls; while none is
ready, all wait.
"""

import asyncio
import heapq
import random
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache

from distill.errors import TeacherError
from distill.types import Answer, Completion, Receipt, RequestSource, Usage
from teachers.calls import BodyMaker, Call, Lost, grouped, list_models, send
from teachers.canary import Canary
from teachers.connection import Connection
from teachers.fleet import Fleet, is_gone
from teachers.http_client import HttpClient
from teachers.pacing import Rate, Window
from teachers.refusals import Refusal, backoff
from teachers.wire import Reply

PriceFinder = Callable[[Usage, float], float | None]
"""What an answer cost in USD: its tokens, and when it was complete in seconds since the epoch."""

_LONGEST_NAP = 1.0


class Drain:
    """The calls of one ``complete``: those to be sent, under way, and waiting to be sent again.

    Attributes:
        fatal: What stops every request; ``None`` while nothing does.
        is_ending: Whether no more is sent: the user wants to stop.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        client: HttpClient,
        connection: Connection,
        *,
        maker: BodyMaker,
        canary: Canary,
        price: PriceFinder,
        fleet: Fleet | None,
    ) -> None:
        self.fatal: Refusal | None = None
        self.is_ending = False
        self._loop = loop
        self._client = client
        self._connection = connection
        self._maker = maker
        self._canary = canary
        self._price = price
        self._fleet = fleet
        self._window = Window(connection.concurrency)
        self._rate = Rate(connection.requests_per_minute, connection.tokens_per_minute)
        self._rng = random.Random()
        self._tasks: dict[asyncio.Task[None], Call] = {}
        self._waiting: list[tuple[float, int, Call]] = []  # by the time to send them again
        self._top_up: deque[Call] = deque()
        self._answers: list[Answer] = []
        self._changed: asyncio.Future[None] = loop.create_future()
        self._sent_again = self._refused = self._numbered = 0
        self._has_reached = False
        self._is_waking = False
        self._looked_at = time.monotonic()
        self._crash: BaseException | None = None

    @property
    def under_way(self) -> int:
        """Calls that were sent and are not answered."""
        return len(self._tasks)

    def figures(self) -> Mapping[str, str]:
        """What to show beside the progress."""
        shown = {"at once": f"{len(self._tasks)}/{int(self._window.size)}"}
        if self._sent_again:
            shown["sent again"] = f"{self._sent_again:,}"
        return shown

    def next_answers(self, source: RequestSource) -> list[Answer] | None:
        """Keep calls under way until answers are there; ``None`` when the work is done."""
        while True:
            if self._crash is not None:
                raise self._crash
            self._give_up_silent_ones()
            self._fill(source)
            if self._answers:
                answers, self._answers = self._answers, []
                return answers
            if self._fleet is not None and self._fleet.failure is not None and not self._tasks:
                raise self._fleet.failure
            nap = self._nap(source)
            if nap is None:
                return None
            # A bare future and no task: this turns once for each answer or few.
            self._changed = self._loop.create_future()
            alarm = self._loop.call_later(nap, self._wake)
            self._loop.run_until_complete(self._changed)
            alarm.cancel()

    def _give_up_silent_ones(self) -> None:
        now = time.monotonic()
        if now - self._looked_at < _LONGEST_NAP:
            return
        self._looked_at = now
        if self._fleet is not None:
            self._fleet.observe(now, self._tasks.values())
        for task, call in self._tasks.items():
            is_lost = is_gone(call) or call.is_silent(self._connection, now)
            if is_lost and not call.is_given_up:
                call.is_given_up = True
                task.cancel()

    def _wake(self) -> None:
        self._is_waking = False
        if not self._changed.done():
            self._changed.set_result(None)

    async def close(self) -> None:
        """End what is under way; its answers are lost."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.close()

    async def explain(self) -> TeacherError:
        """Why nothing can be asked, in the server's words, and what to do about it."""
        assert self.fatal is not None
        connection, words = self._connection, self.fatal.words
        hints = [f"Endpoint '{connection.endpoint}' at {connection.chat_url}."]
        if words.startswith(("401", "403")):
            variable = connection.key_variable
            hints.append(f"Is the key in {variable} right?" if variable else "Does it need a key?")
        elif words.startswith("402"):
            hints.append("Fill up the account, then run the same command again.")
        elif words.startswith(("400", "404", "422")):
            models = await list_models(self._client, connection)
            hints.append(
                f"It has the models: {', '.join(models[:20])}"
                if models
                else "Check teacher.model and teacher.base_url."
            )
        elif words.startswith("cannot reach"):
            hints.append("Is the server running, and teacher.base_url right?")
        elif words.startswith("3"):
            hints.append("Set teacher.base_url to where it really is; redirects are not followed.")
        problem = f"the teacher {self._maker.model} refuses: {words}"
        if self._canary.has_failed:
            problem = f"the teacher {self._maker.model} does not reason: {words}"
            hints = [self._canary.hint]
        clean = connection.without_secrets
        return TeacherError(clean(problem), hint=clean(" ".join(hints)), refused=self._refused)

    def _fill(self, source: RequestSource) -> None:
        """Send as many calls as there is room for: again first, then new ones."""
        if self.fatal is not None or self.is_ending:
            return
        now = time.monotonic()
        room = self._room(now)
        while room > 0 and self._waiting and self._waiting[0][0] <= now:
            self._send(heapq.heappop(self._waiting)[2])
            room -= 1
        while room > 0 and self._top_up:
            self._send(self._top_up.popleft())
            room -= 1
        # Calls that wait to be sent again count: a server that is gone must not drain the prompts.
        room = min(room, self._connection.concurrency - len(self._tasks) - len(self._waiting))
        if room > 0:
            at_once = self._connection.choices_at_once
            for call in grouped(source.take(room * at_once), at_once):
                self._send(call)

    def _room(self, now: float) -> int:
        if self._is_down:
            return 0
        under_way = len(self._tasks)
        room = self._window.room(under_way, now)
        if not self._canary.is_sure:
            room = min(room, max(self._canary.at_once - under_way, 0))
        return int(min(room, self._rate.room(under_way, now)))

    @property
    def _is_down(self) -> bool:
        """Whether none of several servers can be asked now."""
        return self._fleet is not None and not self._fleet.is_ready

    def _nap(self, source: RequestSource) -> float | None:
        """How long to wait for a change at most; ``None`` when none will come."""
        now = time.monotonic()
        if self._tasks:
            due = self._waiting[0][0] - now if self._waiting else _LONGEST_NAP
            return min(max(due, 0.0 if self._room(now) else 0.05), _LONGEST_NAP)
        if self.is_ending:
            return None
        if self.fatal is not None:
            self._refused += sum(len(call.requests) for _, _, call in self._waiting)
            self._refused += sum(len(call.requests) for call in self._top_up)
            return None
        has_room = self._rate_has_room(now)
        if self._is_down:
            has_room = not self._has_work(source)
        pause = max(self._window.pause_left(now), 0.0 if has_room else 0.5)
        if self._waiting:
            return min(max(self._waiting[0][0] - now, pause, 0.001), _LONGEST_NAP)
        if self._top_up or pause:
            return min(max(pause, 0.001), _LONGEST_NAP)
        left = source.seconds_to_wait()
        return None if left is None else min(max(left, 0.001), _LONGEST_NAP)

    def _has_work(self, source: RequestSource) -> bool:
        """Whether anything waits for a server; what is taken to find out is sent first."""
        if not self._waiting and not self._top_up:
            self._top_up.extend(grouped(source.take(1), 1))
        return bool(self._waiting or self._top_up)

    def _rate_has_room(self, now: float) -> bool:
        return self._rate.room(0, now) >= 1

    def _send(self, call: Call) -> None:
        now = time.monotonic()
        call.begin_attempt(now)
        if self._fleet is not None and (server := self._fleet.choose()) is not None:
            call.server, call.life = server, server.life
            server.under_way += 1
        self._rate.sent(now)
        task = self._loop.create_task(self._attempt(call))
        self._tasks[task] = call
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        server = self._tasks.pop(task).server
        if server is not None:
            server.under_way -= 1
        if not self._is_waking:  # others end in the same moment: one turn for all
            self._is_waking = True
            self._loop.call_soon(self._wake)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._crash = error

    async def _attempt(self, call: Call) -> None:
        body = self._maker.body(call.requests[0].prompt, call.requests)
        on_reasoning = None if self._canary.is_sure else self._canary.reassure
        outcome = await send(self._client, self._connection, body, call, on_reasoning)
        if isinstance(outcome, Reply):
            self._take(call, outcome)
        else:
            self._lose(call, outcome)

    def _take(self, call: Call, reply: Reply) -> None:
        """Hand on the answers; ask again for the choices that the server left out."""
        now, at = time.monotonic(), time.time()
        self._has_reached = True
        if call.server is not None:
            call.server.tokens_at = now
        self._window.accepted(len(self._tasks) - 1)
        for place, (request, completion) in enumerate(
            zip(call.requests, reply.completions, strict=False)
        ):
            if self._connection.counts_one_choice and len(reply.completions) > 1:
                completion = replace(completion, usage=Usage())  # noqa: PLW2901 - unknown then
            usage = completion.usage
            self._rate.answered(usage.input_tokens + usage.output_tokens, now)
            usd = self._price(usage, at) if usage.output_tokens else None
            broken = call.broken if place == 0 else 0
            seconds = round(now - call.began, 3)
            receipt = Receipt(_utc(int(at)), seconds, call.attempts, broken, usd, reply.model)
            self._answers.append(Answer(request, completion, receipt))
            self._canary.judge(completion)
        if self._canary.has_failed and self.fatal is None:
            self.fatal = Refusal("stop", self._canary.words)
        if len(reply.completions) < len(call.requests):
            left = call.requests[len(reply.completions) :]
            self._top_up.extend(Call([request]) for request in left)

    def _lose(self, call: Call, lost: Lost) -> None:
        """Wait, ask again, give up or stop, as the refusal says."""
        refusal, now = lost.refusal, time.monotonic()
        call.broken += lost.may_be_billed
        if lost.is_unreachable and not self._has_reached and self._fleet is None:
            refusal = replace(refusal, action="stop")
        self._has_reached |= not lost.is_unreachable
        if refusal.action == "stop":
            self.fatal = self.fatal or refusal
            self._refused += len(call.requests)
        elif refusal.action == "give up" or self._is_hopeless(call, refusal, now):
            self._give_up(call, refusal)
        else:
            self._sent_again += 1
            if refusal.action == "wait":
                self._window.refused(call.sent_at, refusal.seconds, now)
            wait = backoff(max(call.failures, 1), refusal.seconds, self._rng)
            self._numbered += 1
            heapq.heappush(self._waiting, (now + wait, self._numbered, call))

    def _is_hopeless(self, call: Call, refusal: Refusal, now: float) -> bool:
        if refusal.action == "wait":
            return now - call.began > self._connection.patience_seconds
        if call.server is not None and is_gone(call) and refusal.words.startswith("cannot reach"):
            return False  # nothing was sent
        call.failures += 1
        return call.failures >= self._connection.attempts

    def _give_up(self, call: Call, refusal: Refusal) -> None:
        words = self._connection.without_secrets(refusal.words)
        tries = f" (after {call.attempts} attempts)" if call.attempts > 1 else ""
        for place, request in enumerate(call.requests):
            receipt = Receipt(
                at=_utc(int(time.time())),
                seconds=round(time.monotonic() - call.began, 3),
                attempts=call.attempts,
                unanswered=call.broken if place == 0 else 0,
                usd=0.0,
            )
            completion = Completion("", finish="error", error=f"{words}{tries}")
            self._answers.append(Answer(request, completion, receipt))


@lru_cache(maxsize=8)
def _utc(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
