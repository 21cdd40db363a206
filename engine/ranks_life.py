"""Which rank has died or stopped: every rank shows signs of life, and rank 0 looks for them.

A rank that is killed, fails or hangs stops all others in the next exchange, where each only knows
that somebody does not answer. So every rank tells the meeting once a second that it lives and how
far it is, and why it ends if it fails. Rank 0 finds out from that who was first, and ends the
processes that it has started, which ends its own waiting as well.

This module knows processes and steps, nothing of models.
"""

import json
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from torch import OutOfMemoryError

from distill import errors
from distill.errors import DistillError, StageError
from engine.meeting import Meeting
from engine.member import Member
from engine.ranks_line import Line
from engine.watch import Watch

_BEAT_SECONDS = 1.0
_LOOK_SECONDS = 0.25
_COME_SECONDS = 110.0
"""How long a process may take to import what it needs, before it shows a sign of life."""
_GONE_SECONDS = 6.0
"""Once an exchange has failed: who is silent for so long is the one."""
_EVIDENCE_SECONDS = 12.0
_GOES_ON = "the same command goes on from the journal"


@contextmanager
def showing_life(meeting: Meeting, line: Line) -> Iterator[None]:
    """Tell the meeting of this rank's life while the block runs, and why it ends if it fails."""
    is_over = threading.Event()
    apart = meeting.apart("life")

    def beat() -> None:
        beats = 0
        with suppress(RuntimeError):  # the one who keeps the store is gone
            while not is_over.wait(_BEAT_SECONDS if beats else 0):
                beats += 1
                apart.tell(f"alive/{meeting.rank}", f"{beats} {line.steps}")

    threading.Thread(target=beat, daemon=True).start()
    try:
        yield
    except Exception as error:
        with suppress(RuntimeError):
            meeting.apart("life").tell(f"failed/{meeting.rank}", json.dumps(_told(error)))
        raise
    finally:
        is_over.set()


class Lookout:
    """Rank 0's look at all ranks."""

    def __init__(
        self, meeting: Meeting, line: Line, members: Sequence[Member], seconds: float
    ) -> None:
        """Begin to look at them.

        Args:
            meeting: Of all ranks.
            line: From rank 0 to the others.
            members: The processes of the others, if they were started here.
            seconds: How long a rank may be silent, and how long a step may take.
        """
        self._meeting = meeting.apart("life")
        self._line = line
        self._members = members
        self._watch = Watch(meeting.size, seconds, time.monotonic())
        self._come_by = time.monotonic() + _COME_SECONDS
        self._beats: dict[int, str] = {}
        self._failed_at: float | None = None
        self._finding: DistillError | None = None
        self._has_found = threading.Event()
        self._is_over = threading.Event()

    @contextmanager
    def looking(self) -> Iterator["Lookout"]:
        """Look while the block runs; if it fails because a rank is not well, say so instead.

        Raises:
            StageError: Which rank died or stopped, and how far it was.
            DistillError: What a rank has failed with.
        """
        threading.Thread(target=self._look_out, daemon=True).start()
        try:
            yield self
        except OutOfMemoryError:
            raise
        except RuntimeError as error:
            self._failed_at = time.monotonic()
            self._has_found.wait(_EVIDENCE_SECONDS)
            if self._finding is None:
                raise
            raise self._finding from error
        finally:
            self._is_over.set()

    def check(self) -> None:
        """Raise what was found, for rank 0 when it waits for others outside of an exchange."""
        if self._finding is not None:
            raise self._finding

    def _look_out(self) -> None:
        with suppress(RuntimeError):  # the meeting is over
            while not self._is_over.wait(_LOOK_SECONDS):
                self._finding = self._look(time.monotonic())
                if self._finding is not None:
                    for member in self._members:
                        member.kill()
                    self._has_found.set()
                    return

    def _look(self, now: float) -> DistillError | None:
        # In this order: who fails says so before it ends.
        ends = {member.rank: member.end for member in self._members}
        failures = self._hear(now)
        named = [one for one in failures.values() if one["error"] is not None]
        if named:
            kind: type[DistillError] = getattr(errors, named[0]["error"])
            return kind(named[0]["problem"], hint=named[0]["hint"])
        killed = {rank: end for rank, end in ends.items() if end not in {None, "failed"}}
        own = {rank: "failed" for rank, one in failures.items() if not one["is_lost"]}
        failed = {rank: end for rank, end in ends.items() if end and rank not in failures}
        for rank, how in [*killed.items(), *own.items(), *failed.items()]:
            said = failures.get(rank, {}).get("problem", "")
            return self._death(rank, f"{how}{': ' if said else ''}{said}")
        if (what := self._stalled(now)) is not None:
            return StageError(
                f"the teacher has stopped: {what}",
                hint=f"{_GOES_ON}; if it was only slow, raise teacher.stall_seconds "
                f"(now {self._watch.seconds:g})",
            )
        return None

    def _hear(self, now: float) -> dict[int, dict[str, str]]:
        """Take note of signs of life; why ranks have failed that did."""
        failures = {}
        if not self._line.is_busy:
            self._watch.rest(now)
        for rank in range(self._meeting.size):
            beat = self._meeting.heard(f"alive/{rank}")
            if beat is None and now < self._come_by:
                self._watch.hear(rank, 0, now)
            elif beat is not None and beat != self._beats.get(rank):
                self._beats[rank] = beat
                self._watch.hear(rank, int(beat.split()[1]), now)
            if (failure := self._meeting.heard(f"failed/{rank}")) is not None and rank:
                failures[rank] = json.loads(failure)
        return failures

    def _stalled(self, now: float) -> str | None:
        if self._failed_at is not None and now - self._failed_at > _GONE_SECONDS:
            return self._watch.silent(now, _GONE_SECONDS)
        return self._watch.stalled(now)

    def _death(self, rank: int, how: str) -> StageError:
        words = "".join(f"\n{one.last_words()}" for one in self._members if one.rank == rank)
        return StageError(
            f"rank {rank} of {self._meeting.size} {how} after step {self._watch.step}",
            hint=f"{_GOES_ON}{words.rstrip()}",
        )


def _told(error: Exception) -> dict[str, str | bool | None]:
    """What rank 0 is told of a failure; a lost connection is what another rank's end looks like."""
    if isinstance(error, DistillError):
        about = {"error": type(error).__name__, "problem": error.problem, "hint": error.hint}
        return {**about, "is_lost": False}
    is_lost = isinstance(error, RuntimeError) and not isinstance(error, OutOfMemoryError)
    problem = traceback.format_exception_only(error)[-1].strip().splitlines()[0]
    return {"error": None, "problem": problem, "hint": "", "is_lost": is_lost}
