"""``Workers``: units of work over processes of a cluster, whoever of them dies.

Each worker holds one object that does units, one after the other, and is replaced when its process
or its machine goes down; its unit is then done by another, from what it has left on the disk. A
mistake that the user can act on comes back as the result of a unit and ends the work.

This module knows units by their numbers, nothing of what they are.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from distill.closing import Closing
from distill.errors import ClusterError, DistillError, StageError
from distill.scale.cluster import Cluster, Size
from distill.scale.probe import Probe, Visit, visit

T = TypeVar("T")

_MOST_DEATHS: Final = 10
"""Workers that may die over one unit: then it is the unit that kills them."""
_MOST_FALSE_STARTS: Final = 3
_TICK_SECONDS: Final = 0.2
_PATIENCE_SECONDS: Final = 60.0
"""Without any worker for so long: the cluster has no room."""


class Host:
    """What runs in a worker's process."""

    def __init__(self, make: Callable[[], Callable[[int], object]]) -> None:
        """Take what makes the object that does the work; it is made with the first unit."""
        self._make = make
        self._doer: Callable[[int], object] | None = None

    def visit(self, what: Visit) -> tuple[str, str]:
        """See ``distill.scale.probe``."""
        return visit(what)

    def do(self, unit: int) -> object:
        """Do a unit; a ``DistillError`` is handed back as it is."""
        try:
            if self._doer is None:
                self._doer = self._make()
            return self._doer(unit)
        except DistillError as error:
            return error


@dataclass(slots=True)
class _Worker:
    handle: Any
    unit: int | None = None
    is_known: bool = False


class Workers(Closing, Generic[T]):
    """The workers of one stage.

    Attributes:
        deaths: How many were replaced.
    """

    def __init__(
        self,
        cluster: Cluster,
        make: Callable[[], Callable[[int], T]],
        units: Sequence[int],
        *,
        size: Size,
        probe: Probe,
        on_tick: Callable[[], None] = lambda: None,
        on_death: Callable[[int | None, str], None] = lambda unit, why: None,
    ) -> None:
        """Take what is to be done; nobody is started yet.

        Args:
            cluster: Where.
            make: Makes what does a unit, in a worker.
            units: Which ones, in the order of their beginning.
            size: How many workers, and what each gets.
            probe: Of the folder that they write to.
            on_tick: Called a few times a second.
            on_death: Called with the unit of a worker that died, and why it did.
        """
        self.deaths = 0
        self._cluster, self._make, self._size, self._probe = cluster, make, size, probe
        self._on_tick, self._on_death = on_tick, on_death
        self._left = deque(units)
        self._busy: dict[Any, _Worker] = {}
        self._deaths: Counter[int | None] = Counter()
        self._seen_at = time.monotonic()

    @property
    def ready(self) -> int:
        """Workers that were seen at work."""
        return sum(worker.is_known for worker in self._busy.values())

    def stop_handing_out(self) -> None:
        """Begin no more units; those under way go on."""
        self._left.clear()

    def results(self) -> Iterator[tuple[int, T]]:
        """Each unit and its result, as they are finished; may be called again after Ctrl-C.

        Raises:
            DistillError: What a unit raised.
            ClusterError: If workers do not start, or do not share the folder.
            StageError: If one unit kills worker after worker.
        """
        while self._left or any(worker.unit is not None for worker in self._busy.values()):
            while len(self._busy) < min(self._size.workers, len(self._open_units())):
                self._hire()
            ready, _ = self._cluster.ray.wait([*self._busy], timeout=_TICK_SECONDS)
            for ref in ready:
                yield from self._settle(ref)
            self._on_tick()
            self._refuse_empty()

    def close(self) -> None:
        """End all workers; what they have written stays."""
        while self._busy:
            _, worker = self._busy.popitem()
            self._cluster.ray.kill(worker.handle)

    def _open_units(self) -> list[int]:
        under_way = [one.unit for one in self._busy.values() if one.unit is not None]
        return [*under_way, *self._left]

    def _hire(self) -> None:
        handle = self._cluster.start(Host, self._make, size=self._size)
        self._busy[handle.visit.remote(self._probe.visit)] = _Worker(handle)

    def _settle(self, ref: Any) -> Iterator[tuple[int, T]]:  # noqa: ANN401 - a reference of Ray
        worker = self._busy.pop(ref)
        errors = self._cluster.ray.exceptions
        try:
            found = self._cluster.ray.get(ref)
        except (errors.RayActorError, errors.OutOfMemoryError, errors.RaySystemError) as error:
            self._bury(worker, str(error))
            return
        self._seen_at = time.monotonic()
        if isinstance(found, DistillError):
            self._cluster.ray.kill(worker.handle)
            raise found
        unit, worker.unit = worker.unit, None
        if not worker.is_known:
            self._probe.check(*found)
            worker.is_known = True
        self._employ(worker)
        if unit is not None:
            yield unit, found

    def _employ(self, worker: _Worker) -> None:
        """Give a worker the next unit, or let it go."""
        if not self._left:
            self._cluster.ray.kill(worker.handle)
            return
        worker.unit = self._left.popleft()
        self._busy[worker.handle.do.remote(worker.unit)] = worker

    def _bury(self, worker: _Worker, why: str) -> None:
        self.deaths += 1
        self._deaths[worker.unit] += 1
        died = self._deaths[worker.unit]
        last = why.strip().split("\n")[-1].strip()
        if worker.unit is None and died >= _MOST_FALSE_STARTS:
            raise ClusterError(
                f"{died} workers ended before they began: {last}",
                hint="Is distill installed on every machine, in the same version?",
            )
        if worker.unit is not None:
            if died >= _MOST_DEATHS:
                raise StageError(
                    f"{died} workers died over one part of the work: {last}",
                    hint="Memory may run out there: give the machines more, or take fewer --workers"
                    ". The same command goes on from what is finished.",
                )
            self._left.appendleft(worker.unit)
        self._on_death(worker.unit, last)

    def _refuse_empty(self) -> None:
        """Say that the cluster has no room, instead of waiting for it for ever."""
        if self.ready:
            self._seen_at = time.monotonic()
        elif self._busy and time.monotonic() - self._seen_at > _PATIENCE_SECONDS:
            free = self._cluster.ray.available_resources()
            size = self._size
            raise ClusterError(
                f"no worker has started for {_PATIENCE_SECONDS:.0f} s: each wants {size.cpus:g} CPU"
                f" and {size.gpus:g} GPU; free are {free.get('CPU', 0):g} CPU and"
                f" {free.get('GPU', 0):g} GPU",
                hint="Wait until the cluster has room, or take fewer --workers.",
            )
