"""Stage ``filter`` over workers: the shards that processes of one machine would judge.

A shard comes to the same files whoever judges it, columns and types by the schemas in
``distill.filter_tables``, and is passed over once they are there. Rows never travel: workers read
and write the folder that all machines share, and send back what they have counted.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from functools import partial

from distill.filter_shard import ShardJudge, ShardResult, ShardWork
from distill.scale.cluster import Cluster, Size
from distill.scale.probe import Probe
from distill.scale.workers import Workers


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

    def say_death(unit: int | None, why: str) -> None:
        if unit is not None:
            on_notice(f"a worker ended ({why}); shard {unit + 1} is judged by another")

    early: dict[int, ShardResult] = {}
    turn = iter(shards)
    wanted = next(turn, None)
    make = partial(_judge_of, _absolute(work))
    with (
        Probe(work.work.resolve()) as probe,
        Workers[ShardResult](
            cluster, make, shards, size=size, probe=probe, on_death=say_death
        ) as workers,
    ):
        for shard, result in workers.results():
            early[shard] = result
            while wanted in early:
                yield early.pop(wanted)
                wanted = next(turn, None)


def _judge_of(work: ShardWork) -> Callable[[int], ShardResult]:
    """In a worker: what judges its shards."""
    return ShardJudge(work).judge


def _absolute(work: ShardWork) -> ShardWork:
    """The same from any working directory."""
    source = work.source
    prompts = None if source.prompts is None else source.prompts.resolve()
    source = replace(source, rows=source.rows.resolve(), prompts=prompts)
    return replace(work, source=source, work=work.work.resolve())
