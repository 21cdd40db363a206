"""Workers on Ray against one process: the same result, three of them killed, and what it costs.

    python benchmarks/ray_scale.py generate [--prompts 10000]
    python benchmarks/ray_scale.py filter [--traces 100000]

``generate`` samples sums from the stub, which answers in 0.1 s and draws by the request's seed, so
that whoever asks gets the same answer; ``filter`` judges short traces. Each is done by one command
on this machine alone, by the same with ``--on local --workers 2``, and again with a worker killed
(SIGKILL) three times. Ray is started and ended within the time that is measured.

Expected before the first measurement: the same traces, the same bytes of both Parquet files; no
answer that was stored when a worker was killed is paid for again; what is under way when it is
killed is, and is reported. Start-up and end of Ray take 6 to 10 s; beyond that at most a tenth more
time than one machine. For a filter of this size on two cores, start-up makes it slower than the
pool of processes that a machine has anyway: Ray is for more machines than one.

Prints the results and writes them to ``results/ray_generate.json`` or ``results/ray_filter.json``.
"""

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import filter_stage
import results_file

from tests.servers.recipes import write_recipe, write_sums
from tests.servers.running import Server, running_stub
from tests.servers.settings import Settings

OVER = ("--on", "local", "--workers", "2")
KILLS = (0.2, 0.45, 0.7)
"""Share of the work after which a worker is killed."""
WORKERS = (b"ray::Host.do", b"ray::MapWorker(MapBatches(Rules)).submit")
"""What Ray calls processes at work: our own actors, and those of Ray Data."""
AT_ONCE = 64
STUB = Settings(latency_seconds=0.1, reasoning_chars=1000, draws_by_seed=True)
_LOOK_SECONDS = 0.2

OnLook = Callable[[list[int]], None]
Cases = dict[str, tuple[tuple[str, ...], OnLook | None]]


