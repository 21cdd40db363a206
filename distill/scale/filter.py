"""Stage ``filter`` over Ray Data: the shards that processes of one machine would judge.

A data set of shards goes through the rules and becomes a data set of what they came to; the schemas
of both are below, and never guessed. A shard's traces do not travel: a worker reads and writes the
folder that all machines share, columns and types by the schemas in ``distill.filter_tables``. A
shard comes to the same files whoever judges it, so one whose worker dies is judged again elsewhere,
and one that is there is passed over.
"""

import logging
import pickle
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import pyarrow as pa  # type: ignore[import-untyped]

from distill.errors import ClusterError, DistillError, StageError
from distill.filter_shard import ShardJudge, ShardResult, ShardWork
from distill.scale.cluster import Cluster, Size, ask
from distill.scale.probe import Probe, Visit, visit

SHARDS: Final = pa.schema([pa.field("shard", pa.int64(), nullable=False)])
JUDGED: Final = pa.schema(
    [
        pa.field("shard", pa.int64(), nullable=False),
        pa.field("tries", pa.int64(), nullable=False),
        pa.field("worker", pa.string(), nullable=False),
        pa.field("folder_problem", pa.string(), nullable=False),
        pa.field("result", pa.string()),
        pa.field("mistake", pa.binary()),
    ]
)
"""A row for each shard: ``result`` is a ``ShardResult`` as JSON, ``mistake`` a pickled error."""

_MOST_TRIES: Final = 10
"""Workers that may die over one shard: then it is the shard that kills them."""
_PATIENCE_SECONDS: Final = 60
"""Without any worker for so long: the cluster has no room."""


def judge_on(
    cluster: Cluster,
    work: ShardWork,
    shards: Sequence[int],
    *,
    size: Size,
    on_notice: Callable[[str], None] = lambda text: None,
) -> Generator[ShardResult, None, None]:
    """Judge shards over workers; see ``distill.filter_pool.ShardSpread``.

    Args:
        cluster: Where the workers are.
        work: The file and how to judge it.
        shards: Which ones are left.
        size: How many workers, and what each gets.
        on_notice: Called with what the user should know.

    Yields:
        What each shard came to, in order.

    Raises:
        ClusterError: If workers do not start, or do not share the folder.
        StageError: If one shard kills worker after worker.
        DistillError: What judging raises.
    """
    early: dict[int, ShardResult] = {}
    turn = iter(shards)
    wanted = next(turn, None)
    with Probe(work.work.resolve()) as probe:
        checked: set[str] = set()
        task = Task(_absolute(work), probe.visit, tuple(shards), size)
        for row in _remote_rows(cluster, task) if cluster.is_client else _rows(task):
            if row["worker"] not in checked:
                probe.check(row["folder_problem"], row["worker"])
                checked.add(row["worker"])
            if row["tries"] > 1:
                on_notice(f"a worker ended; shard {row['shard'] + 1} was judged by another")
            if row["mistake"] is not None:
                raise pickle.loads(row["mistake"])  # from a worker of ours
            early[row["shard"]] = ShardResult.from_json(row["result"])
            while wanted in early:
                yield early.pop(wanted)
                wanted = next(turn, None)


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be judged, what workers look for first, and how many there are."""

    work: ShardWork
    visit: Visit
    shards: tuple[int, ...]
    size: Size


class Rules:
    """In a worker: what judges its shards."""

    def __init__(self, task: Task) -> None:
        """Look at the folder; the verifier is built with the first shard."""
        self._task = task
        self._problem, self._name = visit(task.visit)
        self._judge: ShardJudge | None = None

    def __call__(self, shards: pa.Table) -> pa.Table:
        """One row of ``SHARDS`` in, one of ``JUDGED`` out."""
        (shard,) = shards["shard"].to_pylist()
        row = dict.fromkeys(JUDGED.names) | {"shard": shard, "tries": 0}
        row |= {"worker": self._name, "folder_problem": self._problem}
        if not self._problem:
            try:
                row["tries"] = self._begin(shard)
                self._judge = self._judge or ShardJudge(self._task.work)
                row["result"] = self._judge.judge(shard).as_json()
            except DistillError as error:
                row["mistake"] = pickle.dumps(error)
        return pa.Table.from_pylist([row], schema=JUDGED)

    def _begin(self, shard: int) -> int:
        """How often this shard was begun, this time included; a worker that dies leaves a mark."""
        with (self._task.visit.folder / f"tries-{shard}").open("ab") as marks:
            marks.write(b".")
            tries = marks.tell()
        if tries > _MOST_TRIES:
            raise StageError(
                f"{_MOST_TRIES} workers died over one part of the work, shard {shard + 1}",
                hint="Memory may run out there: give the machines more, or take fewer --workers."
                " The same command goes on from what is finished.",
            )
        return tries


class _Head:
    """A process on the cluster for one who is outside: Ray Data works from the inside only."""

    def __init__(self, task: Task) -> None:
        """Begin with nothing judged."""
        self._rows = _rows(task)

    def next(self) -> dict[str, Any] | DistillError | None:
        """The next row, ``None`` after the last, or what is wrong."""
        try:
            return next(self._rows, None)
        except DistillError as error:
            return error


def _remote_rows(cluster: Cluster, task: Task) -> Iterator[dict[str, Any]]:
    head = cluster.start(_Head, task, size=Size(1, cpus=0), on_head=True)
    try:
        while (row := ask(head.next)) is not None:
            if isinstance(row, DistillError):
                raise row
            yield row
    finally:
        cluster.ray.kill(head)


def _rows(task: Task) -> Iterator[dict[str, Any]]:
    """What the shards come to, row by row, as they are finished."""
    import ray
    from ray import data

    _keep_quiet(data)
    blocks = [pa.Table.from_pydict({"shard": [shard]}, schema=SHARDS) for shard in task.shards]
    judged = data.from_arrow(blocks).map_batches(
        Rules,
        fn_constructor_args=(task,),
        batch_size=1,
        batch_format="pyarrow",
        compute=data.ActorPoolStrategy(size=min(task.size.workers, len(blocks))),
        num_cpus=task.size.cpus,
    )
    try:
        tables: Iterable[pa.Table] = judged.iter_batches(batch_size=None, batch_format="pyarrow")
        for table in tables:
            if not table.schema.equals(JUDGED):
                raise ClusterError(
                    f"a worker sent columns that are not agreed: {table.schema}",
                    hint="Install the same version of distill on every machine.",
                )
            yield from table.to_pylist()
    except ray.exceptions.RayError as error:
        last = str(error).strip().split("\n")[-1].strip()
        raise ClusterError(
            f"workers do not start, or do not go on: {last}",
            hint="Wait until the cluster has room, or take fewer --workers; distill must be"
            " installed on every machine, in the same version. The same command goes on from what"
            " is finished.",
        ) from None


def _keep_quiet(data: Any) -> None:  # noqa: ANN401 - a module
    """Ray Data tells of its plans and draws its own progress; the command has one of its own."""
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = data.DataContext.get_current()
    context.enable_progress_bars = False
    context.wait_for_min_actors_s = _PATIENCE_SECONDS


def _absolute(work: ShardWork) -> ShardWork:
    """The same from any working directory."""
    source = work.source
    prompts = None if source.prompts is None else source.prompts.resolve()
    source = replace(source, rows=source.rows.resolve(), prompts=prompts)
    return replace(work, source=source, work=work.work.resolve())
