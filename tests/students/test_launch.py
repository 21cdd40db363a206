"""Real processes that are stopped and killed while they train."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from distill.errors import DataError, RecipeError, StageError
from distill.train_sections import TrainSection
from distill.types import Document, Example, Progress
from engine.processes import Processes
from students.launch import train_together
from students.order import TrainOrder, read_order, write_order
from students.train_report import TrainReport

# A loaded machine may leave a process without a processor for some seconds.
_STALL_SECONDS = 10.0


def section(**changes: object) -> TrainSection:
    quick = {"epochs": 300, "batch_tokens": 512, "seq_len": 256, "checkpoint_every_steps": 2}
    return TrainSection.model_validate(quick | {"stall_seconds": _STALL_SECONDS} | changes)


def launch(
    examples: list[Example],
    base: Path,
    folder: Path,
    on_progress: Callable[[Progress], None] = lambda _: None,
    settings: TrainSection | None = None,
) -> TrainReport:
    return train_together(
        examples,
        base,
        settings or section(),
        folder / "student",
        folder / "checkpoints",
        processes=Processes.on_cpu(2),
        seed=0,
        on_progress=on_progress,
    )


def worker(rank: int) -> psutil.Process:
    """The process of that rank, of those that this one has started."""
    return {int(each.cmdline()[-3]): each for each in workers()}[rank]


def workers() -> list[psutil.Process]:
    """All ranks that run; other tests have started processes of their own."""
    found = []
    for each in psutil.Process().children():
        with suppress(psutil.Error):
            if "students.worker" in each.cmdline():
                found.append(each)
    return found


def test_a_rank_that_stops_or_dies_is_named_and_the_same_call_goes_on(
    examples: list[Example], tiny_qwen2: Path, tmp_path: Path
) -> None:
    """One rank is stopped; the next try goes on from the checkpoint, and loses the other rank."""
    seen: list[Progress] = []

    def stop(progress: Progress) -> None:
        seen.append(progress)
        if progress.done == 3:
            worker(1).suspend()

    with pytest.raises(StageError, match=r"rank 1 said nothing for \d+ s after step \d") as stopped:
        launch(examples, tiny_qwen2, tmp_path, stop)
    assert "goes on from the newest checkpoint" in stopped.value.hint
    assert not workers()

    def kill(progress: Progress) -> None:
        seen.append(progress)
        os.kill(worker(0).pid, signal.SIGKILL)

    with pytest.raises(StageError, match=r"rank 0 of 2 was killed by SIGKILL after step \d"):
        launch(examples, tiny_qwen2, tmp_path, kill)
    assert not workers()
    assert seen[-1].resumed >= 2
    assert not (tmp_path / "student").exists()


@pytest.mark.slow
def test_an_error_of_training_comes_through_as_itself(
    examples: list[Example], tiny_qwen2: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="all 24 have more than 16 tokens"):
        launch(
            examples, tiny_qwen2, tmp_path, settings=section(seq_len=16, batch_tokens=32, epochs=1)
        )


def test_too_few_rows_are_refused_before_anything_starts(
    examples: list[Example], tiny_qwen2: Path, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match="a step has 1 rows"):
        launch(examples, tiny_qwen2, tmp_path, settings=section(batch_tokens=256))
    assert not list(tmp_path.iterdir())


def test_a_process_sees_one_gpu_or_none_and_this_machine_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert Processes(2, ("4", "6")).environment(1)["CUDA_VISIBLE_DEVICES"] == "6"
    seen = Processes.on_cpu(os.cpu_count() or 1).environment(0)
    assert seen["CUDA_VISIBLE_DEVICES"] == ""
    assert seen["OMP_NUM_THREADS"] == "1"


def test_more_gpus_than_there_are_is_refused() -> None:
    with pytest.raises(RecipeError, match="--gpus"):
        Processes.on_gpus(1000)


def test_an_order_is_read_as_it_was_written(examples: list[Example], tmp_path: Path) -> None:
    settings = section(stages=[{"name": "cold"}, {"name": "main"}], method="lora")
    order = TrainOrder(
        Path("/base"), settings, Path("/out"), Path("/checkpoints"), 7, None, ("cold", "main")
    )
    texts = [Document("d", "a plain text")]
    assert write_order(order, {"cold": examples, "main": texts}, tmp_path) == order
    assert read_order(tmp_path) == order