@dataclass(slots=True)
class Watched:
    """A command and the processes that it started, Ray's included.

    Attributes:
        seconds: Until it ended.
        peak_bytes: Most memory of all of them at once; pages that they share count for each.
        summary: What it printed.
    """

    process: "subprocess.Popen[str]"
    started: float
    seconds: float = 0.0
    peak_bytes: int = 0
    summary: dict[str, Any] = field(default_factory=dict)
    cpu: dict[int, float] = field(default_factory=dict)

    @property
    def cpu_seconds(self) -> float:
        """Of all processes, as last seen."""
        return sum(self.cpu.values())

    def look(self) -> list[int]:
        """Note what they use; gives the workers."""
        resident, workers = 0, []
        for pid in descendants(self.process.pid):
            try:
                stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
                name = Path(f"/proc/{pid}/cmdline").read_bytes()
            except (OSError, IndexError):
                continue
            self.cpu[pid] = (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
            resident += pages * os.sysconf("SC_PAGE_SIZE")
            workers += [pid] if name.startswith(WORKERS) else []
        self.peak_bytes = max(self.peak_bytes, resident)
        return workers

    def figures(self) -> dict[str, float]:
        """For the results."""
        return {
            "seconds": round(self.seconds, 2),
            "cpu_seconds": round(self.cpu_seconds, 1),
            "peak_mib": round(self.peak_bytes / 2**20),
        }


def descendants(root: int) -> list[int]:
    """A process and all that come from it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def run(arguments: list[str | Path], folder: Path, on_look: OnLook | None = None) -> Watched:
    """Run ``distill``, watched; ``on_look`` is called with the workers that are there."""
    command = [sys.executable, "-m", "distill", *map(str, arguments), "--json"]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        watched = Watched(process, time.monotonic())
        out: list[str] = []
        reader = threading.Thread(target=lambda: out.append(process.communicate()[0]))
        reader.start()
        while reader.is_alive():
            workers = watched.look()
            if on_look is not None:
                on_look(workers)
            reader.join(_LOOK_SECONDS)
        watched.seconds = time.monotonic() - watched.started
    assert process.returncode == 0, f"{command}: exit code {process.returncode}"
    watched.summary = json.loads(out[0])
    return watched


class Killer:
    """Kills a worker whenever so much of the work is done."""

    def __init__(self, done: Callable[[], tuple[float, dict[str, int]]]) -> None:
        """Take what says which share is done, and how often each finished part was paid for."""
        self.killed: list[int] = []
        self.stored: dict[str, int] = {}
        self._done = done
        self._left = list(KILLS)

    def __call__(self, workers: list[int]) -> None:
        """Kill one of them, if it is time."""
        workers = [pid for pid in workers if pid not in self.killed]
        if not (self._left and workers):
            return
        share, stored = self._done()
        if share >= self._left[0]:
            os.kill(workers[0], signal.SIGKILL)
            self.killed.append(workers[0])
            self._left.pop(0)
            self.stored |= {part: paid for part, paid in stored.items() if part not in self.stored}


def traces_in(journal: Path) -> dict[str, Any]:
    """What is stored, by trace, without what no two runs share: when, how long and what for."""
    text = journal.read_text(encoding="utf-8")
    found = {}
    for line in text[: text.rfind("\n") + 1].splitlines()[1:]:
        record = json.loads(line)
        trace = record["trace"]
        del record["crc"], trace["receipt"], record["verdict"]["milliseconds"]
        found[f"{trace['prompt_id']}#{trace['sample_index']}"] = record
    return found


def generate_figures(prompts: int) -> dict[str, Any]:
    """Sample alone, over workers, and over workers that are killed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_sums(folder / "prompts.jsonl", prompts)
        asked = map(json.loads, (folder / "prompts.jsonl").read_text().splitlines())
        text_of = {prompt["id"]: prompt["text"] for prompt in asked}
        runs: dict[str, Watched] = {}
        paid: dict[str, dict[str, int]] = {}

        servers: list[Server] = []

        def stored_share() -> tuple[float, dict[str, int]]:
            blocks = (folder / "killed" / ".scale" / "blocks").glob("*/traces.jsonl")
            stored = [trace for block in blocks for trace in traces_in(block)]
            by_text = servers[-1].ledger()["answers_by_prompt"]
            return len(stored) / prompts, {one: by_text[text_of[one[:-2]]] for one in stored}

        killer = Killer(stored_share)
        cases: Cases = {"alone": ((), None), "over": (OVER, None), "killed": (OVER, killer)}
        for case, (more, on_look) in cases.items():
            with running_stub(STUB) as server:
                servers.append(server)
                recipe = recipe_for(folder, server)
                arguments = ["generate", recipe, "--run-dir", folder / case, *more]
                runs[case] = run(arguments, folder, on_look)
                paid[case] = server.ledger()["answers_by_prompt"]
        results = {case: traces_in(folder / case / "traces.jsonl") for case in runs}
    alone = dict(sorted(results["alone"].items(), key=lambda one: place(one[0])))
    again = [
        trace
        for trace, times in killer.stored.items()
        if paid["killed"][text_of[trace[:-2]]] > times
    ]
    summary = runs["killed"].summary["stages"]["generate"]
    return {
        "prompts": prompts,
        "kills": len(killer.killed),
        "same_traces": {
            case: list(alone.items()) == list(results[case].items()) for case in ("over", "killed")
        },
        "stored_when_killed": len(killer.stored),
        "of_those_paid_again": len(again),
        "paid_again": sum(paid["killed"].values()) - prompts,
        "reported_as_paid_again": summary["unanswered"],
        "runs": {case: watched.figures() for case, watched in runs.items()},
    }


def place(trace: str) -> int:
    """Rank of a trace of the sums."""
    return int(trace.removeprefix("sum-").removesuffix("#0"))


def recipe_for(folder: Path, server: Server) -> Path:
    """A recipe that sends its seeds."""
    teacher = ['model = "stub"', f"concurrency = {AT_ONCE}", "send_seed = true"]
    return write_recipe(folder, base_url=server.base_url, teacher=teacher)


def filter_figures(traces: int) -> dict[str, Any]:
    """Judge alone, over workers, and over workers that are killed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        filter_stage.write_traces(folder / "traces.jsonl", traces, 300)
        runs: dict[str, Watched] = {}
        hashes: dict[str, list[str]] = {}
        shards = -(-traces // 2048)

        def judged_share() -> tuple[float, dict[str, int]]:
            parts = list((folder / "killed" / ".filter" / "parts").glob("*.json"))
            return len(parts) / shards, {}

        killer = Killer(judged_share)
        cases: Cases = {"alone": ((), None), "over": (OVER, None), "killed": (OVER, killer)}
        for case, (more, on_look) in cases.items():
            arguments = [
                "filter",
                "--traces",
                folder / "traces.jsonl",
                "--to",
                folder / case,
                *more,
            ]
            runs[case] = run(arguments, folder, on_look)
            hashes[case] = [
                hashlib.sha256((folder / case / file).read_bytes()).hexdigest()
                for file in ("traces.verdicts.parquet", "train.parquet")
            ]
    return {
        "traces": traces,
        "kills": len(killer.killed),
        "same_bytes": {case: hashes[case] == hashes["alone"] for case in ("over", "killed")},
        "runs": {case: watched.figures() for case, watched in runs.items()},
    }


def main() -> None:
    """Measure, print, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=("generate", "filter"))
    parser.add_argument("--prompts", type=int, default=10_000)
    parser.add_argument("--traces", type=int, default=100_000)
    arguments = parser.parse_args()
    if arguments.stage == "generate":
        figures = generate_figures(arguments.prompts)
    else:
        figures = filter_figures(arguments.traces)
    print(json.dumps(figures, indent=2))
    print(results_file.write(f"ray_{arguments.stage}", figures))


if __name__ == "__main__":
    main()
