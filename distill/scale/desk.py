"""``Desk``: one account and one tally for all workers of a run.

A worker asks for a lease of requests before it sends them, and says with that what it has spent and
counted so far. What is leased counts as under way, so all workers together keep to a limit as one
machine does: nothing more is asked once what is spent and what is under way reach it. A report
holds the sums of a whole block: told twice, or by a worker in another's place, it counts once.

This module knows sums and leases, nothing of Ray.
"""

from dataclasses import dataclass, field
from typing import Final

from distill.allowance import Stop, Wait
from distill.budget import Account, Budget
from distill.tally import Tally

_FREE: Final = 10_000
"""Requests of a lease where nothing limits them."""
_FIRST: Final = 32
"""The same where a limit is set, and nothing is known yet of what an answer costs."""
_RETRY_SECONDS: Final = 0.3


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker says of its block.

    Attributes:
        block: Which one.
        tally: Of all its samples that count.
        account: What those have cost.
        in_flight: Requests that are under way.
        notices: For the user, since the last report.
    """

    block: int
    tally: Tally
    account: Account
    in_flight: int = 0
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lease:
    """What a worker may do next.

    Attributes:
        requests: That it may send beside those under way.
        refusal: Why it may send none.
    """

    requests: int
    refusal: Wait | Stop | None = None


@dataclass(frozen=True, slots=True)
class View:
    """Where the whole run stands.

    Attributes:
        tally: Of all blocks.
        stopped: Why nothing is asked any more; empty while something is.
        waiting: Why nothing is asked at present.
        notices: For the user, since the last look.
    """

    tally: Tally
    stopped: str
    waiting: str
    notices: tuple[str, ...]


@dataclass(slots=True)
class _Open:
    """A block that is worked on."""

    tally: Tally = field(default_factory=Tally)
    account: Account = field(default_factory=Account)
    reserved: int = 0


class Desk:
    """Counts for all, and says who may ask."""

    def __init__(self, budget: Budget | None, workers: int) -> None:
        """Begin with what other stages have spent.

        Args:
            budget: The limits; ``None`` for none.
            workers: Among how many what is left is shared out.
        """
        self._budget = budget
        self._workers = workers
        self._open: dict[int, _Open] = {}
        self._tally = Tally()  # of blocks that are finished
        self._account = budget.account if budget is not None else Account()
        self._stopped = ""
        self._refusal: Wait | Stop | None = None
        self._notices: dict[str, None] = {}

    def report(self, report: Report) -> Lease:
        """Take what a worker says; what it had leased and not used is free again."""
        block = self._open.setdefault(report.block, _Open())
        block.tally, block.account = report.tally, report.account
        block.reserved = report.in_flight
        self._notices |= dict.fromkeys(report.notices)
        lease = self._lease(block)
        self._refusal = lease.refusal
        block.reserved += lease.requests
        return lease

    def release(self, block: int, *, is_finished: bool) -> None:
        """Free what is leased for a block that is finished, or whose worker died."""
        known = self._open.setdefault(block, _Open())
        known.reserved = 0
        if is_finished:
            self._tally.merge(known.tally)
            self._account += known.account
            del self._open[block]

    def stop(self, why: str) -> None:
        """Lease no more; what is under way is still counted."""
        self._stopped = self._stopped or why

    def look(self) -> View:
        """Where the run stands."""
        tally = Tally()
        tally.merge(self._tally)
        for block in self._open.values():
            tally.merge(block.tally)
        notices, self._notices = tuple(self._notices), {}
        refusal = self._refusal
        return View(
            tally,
            self._stopped or (refusal.why if isinstance(refusal, Stop) else ""),
            refusal.why if isinstance(refusal, Wait) else "",
            notices,
        )

    def _lease(self, block: _Open) -> Lease:
        if self._stopped:
            return Lease(0, Stop(self._stopped))
        if self._budget is None:
            return Lease(_FREE)
        self._budget.account = sum((one.account for one in self._open.values()), self._account)
        reserved = sum(one.reserved for one in self._open.values())
        refusal = self._budget.refusal(in_flight=reserved)
        if isinstance(refusal, Stop) and reserved > block.reserved:
            # Answers under way elsewhere may come out cheaper than they are taken to be.
            return Lease(0, Wait(_RETRY_SECONDS, refusal.why))
        if refusal is not None:
            return Lease(0, refusal)
        room = self._budget.room(in_flight=reserved)
        return Lease(_FIRST if room is None else max(room // (2 * self._workers), 1))
