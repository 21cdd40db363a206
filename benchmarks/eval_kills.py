"""An evaluation that is killed (SIGKILL) at 50 moments loses no finished sample and repeats none.

    python benchmarks/eval_kills.py endpoint [--kills 30]
    python benchmarks/eval_kills.py local [--kills 20]

Two runs of sampled answers (4 of each problem) are killed over and over: one asks the stub
endpoint, and notes what it asks before it is sent; one samples the embedded student here. A kill
comes once the journal has grown by a random number of rows, and a random fraction of a second
later. After each, every row that was ever seen in the journal must still be there, in its place; no
result may lie in the folder; and in the end each sample must be there once.

A sample counts as finished when it is in the journal. What is under way at a kill is asked again:
at the endpoint that is reported as perhaps paid for nothing.

Expected before the first measurement: 0 rows lost, 0 samples twice, 0 asked again that were stored.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import results_file

from distill.journal import read_journal
from students.load import EMBEDDED
from tests.servers.recipes import write_sums
from tests.servers.running import running_stub
from tests.servers.settings import Settings

PROBLEMS, SAMPLES = 100, 4
Command = list[str | Path]


@dataclass(slots=True)
class Found:
    """What came of one run that was killed again and again.

    Attributes:
        kills: How often it was killed while it worked.
        lost: Rows that were in the journal once and later were not, or not in their place.
        twice: Samples that are in the finished journal twice.
        missing: Samples that it has not.
        redone: Stored samples that were asked for again, by the log of requests; ``None`` where
            there is no such log.
        paid_for_nothing: Answers of the endpoint that no journal has: under way at a kill.
        results_too_early: Kills after which there was a result.
        resumed: Samples that the last try found stored.
        stored: By kill: rows in the journal.
    """

    kills: int = 0
    lost: int = 0
    twice: int = 0
    missing: int = 0
    redone: int | None = None
    paid_for_nothing: int = 0
    results_too_early: int = 0
    resumed: int = 0
    stored: list[int] = field(default_factory=list)


def main() -> None:
    """Kill, print, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=list(PARTS))
    parser.add_argument("--kills", type=int)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    usual, run = PARTS[arguments.part]
    with TemporaryDirectory() as folder:
        found = run(Path(folder), arguments.kills or usual, random.Random(arguments.seed))
    print(asdict(found))
    figures = {"problems": PROBLEMS, "samples": SAMPLES, **asdict(found)}
    print(results_file.write(f"eval_kills_{arguments.part}", figures))


def killed_at_endpoint(folder: Path, kills: int, rng: random.Random) -> Found:
    """The stub endpoint; what is asked of it is noted before it is sent."""
    write_sums(folder / "sums.jsonl", PROBLEMS)
    with running_stub(Settings(latency_seconds=0.1, reasoning_chars=400)) as server:
        command: Command = [
            *("vllm/stub", "--base-url", server.base_url, "--benchmark", "sums.jsonl"),
            *("--samples", str(SAMPLES), "--set", "concurrency=8", "--max-tokens", "4096"),
        ]
        found = killed_until_done(folder, command, "stub", kills, rng)
        found.paid_for_nothing = server.ledger()["counts"]["paid"] - PROBLEMS * SAMPLES
    return found


def killed_here(folder: Path, kills: int, rng: random.Random) -> Found:
    """The embedded student, 16 rows at once."""
    command: Command = [
        *(EMBEDDED, "--benchmark", "embedded", "--first", str(PROBLEMS)),
        *("--samples", str(SAMPLES), "--max-tokens", "96", "--batch-size", "16"),
    ]
    return killed_until_done(folder, command, "embedded", kills, rng)


def killed_until_done(
    folder: Path, command: Command, who: str, kills: int, rng: random.Random
) -> Found:
    """Kill one run so often, then let it finish."""
    found, run = Found(), folder / "run"
    journal, asked = (run / "eval" / name / f"{who}.jsonl" for name in (".", "requests"))
    at_kills: list[tuple[int, set[tuple[str, int]]]] = []
    whole = [sys.executable, "-m", "distill", "eval", *command, "--run-dir", run, "--json"]
    seen: list[tuple[str, int]] = []
    grows = PROBLEMS * SAMPLES // (kills + 1)
    while found.kills < kills:
        process = subprocess.Popen(
            list(map(str, whole)),
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wanted = len(seen) + rng.randint(0, grows)
        while process.poll() is None and rows_in(journal) <= wanted:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.2))
        if process.poll() is not None:
            break
        process.kill()
        process.wait()
        stored = keys_in(journal)
        found.kills += 1
        found.lost += sum(old != new for old, new in zip(seen, stored, strict=False))
        found.lost += max(len(seen) - len(stored), 0)
        found.results_too_early += (run / "eval" / "results").exists()
        found.stored.append(len(stored))
        at_kills.append((len(asked_in(asked)), set(stored)))
        seen = stored
    done = subprocess.run(
        list(map(str, whole)), cwd=folder, capture_output=True, text=True, check=True
    )
    keys = Counter(keys_in(journal))
    found.lost += sum(key not in keys for key in seen)
    found.twice = keys.total() - len(keys)
    found.missing = PROBLEMS * SAMPLES - len(keys)
    found.resumed = json.loads(done.stdout)["report"]["outcome"]["resumed"]
    if asked.exists():
        requests = asked_in(asked)
        found.redone = sum(key in stored for begin, stored in at_kills for key in requests[begin:])
    return found


def rows_in(journal: Path) -> int:
    """Whole lines, the header included."""
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def asked_in(log: Path) -> list[tuple[str, int]]:
    """Samples in the order in which they were asked for; none if nothing was noted."""
    records = read_journal(log) if log.exists() else ()
    return [(prompt, sample) for one in records for prompt, sample in one.get("samples", ())]


def keys_in(journal: Path) -> list[tuple[str, int]]:
    """Samples in the order in which they were stored."""
    records = list(read_journal(journal))[1:] if journal.exists() else []
    return [(one["trace"]["prompt_id"], one["trace"]["sample_index"]) for one in records]


PARTS: dict[str, tuple[int, Callable[[Path, int, random.Random], Found]]] = {
    "endpoint": (30, killed_at_endpoint),
    "local": (20, killed_here),
}
"""What is killed, how often unless the user says otherwise."""


if __name__ == "__main__":
    main()
