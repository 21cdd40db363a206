"""Trains in forked processes that kill -9 themselves; prints what the weights were in the end.

Run by test_sft.py as a process of its own, with one thread: torch is imported once, and forking
is safe.
"""

import gc
import hashlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from distill.recipe import TrainSection
from distill.types import Example, Message, Progress
from students import durable
from students.sft import train

EXAMPLES = [
    Example(
        str(number),
        (
            Message("user", f"{number} + {number}?"),
            Message("assistant", "x" * (9 + number % 7 * 5), reasoning="twice", is_trained=True),
        ),
    )
    for number in range(24)
]
# Rows of several examples, two rows a step, four epochs in one plan: kills come mid-epoch.
SHARED = {"epochs": 4, "learning_rate": 1e-2, "batch_tokens": 512, "seq_len": 256}
LORA = {"r": 4, "alpha": 8, "dropout": 0.2}
SETTINGS: dict[str, dict[str, object]] = {
    "full": {"checkpoint_every_steps": 2},
    "lora, one row a step": {
        "checkpoint_every_steps": 3,
        "batch_tokens": 256,
        "epochs": 2,
        "method": "lora",
        "lora": LORA,
    },
    "qlora": {"checkpoint_every_steps": 3, "method": "qlora", "lora": LORA},
    "stages": {
        "checkpoint_every_steps": 2,
        "stages": [{"name": "cold", "epochs": 4}, {"name": "main", "epochs": 8}],
    },
}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def in_fork(work: Callable[[], object]) -> int:
    """Exit signal of a child that does the work."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status)


def run(name: str, folder: Path, *, dies_at: int = 0, dies_while_saving: bool = False) -> int:
    """Train, and die after so many steps of all stages, or in the next save after them."""
    section = TrainSection.model_validate(SHARED | {"held_out_share": 0.1} | SETTINGS[name])

    def work() -> None:
        sync = durable._sync_tree
        steps: list[Progress] = []

        def killed_sync(path: Path) -> None:
            (path / "state.safetensors").unlink()  # as if it had not been written yet
            die()

        def on_progress(progress: Progress) -> None:
            if not steps:
                (folder / "resumed").write_text(str(progress.resumed))
            steps.append(progress)
            if progress.resumed + len(steps) == dies_at:
                durable._sync_tree = killed_sync if dies_while_saving else sync
                if not dies_while_saving:
                    die()

        folder.mkdir(parents=True, exist_ok=True)
        examples = {stage.name: EXAMPLES[place::2] for place, stage in enumerate(section.stages)}
        train(
            examples or EXAMPLES,
            Path(sys.argv[1]),
            section,
            folder / "student",
            folder / "checkpoints",
            seed=3,
            on_progress=on_progress,
        )

    return in_fork(work)


def weights(folder: Path) -> str:
    path = folder / "student" / "model.safetensors"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "none"


def main() -> None:
    gc.freeze()
    root = Path(sys.argv[2])
    outcome = {}
    for name in SETTINGS:
        whole, killed = root / name / "whole", root / name / "killed"
        signals = [
            run(name, whole),
            run(name, killed, dies_at=1),  # before any checkpoint
            run(name, killed, dies_at=5),
            run(name, killed, dies_at=6, dies_while_saving=True),
            run(name, killed),
        ]
        outcome[name] = {
            "signals": signals,
            "weights": [weights(whole), weights(killed)],
            "resumed": int((killed / "resumed").read_text()),
        }
    json.dump(outcome, sys.stdout)


if __name__ == "__main__":
    main()
