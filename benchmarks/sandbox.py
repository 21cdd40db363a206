"""The sandbox: attacks that get out, what is left of runs, and what a run takes.

    python benchmarks/sandbox.py [--runs 500]

Every attack of `tests/distill/verify/attacks.py` is run as this user, without any privilege
(through `unshare --user`), and as another user who owns the server as well, if this one is root.
Fakes print or return what would pass if the sandbox believed them. A run that is timed reads three
numbers and prints their sum, in a warm server; the peer is bubblewrap started for each run.

Expected before the first measurement: 0 escapes, 0 survivors, 3 ms a run.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import results_file

from distill.types import Completion, Prompt
from distill.verify.code import CodeVerifier
from distill.verify.sandbox import walls
from distill.verify.sandbox.client import Ran, Sandbox
from tests.distill.verify.attacks import ATTACKS, FAKED_FUNCTION, FAKED_PROGRAM, FAKES

# May read all files, as Python may lie in root's home: so much the harder for the walls.
READS = "-all,+dac_read_search"
ANOTHER = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", f"--inh-caps={READS}",
           f"--ambient-caps={READS}", f"--bounding-set={READS}"]  # fmt: skip
CODE, STDIN = "print(sum(map(int, input().split())))", "1 2 3\n"
PEER_COMMAND, PEER_RUNS = walls.outer_command("bubblewrap"), 40


def users() -> dict[str, list[str]]:
    """Whom the servers run as: a name, and the command that they are started through."""
    found: dict[str, list[str]] = {"as it is": []}
    if shutil.which("unshare"):
        found["without privileges"] = ["unshare", "--user"]
    if os.getuid() == 0 and shutil.which("setpriv"):
        found["as user 65534"] = ANOTHER
    return found


def processes() -> dict[int, int]:
    """Servers and their runs, everyone's: process id and that of the parent."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if b"sandbox/server.py" in (entry / "cmdline").read_bytes():
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                found[int(entry.name)] = int(fields[1])
        except OSError:
            continue
    return found


def outcome(ran: Ran) -> str:
    """How an attack ended, in a word or two."""
    if "ESCAPED" in ran.stdout:
        return "ESCAPED"
    if ran.reason:
        return {"timeout": "stopped: time", "output": "stopped: output"}.get(ran.reason, "LOST")
    return f"killed ({-ran.exit_code})" if ran.exit_code < 0 else "refused"


def measure(runs: int) -> tuple[dict[str, Any], dict[str, str]]:
    """Figures and outcomes of one user."""
    os.environ["DISTILL_SECRET"] = "secret"
    before = processes()
    left = 0
    outcomes = {}
    with Sandbox(seconds=1, memory_bytes=1 << 28, workers=1) as sandbox:
        for name, code in ATTACKS.items():
            outcomes[name] = outcome(sandbox.run(code))
            left += sum(parent in sandbox.server_pids() for parent in processes().values())
        milliseconds = timed(lambda: sandbox.run(CODE, STDIN), runs)
    left += len(processes().keys() - before.keys())
    return {
        "attacks": len(ATTACKS),
        "escapes": sum(end in ("ESCAPED", "LOST") for end in outcomes.values()),
        "survivors": left,
        "fakes": 2 * len(FAKES),
        "fakes_that_passed": passed_fakes(),
        "milliseconds_median": round(statistics.median(milliseconds), 2),
        "milliseconds_p90": round(statistics.quantiles(milliseconds, n=10)[-1], 2),
    }, outcomes


def passed_fakes() -> int:
    """Fakes that got any reward."""
    count = 0
    with CodeVerifier(seconds=1, workers=1) as verifier:
        for tests in (FAKED_PROGRAM, FAKED_FUNCTION):
            prompt = Prompt("fake", "?", json.dumps(tests))
            for code in FAKES.values():
                verdict = verifier.verify(prompt, Completion(f"```python\n{code}\n```"))
                count += verdict.is_accepted is not False or verdict.reward > 0
    return count


def timed(work: Callable[[], object], runs: int) -> list[float]:
    """Milliseconds of each run."""
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        times.append((time.perf_counter() - started) * 1000)
    return times


def peer() -> dict[str, float] | None:
    """The same run in a bubblewrap of its own; ``None`` where there is none."""
    if shutil.which("bwrap") is None:
        return None
    command = [*PEER_COMMAND, sys.executable, "-I", "-S", "-c", CODE]

    def run() -> None:
        ended = subprocess.run(command, input=STDIN, capture_output=True, text=True, check=True)
        assert ended.stdout == "6\n"

    milliseconds = timed(run, PEER_RUNS)
    return {"milliseconds_median": round(statistics.median(milliseconds), 2), "runs": PEER_RUNS}


def main() -> None:
    """Measure, print, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=500)
    arguments = parser.parse_args()
    figures: dict[str, Any] = {"user_id": os.getuid(), "backend": walls.find_backend()}
    table: dict[str, dict[str, str]] = {}
    for user, prefix in users().items():
        walls.outer_command = lambda backend, prefix=prefix: list(prefix)  # type: ignore[misc]
        figures[user], table[user] = measure(arguments.runs)
    figures["bubblewrap_each_run"] = peer()
    print(f"{'attack':32}", *(f"{user:20}" for user in table))
    for name in ATTACKS:
        print(f"{name:32}", *(f"{table[user][name]:20}" for user in table))
    for name, found in figures.items():
        print(f"{name}: {found}")
    print(results_file.write("sandbox", figures))


if __name__ == "__main__":
    main()
