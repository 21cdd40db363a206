"""All shards of a file, judged by as many processes as there are cores; results come in order.

Workers are spawned, so that a library with threads in this process does no harm. A small input is
judged here: starting a worker takes longer than judging a thousand traces.
"""

import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from multiprocessing import get_context, parent_process

from distill.errors import StageError
from distill.filter_shard import ShardJudge, ShardResult, ShardWork, finished_shard

_WORTH_A_POOL = 4
_AHEAD = 2
"""Shards that are handed out before their turn, for each worker."""


Judged = Generator[ShardResult, None, None]
ShardSpread = Callable[[ShardWork, Sequence[int]], Judged]
"""Judges some shards of a file somewhere and gives what they came to, in their order."""


def judge_shards(
    work: ShardWork,
    shards: int,
    *,
    workers: int | None = None,
    elsewhere: ShardSpread | None = None,
) -> Generator[tuple[ShardResult, bool], None, None]:
    """Judge what is left of a file's shards.

    Args:
        work: The file and how to judge it.
        shards: How many there are.
        workers: Processes; ``None`` is one for each core, and none for a few shards.
        elsewhere: Who judges instead of processes of this machine.

    Yields:
        What each shard came to, in order, and whether an earlier try had finished it.

    Raises:
        DistillError: What a worker raises.
        StageError: If a worker dies.
    """
    finished = {shard for shard in range(shards) if finished_shard(work, shard) is not None}
    left = [shard for shard in range(shards) if shard not in finished]
    wanted = workers if workers is not None else _cores() if len(left) >= _WORTH_A_POOL else 1
    count = min(wanted, len(left))
    if elsewhere is not None and left:
        judged = elsewhere(work, left)
    else:
        judged = _in_pool(work, left, count) if count > 1 else _here(work, left)
    with closing(judged):
        for shard in range(shards):
            if shard in finished and (known := finished_shard(work, shard)) is not None:
                yield known, True
            else:
                yield next(judged), False


def _here(work: ShardWork, shards: Sequence[int]) -> Judged:
    if shards:
        with closing(ShardJudge(work)) as judge:
            yield from map(judge.judge, shards)


def _in_pool(work: ShardWork, shards: Sequence[int], count: int) -> Judged:
    context = get_context("spawn")
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=(work,))
    waiting: list[Future[ShardResult]] = []
    try:
        for shard in shards:
            waiting.append(pool.submit(_judge, shard))
            if len(waiting) > _AHEAD * count:
                yield waiting.pop(0).result()
        while waiting:
            yield waiting.pop(0).result()
    except BrokenProcessPool:
        raise StageError(
            "a worker of the filter died",
            hint="Memory may have run out: the same command goes on from what is finished; with"
            " --workers 1 it needs least.",
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_judge_of_process: list[ShardJudge] = []


def _begin(work: ShardWork) -> None:
    """In a worker: Ctrl-C is its parent's business, and it ends when that does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _judge_of_process[:] = [ShardJudge(work)]


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _judge(shard: int) -> ShardResult:
    return _judge_of_process[0].judge(shard)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
