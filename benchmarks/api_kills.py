"""A run that is killed (SIGKILL) at random moments loses nothing and pays for little again.

    python benchmarks/api_kills.py [--kills 100] [--prompts 4000]

Runs are killed over and over until they are done; then the next begins, until there were enough
kills. After each kill every row that was ever seen in the journal must still be there, and the
ledger says how many answers were paid and are stored nowhere: at most what was under way.

A kill does not empty the disk's cache, so this says nothing of a power cut; that the journal is
synced before a row counts is shown by its own tests.

Expected before the first measurement: nothing lost, nothing twice, at most 256 answers paid again
per kill, all of them reported.
"""

import argparse
import random
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from itertools import cycle
from pathlib import Path

import results_file
from api_measuring import AT_ONCE, at_most, new_folder, prepare, run_measured

from tests.servers.recipes import stored_traces
from tests.servers.running import Server, running_stub
from tests.servers.settings import Settings


@dataclass(slots=True)
class Found:
    """What all rounds found.

    Attributes:
        kills: How often a run was killed while it worked.
        at_work: After how many of them there were more rows than before.
        lost: Rows that were in the journal once and later were not.
        twice: Rows that are in a finished journal twice.
        missing: Rows that a finished journal has not.
        paid_again: By kill: answers that were paid and are stored nowhere.
        unreported: By round: such answers beyond those that the summary reports.
        over_reported: By round: reported ones beyond those.
        stored: By kill: rows in the journal.
    """

    kills: int = 0
    at_work: int = 0
    lost: int = 0
    twice: int = 0
    missing: int = 0
    paid_again: list[int] = field(default_factory=list)
    unreported: list[int] = field(default_factory=list)
    over_reported: list[int] = field(default_factory=list)
    stored: list[int] = field(default_factory=list)


def main() -> None:
    """Measure, print, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--prompts", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng, found, begin = random.Random(arguments.seed), Found(), seconds_to_begin()
    for mode in cycle(("stream = false", "stream = true")):
        kill_until_done(arguments.prompts, mode, rng, found, enough=arguments.kills, begin=begin)
        print(f"{found.kills} kills", flush=True)
        if found.kills >= arguments.kills:
            break
    bars = [
        at_most("rows lost", found.lost, 0),
        at_most("rows stored twice", found.twice, 0),
        at_most("rows missing in the end", found.missing, 0),
        at_most("most answers paid again after one kill", max(found.paid_again), AT_ONCE),
        at_most("answers paid again and not reported", sum(found.unreported), 0),
    ]
    for bar in bars:
        print(bar)
    print(f"        kills after which there was something new: {found.at_work}")
    print(f"        paid again per kill, median: {statistics.median(found.paid_again):g}")
    print(f"        reported beyond what was paid: {sum(found.over_reported)}")
    print(
        results_file.write(
            "api_kills", {"bars": [asdict(bar) for bar in bars], "found": asdict(found)}
        )
    )


def seconds_to_begin() -> float:
    """How long a run of one prompt takes: kills must come later than that as well."""
    with running_stub(Settings()) as server, new_folder() as folder:
        recipe = prepare(folder, server, prompts=1)
        return run_measured(["-m", "distill", "generate", recipe], folder).seconds


def kill_until_done(
    prompts: int, mode: str, rng: random.Random, found: Found, *, enough: int, begin: float
) -> None:
    """One run, killed again and again."""
    with running_stub(Settings(latency_seconds=0.1)) as server, new_folder() as folder:
        recipe = prepare(folder, server, prompts=prompts, teacher=[mode])
        command = ["-m", "distill", "generate", recipe, "--run-dir", folder / "run", "--json"]
        seen: set[tuple[str, int]] = set()
        unstored = 0
        while found.kills < enough and killed(command, folder, rng.uniform(0.1, begin + 1.5)):
            stored = keys_in(folder / "run")
            paid = paid_answers(server)
            found.kills += 1
            found.lost += len(seen - stored.keys())
            found.at_work += len(stored) > len(seen)
            found.stored.append(len(stored))
            found.paid_again.append(paid - len(stored) - unstored)
            seen, unstored = set(stored), paid - len(stored)
        ran = run_measured(command, folder)
        stored = keys_in(folder / "run")
        lost_answers = paid_answers(server) - stored.total()
        reported = ran.summary["unanswered"]
        found.lost += len(seen - stored.keys())
        found.twice += stored.total() - len(stored)
        found.missing += prompts - len(stored)
        found.unreported.append(max(lost_answers - reported, 0))
        found.over_reported.append(max(reported - lost_answers, 0))


def killed(command: list[str | Path], folder: Path, seconds: float) -> bool:
    """Start, wait, kill; whether it was still at work."""
    process = subprocess.Popen(
        [sys.executable, *map(str, command)],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
    return process.wait() == -signal.SIGKILL


def keys_in(run: Path) -> Counter[tuple[str, int]]:
    """Rows of the journal, by prompt and sample; none if there is no journal yet."""
    if not (run / "traces.jsonl").exists():
        return Counter()
    return Counter(stored_traces(run).keys)


def paid_answers(server: Server) -> int:
    """What the ledger says once nothing is under way; the server finishes what it began."""
    while (ledger := server.ledger())["in_flight"]:
        time.sleep(0.02)
    return int(ledger["counts"].get("paid", 0))


if __name__ == "__main__":
    main()
