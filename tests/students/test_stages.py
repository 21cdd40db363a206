"""A curriculum: stages follow one another on the same model."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from distill.errors import DataError, RunDirError
from distill.recipe import TrainSection
from distill.types import Document, Example, Progress
from students.sft import TrainReport, train
from students.train_report import StageReport

SHARED = {"batch_tokens": 512, "seq_len": 256, "learning_rate": 1e-2, "held_out_share": 0.1}
STAGES = [
    {"name": "cold", "epochs": 1, "learning_rate": 1e-3},
    {"name": "main", "epochs": 2, "order": "as_given"},
]


def run(
    examples: dict[str, list[Example | Document]],
    base: Path,
    folder: Path,
    seen: list[Progress] | None = None,
    **changes: object,
) -> TrainReport:
    return train(
        examples,
        base,
        TrainSection.model_validate(SHARED | {"stages": STAGES} | changes),
        folder / "student",
        folder / "checkpoints",
        seed=0,
        on_progress=(seen if seen is not None else []).append,
    )


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "student" / "model.safetensors")


def test_stages_are_reported_with_their_own_settings(
    examples: list[Example], tiny_qwen2: Path, tmp_path: Path
) -> None:
    seen: list[Progress] = []
    own = {"cold": examples[:8], "main": examples[8:]}
    report = run(own, tiny_qwen2, tmp_path, seen)
    cold, main = report.stages
    assert (cold.name, cold.epochs, cold.learning_rate) == ("cold", 1, 1e-3)
    assert (main.name, main.epochs, main.learning_rate) == ("main", 2, 1e-2)
    assert cold.examples + main.examples == report.examples == 22
    assert report.steps == cold.steps + main.steps == len(report.losses) == len(seen)
    assert [progress.stage for progress in seen] == (
        ["train cold"] * cold.steps + ["train main"] * main.steps
    )
    losses = [held.loss for held in (report.held_out_before, *map(_held_out, report.stages))]
    assert losses == sorted(losses, reverse=True)


def _held_out(stage: StageReport) -> object:
    return stage.held_out


def test_second_stage_goes_on_from_the_first_and_a_stop_between_changes_nothing(
    examples: list[Example], tiny_qwen2: Path, tmp_path: Path
) -> None:
    own = {"cold": examples[:8], "main": examples[8:]}
    whole = run(own, tiny_qwen2, tmp_path / "whole")

    class Stop(Exception):  # noqa: N818
        pass

    class Stopping(list[Progress]):
        def append(self, progress: Progress) -> None:
            if progress.stage == "train main":
                raise Stop

    with pytest.raises(Stop):
        run(own, tiny_qwen2, tmp_path / "stopped", Stopping())
    resumed = run(own, tiny_qwen2, tmp_path / "stopped")
    assert resumed.losses == whole.losses
    assert resumed.stages == whole.stages
    found, expected = weights(tmp_path / "stopped"), weights(tmp_path / "whole")
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    alone = run({"main": examples[8:]}, tiny_qwen2, tmp_path / "alone", stages=STAGES[1:])
    assert alone.losses[0] > whole.stages[0].final_loss


def test_changed_first_stage_is_seen_in_the_second_too(
    examples: list[Example], tiny_qwen2: Path, tmp_path: Path
) -> None:
    run({"cold": examples[:8], "main": examples[8:]}, tiny_qwen2, tmp_path)
    (tmp_path / "checkpoints" / "cold").rename(tmp_path / "gone")
    with pytest.raises(RunDirError, match="changed: stages before"):
        run({"cold": examples[:7], "main": examples[8:]}, tiny_qwen2, tmp_path)


def test_stage_may_be_of_plain_text(
    examples: list[Example], tiny_qwen2: Path, tmp_path: Path
) -> None:
    texts = [Document(f"t{n}", f"plain text number {n}") for n in range(6)]
    report = run({"cold": list(texts), "main": examples[8:]}, tiny_qwen2, tmp_path)
    assert report.stages[0].trained_tokens > 6 * len("plain text number")


def test_stage_without_examples_is_named(
    examples: list[Example], tiny_qwen2: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="stage 'main' has no example to train on"):
        run({"cold": examples[:8], "main": []}, tiny_qwen2, tmp_path)
