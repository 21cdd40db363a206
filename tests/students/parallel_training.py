"""Trains on two gloo processes, some of which kill -9 themselves; prints what came of it.

Run by test_parallel.py as a process of its own: torch is imported once, and the processes of a
training are forks. Prints, as JSON, the largest differences of weights and losses for each method.
"""

import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch.distributed.tensor import DTensor

from distill.errors import DistillError
from distill.train_sections import TrainSection
from distill.types import Example, Message, Progress
from students import durable
from students.methods import load_trainable
from students.parallel import ALONE, Ranks, joined
from students.sft import train

EXAMPLES = [
    Example(
        str(number),
        (
            Message("user", f"{number} + {number}?"),
            Message("assistant", "x" * (9 + number % 7 * 5), reasoning="twice", is_trained=True),
        ),
        weight=1.0 + number % 3,
    )
    for number in range(24)
]
# Three rows a step on two processes: one is idle in each second turn. Three epochs in one plan.
SHARED = {
    "epochs": 3,
    "learning_rate": float(os.environ.get("LEARNING_RATE", "1e-2")),
    "batch_tokens": 768,
    "seq_len": 256,
    "checkpoint_every_steps": 2,
    "held_out_share": 0.1,
}
LORA = {"method": "lora", "lora": {"r": 4, "alpha": 8}}
DROPOUT = {"method": "lora", "lora": {"r": 4, "alpha": 8, "dropout": 0.2}}
SETTINGS: dict[str, dict[str, object]] = {
    "full": {},
    "full, recomputed": {"activations": "recomputed"},
    "muon": {"optimizer": "muon"},
    "lora": LORA,
    "qlora": {**LORA, "method": "qlora"},
}
_AFTER_A_CHECKPOINT = 3


@dataclass(frozen=True, slots=True)
class Kill:
    """When the processes kill themselves: after a step, or while a checkpoint is being written."""

    at: int = 0
    while_saving: bool = False


@contextmanager
def leaving() -> Iterator[None]:
    """End a fork with the block: with a DistillError's exit code, or 1 and a traceback."""
    code = 0
    try:
        yield
    except DistillError as error:
        code = error.exit_code
    except BaseException:  # noqa: BLE001 - a fork must not go on as its parent would
        traceback.print_exc()
        code = 1
    os._exit(code)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def work(
    settings: dict[str, object], folder: Path, ranks: Ranks, kill: Kill, meeting: Path
) -> None:
    sync = durable._sync_tree

    def killed_sync(path: Path) -> None:
        (path / "trained.safetensors").unlink()  # as if it had not been written yet
        die()

    def on_progress(progress: Progress) -> None:
        if ranks.is_first:
            (folder / "resumed").write_text(str(progress.resumed))
        if progress.done == kill.at:
            durable._sync_tree = killed_sync if kill.while_saving else sync
            if not kill.while_saving:
                die()

    with nullcontext() if ranks.is_alone else joined(ranks, meeting, 100):
        report = train(
            EXAMPLES,
            Path(sys.argv[1]),
            TrainSection.model_validate(SHARED | settings),
            folder / "student",
            folder / "checkpoints",
            seed=3,
            on_progress=on_progress,
            checkpoint_seconds=1e9,
            ranks=ranks,
        )
    if ranks.is_first:
        after = report.held_out_after
        assert after is not None
        (folder / "losses.json").write_text(json.dumps([*report.losses, after.loss]))


def run(settings: dict[str, object], folder: Path, size: int, kill: Kill | None = None) -> int:
    """Train by so many processes; the first one's exit signal, or minus its exit code."""
    folder.mkdir(parents=True, exist_ok=True)
    meeting = folder / "meeting"
    meeting.unlink(missing_ok=True)
    members = []
    for rank in range(size):
        child = os.fork()
        if child == 0:
            ranks = ALONE if size == 1 else Ranks(rank, size)
            with leaving():
                work(settings, folder, ranks, kill or Kill(), meeting)
        members.append(child)
    _, status = os.waitpid(members[0], 0)
    for child in members[1:]:
        if kill is not None:
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status)


