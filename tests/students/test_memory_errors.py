import re
from pathlib import Path

import pytest
import torch

from distill.errors import StageError
from distill.recipe import TrainSection
from students.base import EMBEDDED
from students.memory_errors import (
    explained_memory_errors,
    peak_memory_bytes,
    planned_advice,
    what_to_lower,
)

BASE = Path("models/base")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore"),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_running_out_of_memory_names_what_to_lower_and_what_to_ask(error: Exception) -> None:
    section = TrainSection(method="lora", seq_len=4096)
    with pytest.raises(StageError) as raised, explained_memory_errors(section, BASE):
        raise error
    assert "ran out of memory on this machine" in raised.value.problem
    assert "\n" not in raised.value.problem
    assert "train.activations = 'recomputed'" in raised.value.hint
    assert "distill fit models/base --method lora --length 4096" in raised.value.hint


def test_a_real_allocation_that_is_too_large_is_explained() -> None:
    with pytest.raises(StageError, match="ran out of memory"):  # noqa: SIM117
        with explained_memory_errors(TrainSection(), BASE):
            torch.empty(1 << 60, dtype=torch.uint8)


def test_what_is_set_already_is_not_advised() -> None:
    section = TrainSection(
        method="qlora", activations="offloaded", optimizer="paged_adamw_8bit", seq_len=512
    )
    assert what_to_lower(section) == ["lower train.seq_len (now 512)"]


def test_on_a_gpu_the_plan_says_what_is_needed_and_what_would_fit(tmp_path: Path) -> None:
    section = TrainSection(method="full", seq_len=1024, activations="kept")
    said = planned_advice(section, EMBEDDED, 1 << 20)
    assert re.match(r"this training needs about \d+\.\d GiB", said)
    assert planned_advice(section, tmp_path, 1 << 20) == ""


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="shape"), explained_memory_errors(TrainSection(), BASE):
        raise RuntimeError("shape mismatch")


def test_peak_memory_is_at_least_what_is_held() -> None:
    held = torch.ones(1 << 20)
    assert peak_memory_bytes() > held.numel() * 4
