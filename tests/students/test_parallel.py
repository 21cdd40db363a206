"""Several processes train the student that one trains, whatever is killed and whenever."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from distill.errors import RecipeError, RunDirError, StageError
from distill.train_sections import TrainSection
from distill.types import Example, Progress
from students.parallel import Ranks, joined
from students.sft import train
from students.tensor_tree import load_tree, save_tree

# Sums over two processes are rounded in another order than over one; measured: 3e-7 at most.
_NEAR = 1e-5


@pytest.fixture(scope="module")
def outcome(tiny_qwen2: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    script = Path(__file__).with_name("parallel_training.py")
    folder = tmp_path_factory.mktemp("parallel")
    done = subprocess.run(
        [sys.executable, str(script), str(tiny_qwen2), str(folder), "full", "lora"],
        env=os.environ
        | {
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(script.parents[2]),
            "GLOO_SOCKET_IFNAME": "lo",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    parsed: dict[str, Any] = json.loads(done.stdout)
    return parsed


@pytest.mark.parametrize("method", ["full", "lora"])
def test_two_processes_train_the_student_that_one_trains(
    outcome: dict[str, Any], method: str
) -> None:
    compared = outcome["compared"][method]
    assert compared["signals"] == [0, 0]
    of_weights, of_losses = compared["differences"]
    assert of_weights <= _NEAR
    assert of_losses <= _NEAR


@pytest.mark.parametrize("method", ["full", "lora"])
def test_each_of_two_processes_holds_half_of_the_weights(
    outcome: dict[str, Any], method: str
) -> None:
    assert outcome["compared"][method]["held_share"] == pytest.approx(0.5, abs=0.01)


def test_killed_processes_go_on_and_end_with_the_same_bits(outcome: dict[str, Any]) -> None:
    killed = outcome["killed"]["full"]
    assert killed["signals"] == [9, 9, 9, 0]
    assert killed["resumed"] == 2
    assert killed["differences"] == [0.0, 0.0]


def test_another_number_of_processes_goes_on_to_the_same_student(outcome: dict[str, Any]) -> None:
    assert max(outcome["killed"]["full"]["by fewer"]) <= _NEAR


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_another_number_of_processes_is_refused_where_it_would_draw_other_dropout(
    examples: list[Example], tiny_qwen2: Path, tmp_path: Path, dropout: float
) -> None:
    settings = TrainSection.model_validate(
        {
            "epochs": 1,
            "batch_tokens": 512,
            "seq_len": 256,
            "checkpoint_every_steps": 1,
            "method": "lora",
            "lora": {"r": 2, "alpha": 4, "dropout": dropout},
        }
    )

    def go_on(stop_at: int = 0) -> None:
        def on_progress(progress: Progress) -> None:
            if progress.done == stop_at:
                raise KeyboardInterrupt

        checkpoints, student = tmp_path / "checkpoints", tmp_path / "student"
        train(
            examples,
            tiny_qwen2,
            settings,
            student,
            checkpoints,
            seed=0,
            on_progress=on_progress,
        )

    with pytest.raises(KeyboardInterrupt):
        go_on(stop_at=2)
    random = tmp_path / "checkpoints" / "checkpoint-1" / "random"
    save_tree({"cpu": load_tree(random)["cpu"] * 2}, random)  # as two processes write it
    if not dropout:
        go_on()
        return
    with pytest.raises(RunDirError, match="begun by 2 processes with dropout, now there are 1"):
        go_on()


def test_rows_of_a_step_go_to_all_processes_and_the_rest_is_idle() -> None:
    plan = [[number] for number in range(8)]
    dealt = [Ranks(rank, 3).deal(plan, rows_per_step=5) for rank in range(3)]
    assert dealt == [[[0], [3], [5]], [[1], [4], [6]], [[2], [], [7]]]
    assert Ranks(0, 3).turns(5) == 2


def test_a_step_with_fewer_rows_than_processes_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"a step has 2 rows .* for 3 processes"):
        Ranks(0, 3).turns(2)


def test_a_model_that_is_not_sharded_is_refused() -> None:
    with pytest.raises(StageError, match=r"2 trained weights are not sharded, such as weight"):
        Ranks(0, 2).check(torch.nn.Linear(2, 2))


def test_a_silent_fall_back_to_ddp_is_an_error(tmp_path: Path) -> None:
    with joined(Ranks(0, 1), tmp_path / "a name, with more", timeout_seconds=60):
        wrapped = DistributedDataParallel(torch.nn.Linear(2, 2))
        with pytest.raises(StageError, match="wrapped in DDP: 2 whole copies"):
            Ranks(0, 2).check(wrapped)