def differences(one: Path, other: Path) -> list[float]:
    """The largest of the weights and of the losses."""
    weights, others = (load_file(each / "student" / "model.safetensors") for each in (one, other))
    assert weights.keys() == others.keys()
    of_weights = max(float((weights[name] - others[name]).abs().max()) for name in weights)
    losses = [json.loads((each / "losses.json").read_text()) for each in (one, other)]
    return [of_weights, max(abs(a - b) for a, b in zip(*losses, strict=True))]


def held_share(method: dict[str, object], folder: Path) -> float:
    """Share of all weights that the first of two processes holds."""
    folder.mkdir(parents=True)

    def shard(rank: int) -> None:
        with joined(Ranks(rank, 2), folder / "meeting", 100) as ranks:
            section = TrainSection.model_validate(SHARED | method)
            row_loss = load_trainable(Path(sys.argv[1]), section, 0, device="cpu").row_loss
            ranks.shard(row_loss)
            params = list(row_loss.parameters())
            assert all(isinstance(param, DTensor) for param in params)
            held = sum(param.to_local().numel() for param in params if isinstance(param, DTensor))
            if ranks.is_first:
                (folder / "share").write_text(str(held / sum(param.numel() for param in params)))

    members = []
    for rank in range(2):
        child = os.fork()
        if child == 0:
            with leaving():
                shard(rank)
        members.append(child)
    for child in members:
        os.waitpid(child, 0)
    return float((folder / "share").read_text())


def compare(settings: dict[str, object], root: Path) -> dict[str, object]:
    """One process with two, of which each has a half of the weights."""
    signals = [run(settings, root / f"by{size}", size) for size in (1, 2)]
    return {
        "signals": signals,
        "differences": differences(root / "by1", root / "by2"),
        "held_share": held_share(settings, root / "share"),
    }


def compare_order(root: Path) -> list[float]:
    """One process with one that takes each step's rows in reverse: what rounding alone does."""

    def reverse(_ranks: Ranks, plan: Sequence[Sequence[int]], rows: int) -> list[Sequence[int]]:
        return [row for at in range(0, len(plan), rows) for row in reversed(plan[at : at + rows])]

    deal, Ranks.deal = Ranks.deal, reverse  # type: ignore[method-assign]
    run({}, root / "reversed", 1)
    Ranks.deal = deal  # type: ignore[method-assign]
    return differences(root / "by1", root / "reversed")


def compare_killed(settings: dict[str, object], root: Path, kills: list[Kill]) -> dict[str, object]:
    """Two processes that are killed again and again, with two that are not.

    One process also goes on from the checkpoint that the first kill after a checkpoint left.
    """
    killed, fewer = root / "killed", root / "fewer"
    signals = []
    for kill in kills:
        signals.append(run(settings, killed, 2, kill))
        if kill.at == _AFTER_A_CHECKPOINT:
            shutil.copytree(killed, fewer)
    signals.append(run(settings, killed, 2))
    alone = run(settings, fewer, 1)
    return {
        "signals": signals,
        "resumed": int((killed / "resumed").read_text()),
        "differences": differences(root / "by2", killed),
        "by fewer": differences(root / "by2", fewer) if alone == 0 else alone,
    }


def main() -> None:
    """``BASE FOLDER METHOD...``; without methods, all of them, and dropout too."""
    root, names = Path(sys.argv[2]), sys.argv[3:] or list(SETTINGS)
    torch.set_num_threads(1)
    after = Kill(_AFTER_A_CHECKPOINT)
    kills = [Kill(1), after, Kill(4, while_saving=True)]
    compared = {name: compare(SETTINGS[name], root / name) for name in names}
    killed = {"full": compare_killed(SETTINGS["full"], root / "full", kills)}
    if not sys.argv[3:]:
        run(DROPOUT, root / "dropout" / "by2", 2)
        killed["dropout"] = compare_killed(DROPOUT, root / "dropout", [after])
    order = compare_order(root / "full")
    json.dump({"compared": compared, "killed": killed, "order": order}, sys.stdout)


if __name__ == "__main__":
    main()
