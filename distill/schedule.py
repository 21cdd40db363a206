"""Which sample to ask for next: the order of requests, early stopping and exact resume.

Requests are handed out by (sample index, rank of the prompt): every prompt gets its first sample
before any gets its second. Where one call answers several samples of a prompt, those stay next to
each other. What is asked next depends on verdicts only, never on the order in
which answers arrive, so a run that was killed and resumed asks for the same samples.

Only samples without a stored verdict are handed out.

This module knows no files, models or verifiers.
"""

import heapq
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import sub

from distill.types import Prompt, Request


@dataclass(frozen=True, slots=True)
class SamplingPlan:
    """How many samples each prompt gets.

    Attributes:
        samples: At most this many per prompt.
        until_correct: Stop a prompt once this many are accepted; ``None`` draws all.
    """

    samples: int
    until_correct: int | None = None

    def __post_init__(self) -> None:
        """Refuse a plan that asks for nothing.

        Raises:
            ValueError: If ``samples`` is less than 1 or ``until_correct`` not in ``1..samples``.
        """
        if self.samples < 1:
            raise ValueError(f"samples must be at least 1, not {self.samples}")
        if self.until_correct is not None and not 1 <= self.until_correct <= self.samples:
            raise ValueError(f"until_correct must be in 1..{self.samples}")


@dataclass(frozen=True, slots=True)
class SampleKey:
    """A sample of one prompt, by its place in the prompt set."""

    sample_index: int
    rank: int


class Schedule:
    """The ``RequestSource`` of one sampling run."""

    def __init__(
        self,
        prompts: Sequence[Prompt],
        plan: SamplingPlan,
        stored: Mapping[SampleKey, bool],
        *,
        on_stored: Callable[[SampleKey], None],
        samples_at_once: int = 1,
    ) -> None:
        """Take prompts in the order of their rank.

        Args:
            prompts: What is sampled.
            plan: How many samples each prompt gets.
            stored: Samples that an earlier try stored, and whether they were accepted.
            on_stored: Called for each stored sample that counts without being asked again.
            samples_at_once: Samples of one prompt that are handed out next to each other.
        """
        self._prompts = prompts
        self._plan = plan
        self._stored = stored
        self._on_stored = on_stored
        self._samples_at_once = samples_at_once
        # Packed: a million prompts take some bytes each, not some hundred.
        self._asked = array("I", bytes(4 * len(prompts)))
        self._rejected = array("I", bytes(4 * len(prompts)))
        self._settled = array("I", bytes(4 * len(prompts)))
        self._in_flight: set[SampleKey] = set()
        self.last_taken: Sequence[SampleKey] = ()
        """Which samples the last ``take`` handed out, in its order."""
        self._untouched = 0  # the first rank that was never asked: its first sample is ready
        self._ready: list[int] = []  # the others' next samples, one entry a prompt at most
        self._is_ready = bytearray(b"\1" * len(prompts))
        self.total = plan.samples * len(prompts)
        """Samples in all, as far as known now: less when prompts stop early."""

    @property
    def in_flight(self) -> int:
        """Requests that were handed out and not settled."""
        return len(self._in_flight)

    @property
    def samples_per_prompt(self) -> tuple[int, ...]:
        """How many samples each prompt has got so far, in rank order."""
        return tuple(self._settled)

    @property
    def accepted_per_prompt(self) -> tuple[int, ...]:
        """How many of them were accepted, in rank order."""
        return tuple(map(sub, self._settled, self._rejected))

    def take(self, n: int) -> Sequence[Request]:
        """Up to ``n`` requests that are ready now; see ``RequestSource``."""
        missing: list[SampleKey] = []
        while len(missing) < n and (key := self._pop()) is not None:
            if key in self._stored:
                self._settle_stored(key)
            else:
                missing.append(key)
        return self._hand_out(missing)

    def settle(self, key: SampleKey, *, is_accepted: bool) -> None:
        """Count the verdict about a sample that was handed out.

        Raises:
            ValueError: If the sample was not handed out or is settled already.
        """
        if key not in self._in_flight:
            raise ValueError(f"sample {key.sample_index} of prompt {key.rank} was not asked for")
        self._in_flight.remove(key)
        self._count(key, is_accepted)

    def _pop(self) -> SampleKey | None:
        """Take the next sample off the queue."""
        if not self._ready and self._untouched == len(self._prompts):
            return None
        rank = self._next_rank()
        key = SampleKey(self._asked[rank], rank)
        self._is_ready[rank] = False
        self._asked[rank] += 1
        self._queue(rank)
        return key

    def _next_rank(self) -> int:
        """The prompt whose next sample comes next; it leaves the queue."""
        untouched = self._untouched
        if untouched < len(self._prompts) and not (
            self._ready and self._ready[0] < self._place(0, untouched)
        ):
            self._untouched += 1
            return untouched
        return heapq.heappop(self._ready) % len(self._prompts)

    def _place(self, sample_index: int, rank: int) -> int:
        """Where a sample stands in the order; the rank is its remainder by the prompts."""
        return (sample_index // self._samples_at_once) * len(self._prompts) + rank

    def _hand_out(self, keys: Sequence[SampleKey]) -> Sequence[Request]:
        self._in_flight.update(keys)
        self.last_taken = keys
        return [Request(self._prompts[key.rank], key.sample_index) for key in keys]

    def _settle_stored(self, key: SampleKey) -> None:
        self._count(key, self._stored[key])
        self._on_stored(key)

    def _count(self, key: SampleKey, is_accepted: bool) -> None:
        rank = key.rank
        self._settled[rank] += 1
        self._rejected[rank] += not is_accepted
        self._queue(rank)
        if self._settled[rank] == self._asked[rank] and not self._is_ready[rank]:
            self.total -= self._plan.samples - self._settled[rank]

    def _queue(self, rank: int) -> None:
        """Make the prompt's next sample ready, if it is wanted whatever is in flight."""
        if not self._is_ready[rank] and self._asked[rank] < self._wanted(rank):
            heapq.heappush(self._ready, self._place(self._asked[rank], rank))
            self._is_ready[rank] = True

    def _wanted(self, rank: int) -> int:
        """Samples that are needed even if all that are in flight are accepted."""
        if self._plan.until_correct is None:
            return self._plan.samples
        return min(self._plan.samples, self._rejected[rank] + self._plan.until_correct)
