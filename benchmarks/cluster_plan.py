"""A plan for 16 nodes by simulation: 800,000 traces of 6,000 tokens from DeepSeek-R1 on 128 H200.

    python benchmarks/cluster_plan.py

Prints what `docs/cluster.md` holds. The speed per GPU is published by others and the failure rates
are assumptions, both marked so; the rest is arithmetic, a simulation of servers that fail and
restart, and two measurements: how many events of a stream one core takes apart with this client's
reader, and what the journal writes to the disk of the current folder. One replica is one node
(EP8 x DP8 of the shard plan). Nothing here was measured on such a cluster. Expected beforehand:
100,000 events a second and core, so the client breaks first.
"""

import heapq
import json
import random
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

if __package__ is None:
    sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import results_file
from distill.journal import Journal
from teachers.moe_config import find_architecture
from teachers.shard_cost import Job, cost_of, speeds_of
from teachers.shard_plan import GIB, Cluster, Wish, plan_shards
from teachers.shard_weights import file_bytes
from teachers.wire import StreamReader

_NODES, _NODE_GPUS, _GPU_BYTES = 16, 8, 140 * GIB
_JOB = Job(traces=800_000, tokens=6000, usd_per_gpu_hour=2.5)
_CONTEXT = 32_768
_ROW_BYTES = 30_000  # 6,000 tokens of about 4 characters, with verdict and receipt
_STREAM_BYTES = 250  # one event of a stream, with its JSON and framing
_PROMPT_TOKENS = 300
_SHARED_BYTES, _DISK_BYTES = 3.1e9, 5e9  # per second
_REPEATS = 20
_GROUPS = 50


@dataclass(frozen=True, slots=True)
class Failures:
    """How often a replica fails, and what that takes: assumptions.

    Attributes:
        hours_between: Mean time between failures of a replica: a GPU, a link, the server.
        stalled_share: Failures in which the server says it is well and writes nothing.
        notice_seconds: Until the watchdog sees a stall; a death is seen at once.
        restart_seconds: Until the server answers again: weights from a local disk, graphs.
        broken_share: Failures after which the node is gone for good.
    """

    hours_between: float = 100.0
    stalled_share: float = 0.3
    notice_seconds: float = 40.0
    restart_seconds: float = 600.0
    broken_share: float = 0.05


