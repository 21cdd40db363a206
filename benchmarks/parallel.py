"""Two processes on the CPU against one: the student, resume after kill -9, and who notices a stop.

    python benchmarks/parallel.py

Trains the embedded base with the forks of tests/students/parallel_training.py, and starts real
processes of which one is stopped or killed. Expected, before the first measurement: differences of
weights and losses at most 1e-5; 0.0 after kills; half of the weights in each process; a death
noticed within 5 s, a stop within 2 s of train.stall_seconds.

The first is missed at a learning rate of 1e-2, and met at the usual one: there, one process that
takes the rows of each step in another order differs from itself by as much.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from results_file import write

from distill.errors import StageError
from distill.train_sections import TrainSection
from distill.types import Example, Message, Progress
from engine.processes import Processes
from students.launch import train_together
from students.load import EMBEDDED

USUAL_RATE, HOT_RATE = 5e-5, 1e-2
HARMED_STEP = 3
ROOT = Path(__file__).parents[1]
STALL_SECONDS = 10.0


def compare(folder: Path, rate: float, *methods: str) -> dict[str, Any]:
    """Differences between one process and two, and between killed and whole trainings."""
    script = ROOT / "tests" / "students" / "parallel_training.py"
    given = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "LEARNING_RATE": str(rate)}
    given |= {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
    done = subprocess.run(
        [sys.executable, str(script), str(EMBEDDED), str(folder), *methods],
        env={**os.environ, **given},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    outcome: dict[str, Any] = json.loads(done.stdout)
    return outcome


def notice(folder: Path, harm: Callable[[psutil.Process], None]) -> dict[str, Any]:
    """Harm rank 1 after its third step; the error, and the seconds until it came."""
    turns = (Message("user", "?"), Message("assistant", "x" * 40, is_trained=True))
    examples = [Example(str(number), turns) for number in range(24)]
    settings = {"epochs": 2000, "batch_tokens": 512, "seq_len": 256, "held_out_share": 0.0}
    harmed_at = 0.0

    def on_progress(progress: Progress) -> None:
        nonlocal harmed_at
        if progress.done == HARMED_STEP:
            harmed_at = time.monotonic()
            harm({int(each.cmdline()[-3]): each for each in psutil.Process().children()}[1])

    try:
        train_together(
            examples,
            EMBEDDED,
            TrainSection.model_validate(settings | {"stall_seconds": STALL_SECONDS}),
            folder / "student",
            folder / "checkpoints",
            processes=Processes.on_cpu(2),
            seed=0,
            on_progress=on_progress,
        )
    except StageError as error:
        return {"said": error.problem, "after_seconds": round(time.monotonic() - harmed_at, 1)}
    raise SystemExit("nothing was noticed")


def main() -> None:
    """Measure, print and write the results."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rates = {
            USUAL_RATE: compare(folder / "usual", USUAL_RATE),
            HOT_RATE: compare(folder / "hot", HOT_RATE, "full"),
        }
        noticed = {
            "killed": notice(folder / "killed", lambda rank: os.kill(rank.pid, signal.SIGKILL)),
            "stopped": notice(folder / "stopped", psutil.Process.suspend),
        }
    for rate, outcome in rates.items():
        print(f"learning rate {rate:g}: largest differences of weights, of losses")
        for method, found in outcome["compared"].items():
            show(f"{method}, two processes", found["differences"])
        show("full, one process, rows of a step reversed", outcome["order"])
        for method, found in outcome["killed"].items():
            show(f"{method}, {len(found['signals']) - 1} kills", found["differences"])
            show(f"{method}, went on by one process", found["by fewer"])
    shares = [found["held_share"] for found in rates[USUAL_RATE]["compared"].values()]
    print(f"a process holds {min(shares):.1%} to {max(shares):.1%} of the weights")
    for how, found in noticed.items():
        print(f"{how}: {found['after_seconds']} s later: {found['said']}")
    by_rate = {f"learning rate {rate:g}": outcome for rate, outcome in rates.items()}
    write("parallel", {**by_rate, "noticed": noticed, "stall_seconds": STALL_SECONDS})


def show(what: str, found: list[float] | int) -> None:
    """One line: differences, or the exit code of what was refused."""
    text = (
        f"refused, exit code {-found}"
        if isinstance(found, int)
        else "{:.1e}  {:.1e}".format(*found)
    )
    print(f"  {what:<44} {text}")


if __name__ == "__main__":
    main()
