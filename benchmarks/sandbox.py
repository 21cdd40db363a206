"""The sandbox: attacks that get out, what is left of runs, and what a run takes.

    python benchmarks/sandbox.py [--runs 500]

Every attack of `tests/distill/verify/attacks.py` is run as this user and, through `unshare --user`,
without any privilege. A run that is timed reads three numbers and prints their sum, in a warm
server.

Expected before the first measurement: 0 escapes, 0 survivors, 3 ms a run.
"""

import argparse
import os
import statistics
import time
from pathlib import Path

import results_file

from distill.verify.sandbox import walls
from distill.verify.sandbox.client import Sandbox
from tests.distill.verify.attacks import ATTACKS

USERS = {"as it is": [], "without privileges": ["unshare", "--user"]}
CODE, STDIN = "print(sum(map(int, input().split())))", "1 2 3\n"


def survivors(sandbox: Sandbox) -> int:
    """Processes below the sandbox's servers."""
    servers = sandbox.server_pids()
    found = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            found += int(fields[1]) in servers
    return found


def measure(runs: int) -> dict[str, float | int]:
    """One user."""
    os.environ["DISTILL_SECRET"] = "secret"
    with Sandbox(seconds=2, memory_bytes=1 << 28, workers=1) as sandbox:
        escapes = left = 0
        for name, code in ATTACKS.items():
            ran = sandbox.run(code)
            if "ESCAPED" in ran.stdout:
                escapes += 1
                print(f"ESCAPED: {name}")
            left += survivors(sandbox)
        times = []
        for _ in range(runs):
            started = time.perf_counter()
            sandbox.run(CODE, STDIN)
            times.append((time.perf_counter() - started) * 1000)
    return {
        "attacks": len(ATTACKS),
        "escapes": escapes,
        "survivors": left,
        "milliseconds_median": round(statistics.median(times), 2),
        "milliseconds_p90": round(statistics.quantiles(times, n=10)[-1], 2),
    }


def main() -> None:
    """Measure, print, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=500)
    arguments = parser.parse_args()
    figures: dict[str, object] = {"user_id": os.getuid(), "backend": walls.find_backend()}
    for user, prefix in USERS.items():
        walls.outer_command = lambda backend, prefix=prefix: list(prefix)  # type: ignore[misc]
        found = measure(arguments.runs)
        figures[user] = found
        print(f"{user} (started by user {os.getuid()}): {found}")
    print(results_file.write("sandbox", figures))


if __name__ == "__main__":
    main()
