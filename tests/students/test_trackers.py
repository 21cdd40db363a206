"""Figures of each step, read back from TensorBoard's own files."""

import struct
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event

from distill.errors import MissingDependencyError
from distill.recipe import TrainSection
from distill.types import Example
from students import trackers
from students.sft import TrainReport, train


def run(examples: list[Example], base: Path, folder: Path, **changes: object) -> TrainReport:
    section = {"epochs": 1, "batch_tokens": 512, "seq_len": 256, **changes}
    return train(
        examples,
        base,
        TrainSection.model_validate(section),
        folder / "student",
        folder / "checkpoints",
        seed=0,
        on_progress=lambda _: None,
    )


def scalars(folder: Path, tag: str) -> dict[int, float]:
    """By step: each record is its length, a checksum, an event, a checksum."""
    (file,) = folder.glob("events.*")
    data, at, found = file.read_bytes(), 0, {}
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        event = Event.FromString(data[at + 12 : at + 12 + length])
        for each in event.summary.value:
            if each.tag == tag:
                found[event.step] = each.simple_value
        at += 16 + length
    return found


def test_tensorboard_has_the_figures_of_each_step(
    examples: list[Example], tiny_student: Path, tmp_path: Path
) -> None:
    report = run(examples, tiny_student, tmp_path, report_to=["tensorboard"])
    losses = scalars(tmp_path / "tensorboard", "train/loss")
    assert list(losses) == list(range(1, report.steps + 1))
    assert list(losses.values()) == pytest.approx(list(report.losses), rel=1e-6)
    # It changes nothing of the student, so it may be changed on the way.
    assert run(examples, tiny_student, tmp_path).losses == report.losses


def test_a_tracker_that_is_not_installed_is_said_before_anything_is_loaded(
    examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match=r"report_to = 'wandb'") as caught:
        run(examples, tmp_path / "no-base", tmp_path, report_to=["wandb"])
    assert "pip install wandb" in caught.value.hint
