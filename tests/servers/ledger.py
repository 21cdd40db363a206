"""``Ledger``: what the stub produced, line by line in a file, and its counters.

An answer counts as paid once it is fully produced, whether or not it reached the client: that is
how endpoints bill. The file is written at once, without a buffer, so it survives a kill.
"""

import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Paid:
    """One line of the ledger: a request whose answers were produced.

    Attributes:
        prompt: Text of the last user message.
        answers: How many choices it had.
        delivered: Whether the server sent it whole.
    """

    prompt: str
    answers: int
    delivered: bool


class Ledger:
    """The counters, and the file if there is one."""

    def __init__(self, path: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._file = os.open(path, flags, 0o644) if path else -1
        self.counts: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()  # by prompt: answers produced
        self.requests: Counter[str] = Counter()  # by prompt: requests received
        self.in_flight = 0
        self.most_at_once = 0

    def pay(self, paid: Paid) -> None:
        """Write down what was produced."""
        self.counts["paid"] += paid.answers
        self.counts["undelivered"] += 0 if paid.delivered else paid.answers
        if self._file >= 0:
            line = json.dumps([paid.prompt, paid.answers, paid.delivered])
            os.write(self._file, line.encode() + b"\n")

    def enter(self) -> None:
        """A request arrived."""
        self.in_flight += 1
        self.most_at_once = max(self.most_at_once, self.in_flight)

    def leave(self) -> None:
        """A request ended, however it did."""
        self.in_flight -= 1

    def report(self) -> dict[str, Any]:
        """What ``GET /ledger`` answers."""
        return {
            "counts": dict(self.counts),
            "answers_by_prompt": dict(self.answers),
            "requests_by_prompt": dict(self.requests),
            "in_flight": self.in_flight,
            "most_at_once": self.most_at_once,
        }


def read_ledger(path: Path) -> list[Paid]:
    """The lines of a ledger file."""
    return [Paid(*json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