_CASES = (
    Failures(),
    Failures(hours_between=10),
    # Without a watchdog: every failure waits until somebody looks.
    Failures(hours_between=10, stalled_share=1.0, notice_seconds=7200),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one simulated run came to.

    Attributes:
        hours: Until the last trace.
        failures: Of all replicas.
        lost_tokens: Written for traces that were under way in a failure, and written again.
        nodes_left: Replicas at the end.
    """

    hours: float
    failures: int
    lost_tokens: float
    nodes_left: int


def simulate(nodes: int, node_speed: float, at_once: int, failures: Failures, seed: int) -> Outcome:
    """Let all replicas work until every trace is written.

    Between two failures all replicas that are up share the work evenly. A failure loses what its
    replica has under way: on average half a trace of each of its sequences.

    Args:
        nodes: Replicas.
        node_speed: Tokens per second of one.
        at_once: Sequences of one.
        failures: How they fail.
        seed: Of the failures.
    """
    rng = random.Random(seed)
    left, now, count, lost = float(_JOB.traces * _JOB.tokens), 0.0, 0, 0.0
    up, alive = nodes, nodes
    mean = failures.hours_between * 3600
    events = [(rng.expovariate(1 / mean), "fails") for _ in range(nodes)]
    heapq.heapify(events)
    while left > 0:
        at, kind = events[0]
        end = now + left / (up * node_speed) if up else float("inf")
        if end <= at:
            return Outcome(end / 3600, count, lost, alive)
        heapq.heappop(events)
        left -= (at - now) * up * node_speed
        now = at
        if kind == "returns":
            up += 1
            heapq.heappush(events, (now + rng.expovariate(1 / mean), "fails"))
            continue
        count, up = count + 1, up - 1
        again = at_once * _JOB.tokens / 2
        left, lost = left + again, lost + again
        if rng.random() < failures.broken_share:
            alive -= 1
            continue
        unseen = failures.notice_seconds if rng.random() < failures.stalled_share else 1.0
        heapq.heappush(events, (now + unseen + failures.restart_seconds, "returns"))
    raise AssertionError("the work ends in the loop")


def main() -> None:
    """Print the plan and write its figures."""
    facts = find_architecture("DeepSeek-R1")
    gpus = _NODES * _NODE_GPUS
    plan = plan_shards(facts, Cluster(_NODE_GPUS, _GPU_BYTES), Wish(_CONTEXT))[0]
    likely = plan_shards(facts, Cluster(_NODE_GPUS, _GPU_BYTES), Wish(_JOB.tokens))[0].sequences
    print(
        f"one replica: {plan.layout} on {_NODE_GPUS} x 140 GiB, {plan.weight_bytes / GIB:.0f} GiB"
    )
    print(
        f"  of weights each; {plan.sequences} sequences of {_CONTEXT:,} tokens, {likely:,} of 6,000"
    )
    figures: dict[str, object] = {"layout": str(plan.layout), "sequences": likely}
    for speed in speeds_of(facts):
        cost = cost_of(_JOB, speed, gpus)
        node_speed = speed.tokens_per_second_per_gpu * _NODE_GPUS
        print(f"\n{cost.tokens_per_second:,.0f} tokens/s on {gpus} GPUs; published: {speed.source}")
        money = f"{cost.gpu_hours:,.0f} GPU-hours, {cost.usd:,.0f} USD"
        print(f"  without failures {cost.hours:.1f} h, {money}")
        for failures in _CASES:
            label, found = _simulated(node_speed, likely, failures)
            print(f"  {label}")
            figures[f"{speed.source}; {asdict(failures)}"] = found
        _say_streams(node_speed, likely)
    print()
    for tokens in (1, 8):
        rate = _events_per_second(tokens) * tokens
        figures[f"tokens per second that one core reads, {tokens} in an event"] = rate
        print(
            f"\nmeasured: one core of the client reads {rate:,.0f} tokens/s, {tokens} in an event"
        )
    for rows in (1, 64):
        groups = _synced_groups_per_second(rows)
        figures[f"synced groups per second, {rows} rows of {_ROW_BYTES:,} bytes in each"] = groups
        print(
            f"measured: the journal syncs {groups:,.0f} groups of {rows} rows a second here,"
            f" {groups * rows:,.0f} rows/s"
        )
    stored = sum(file_bytes(facts).values())
    shared, disk = stored * _NODES / _SHARED_BYTES / 60, stored / _DISK_BYTES / 60
    print(f"\nstart: {stored / 1e9:,.0f} GB for each of {_NODES} nodes")
    print(f"  all from one store with 25 Gbit/s: {shared:,.0f} min; a local disk: {disk:,.0f} min")
    print(f"store: {_JOB.traces * _ROW_BYTES / 1e9:,.0f} GB of journal at the end")
    results_file.write("cluster_plan", figures)


def _simulated(node_speed: float, at_once: int, failures: Failures) -> tuple[str, dict[str, float]]:
    """Medians over several simulated runs, as text and as figures."""
    runs = [simulate(_NODES, node_speed, at_once, failures, seed) for seed in range(_REPEATS)]
    hours = statistics.median(run.hours for run in runs)
    lost = statistics.median(run.lost_tokens for run in runs) / (_JOB.traces * _JOB.tokens)
    count = statistics.median(run.failures for run in runs)
    unseen = failures.notice_seconds
    label = (
        f"a failure per node in {failures.hours_between:g} h, a stall seen after {unseen:g} s:"
        f" {hours:.1f} h, {count:.0f} failures, {lost:.2%} written again"
    )
    return label, {"hours": hours, "failures": count, "written_again": lost}


def _say_streams(node_speed: float, at_once: int) -> None:
    """What the one client and its journal must take."""
    tokens = node_speed * _NODES
    rows, bits = tokens / _JOB.tokens, tokens * _STREAM_BYTES * 8
    print(
        f"  client: {at_once * _NODES:,} streams, {tokens:,.0f} events/s, {bits / 1e9:.2f} Gbit/s"
    )
    print(f"  journal: {rows:.0f} rows/s, {rows * _ROW_BYTES / 1e6:.1f} MB/s")


def _events_per_second(tokens: int) -> float:
    """Events of a stream that the client's reader takes per CPU second."""
    text = " word" * tokens
    choice = {"index": 0, "delta": {"reasoning_content": text}, "finish_reason": None}
    event = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "r1"}
    data = b"data: " + json.dumps({**event, "choices": [choice]}).encode() + b"\n\n"
    count = 6000 // tokens
    took = []
    for _ in range(9):
        reader, began = StreamReader(), time.process_time()
        for _ in range(count):
            reader.feed(data)
        took.append((time.process_time() - began) / count)
    return 1 / statistics.median(took)


def _synced_groups_per_second(rows: int) -> float:
    """Groups of rows that the journal has written and synced per second, on this disk."""
    record, took = {"text": "x" * _ROW_BYTES}, []
    with TemporaryDirectory(dir=Path.cwd()) as folder:
        journal = Journal.open(Path(folder) / "journal.jsonl")
        for _ in range(_GROUPS):
            began = time.perf_counter()
            for _ in range(rows):
                journal.append(record)
            journal.commit()
            took.append(time.perf_counter() - began)
        journal.close()
    return 1 / statistics.median(took)


if __name__ == "__main__":
    main()
