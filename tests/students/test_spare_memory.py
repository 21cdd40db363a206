"""Freed memory is kept where there is plenty, and nowhere else."""

import json
import shutil
from pathlib import Path

import pytest

from distill.recipe import TrainSection
from students import spare_memory
from students.spare_memory import has_memory_to_spare

SECTION = TrainSection(seq_len=512, batch_tokens=512)


@pytest.mark.parametrize(("free", "is_spare"), [(64 << 30, True), (1 << 20, False)])
def test_freed_memory_is_kept_if_several_times_the_plan_is_free(
    tiny_student: Path, monkeypatch: pytest.MonkeyPatch, free: int, is_spare: bool
) -> None:
    monkeypatch.setattr(spare_memory, "free_memory_bytes", lambda: free)
    assert has_memory_to_spare(SECTION, tiny_student) is is_spare


def test_more_processes_need_more_room(tiny_student: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spare_memory, "free_memory_bytes", lambda: 1 << 30)
    assert has_memory_to_spare(SECTION, tiny_student)
    assert not has_memory_to_spare(SECTION, tiny_student, processes=100_000)


def test_a_base_without_a_plan_keeps_nothing(tiny_student: Path, tmp_path: Path) -> None:
    base = shutil.copytree(tiny_student, tmp_path / "base")
    config = base / "config.json"
    told = json.loads(config.read_text(encoding="utf-8")) | {"model_type": "gemma2"}
    config.write_text(json.dumps(told), encoding="utf-8")
    assert not has_memory_to_spare(SECTION, base)
