"""``LeasedAllowance``: the worker's side of the desk.

The desk is asked when a lease is used up, and a few times a second besides, so that it knows where
the block stands.
"""

import time
from collections.abc import Callable
from copy import deepcopy
from typing import Final

from distill.allowance import Stop, Wait
from distill.budget import Account
from distill.scale.desk import Lease, Report
from distill.tally import Tally
from distill.types import Usage

_REPORT_SECONDS: Final = 0.25
_LONGEST_WAIT_SECONDS: Final = 2.0
"""Whoever waits for hours shall hear soon that the run was stopped."""


class LeasedAllowance:
    """An ``Allowance`` for one block, on the desk's account."""

    def __init__(
        self,
        block: int,
        tally: Tally,
        ask: Callable[[Report], Lease],
        *,
        notices: list[str] | None = None,
    ) -> None:
        """Begin with no lease.

        Args:
            block: Whose.
            tally: What the sampling loop counts in.
            ask: Takes a report to the desk and brings a lease back.
            notices: For the user; each report takes along what is in it.
        """
        self._block, self._tally, self._ask = block, tally, ask
        self._account = Account()
        self._notices = notices if notices is not None else []
        self._answered = 0
        self._lease = Lease(0)
        self._sent_before = 0  # with earlier leases
        self._asked_at = float("-inf")

    def refusal(self, *, in_flight: int) -> Wait | Stop | None:
        """See ``Allowance``."""
        is_due = time.monotonic() - self._asked_at > _REPORT_SECONDS
        if is_due or not self._left(in_flight):
            self._report(in_flight)
        refusal = self._lease.refusal
        if isinstance(refusal, Wait):
            return Wait(min(refusal.seconds, _LONGEST_WAIT_SECONDS), refusal.why)
        return refusal

    def room(self, *, in_flight: int) -> int | None:
        """See ``Allowance``."""
        return self._left(in_flight)

    def add(self, usage: Usage, usd: float | None, *, unanswered: int = 0) -> None:
        """See ``Allowance``."""
        self._account.add(usage, usd, unanswered=unanswered)
        self._answered += 1

    def close(self) -> None:
        """Say how the block ended, and give the lease back."""
        self._report(0)

    def _left(self, in_flight: int) -> int:
        return max(self._lease.requests - (self._answered + in_flight - self._sent_before), 0)

    def _report(self, in_flight: int) -> None:
        tally, account = deepcopy(self._tally), deepcopy(self._account)
        report = Report(self._block, tally, account, in_flight, tuple(self._notices))
        self._notices.clear()
        self._lease = self._ask(report)
        self._sent_before = self._answered + in_flight
        self._asked_at = time.monotonic()
