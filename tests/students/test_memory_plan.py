"""What the plan says, and what it must agree with."""

import subprocess
import sys
from dataclasses import replace

import pytest

from distill.train_sections import LoraSection, TrainSection
from students import loss, methods
from students.catalog import Architecture, find_student
from students.memory_advice import (
    GIB,
    changes,
    combined,
    longest_length,
    memory_advice,
    what_fits,
    with_length,
)
from students.memory_plan import LOSS_CHUNK_TOKENS, plan_training
from students.memory_settings import RECOMPUTED_PARAMETERS, TrainingSettings, settings_of

QWEN_7B = find_student("Qwen2.5-7B").architecture
SMALL = Architecture("llama", 2, 64, 4, 2, 16, 128, 500, True, 1024)


def total_gib(settings: TrainingSettings, facts: Architecture = QWEN_7B) -> float:
    return plan_training(facts, settings).total / GIB


def test_numbers_that_the_plan_repeats_are_those_of_the_loop() -> None:
    assert loss.CHUNK_TOKENS == LOSS_CHUNK_TOKENS
    assert methods._RECOMPUTED_PARAMETERS == RECOMPUTED_PARAMETERS


def test_full_training_in_mixed_precision_keeps_16_bytes_a_weight() -> None:
    """Weights, gradients and two moments in fp32: what every text on the matter says."""
    settings = TrainingSettings("full", length_tokens=512, batch_tokens=4096)
    parts = plan_training(QWEN_7B, settings).parts
    assert parts.gradients == 4 * QWEN_7B.parameters
    assert parts.optimizer == 8 * QWEN_7B.parameters
    assert parts.weights >= 4 * QWEN_7B.parameters


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ({"method": "qlora"}, {"method": "lora"}),
        ({"method": "lora"}, {"method": "full"}),
        ({"activations": "recomputed"}, {"activations": "kept"}),
        ({"activations": "offloaded"}, {"activations": "recomputed"}),
        ({"optimizer": "adamw_8bit"}, {"optimizer": "adamw"}),
        ({"optimizer": "muon"}, {"optimizer": "adamw"}),
        ({"precision": "bf16"}, {"precision": "mixed"}),
        ({"lora_r": 8, "method": "lora"}, {"lora_r": 128, "method": "lora"}),
        ({"method": "lora"}, {"method": "lora", "dora": True}),
        ({"length_tokens": 8192}, {"length_tokens": 16_384}),
        ({"batch_tokens": 16_384}, {"batch_tokens": 65_536}),
        ({"gpus": 8}, {"gpus": 1}),
        ({"supervised_share": 0.5}, {"supervised_share": 1.0}),
    ],
)
def test_what_should_save_memory_saves_it(less: dict, more: dict) -> None:
    base = TrainingSettings("full")
    assert total_gib(replace(base, **less)) < total_gib(replace(base, **more))


def test_an_offloaded_layer_waits_in_main_memory() -> None:
    plan = plan_training(QWEN_7B, TrainingSettings("lora", activations="offloaded"))
    assert plan.main_memory == 28 * 16_384 * 3584 * 2


def test_a_paged_optimizer_takes_no_place_on_the_gpu() -> None:
    plan = plan_training(QWEN_7B, TrainingSettings("lora", optimizer="paged_adamw"))
    assert plan.parts.optimizer == 0
    assert plan.main_memory == 8 * plan.trained_parameters


@pytest.mark.parametrize("size_gib", [16, 24, 48])
def test_the_longest_length_fits_and_a_longer_one_does_not(size_gib: int) -> None:
    settings = TrainingSettings("qlora")
    longest = longest_length(QWEN_7B, settings, size_gib * GIB)
    assert total_gib(with_length(settings, longest)) <= size_gib
    assert total_gib(with_length(settings, longest + 256)) > size_gib


def test_what_does_not_fit_at_all_has_no_length() -> None:
    assert what_fits(QWEN_7B, 8 * GIB)["full"] == 0
    assert what_fits(SMALL, 8 * GIB) == {"full": 1024, "lora": 1024, "qlora": 1024}


def test_each_change_is_recomputed_and_needs_less() -> None:
    settings = TrainingSettings("lora", activations="kept")
    found = changes(QWEN_7B, settings, 24 * GIB)
    says = [change.says for change in found]
    assert says[:2] == ['train.method = "qlora"', 'train.activations = "recomputed"']
    for change in found:
        assert change.plan == plan_training(QWEN_7B, change.settings)
        assert change.plan.total < plan_training(QWEN_7B, settings).total


def test_changes_that_only_fit_together_are_the_fewest() -> None:
    settings = TrainingSettings("lora", length_tokens=32_768)
    made = combined(QWEN_7B, settings, 22 * GIB)
    assert [change.says for change in made] == [
        'train.method = "qlora"',
        'train.activations = "offloaded"',
    ]
    assert made[0].plan.total > 22 * GIB >= made[1].plan.total


def test_advice_names_what_was_needed_and_a_setting_that_fits() -> None:
    settings = TrainingSettings("lora", activations="kept", length_tokens=8192)
    said = memory_advice(QWEN_7B, settings, 24 * GIB)
    assert f"needs about {total_gib(settings):.1f} GiB" in said
    assert "train." in said


def test_advice_where_it_should_have_fitted_looks_elsewhere() -> None:
    assert "what else uses the GPU" in memory_advice(QWEN_7B, TrainingSettings("qlora"), 24 * GIB)


def test_advice_without_a_limit_names_what_saves_most() -> None:
    settings = TrainingSettings("lora", activations="kept")
    said = memory_advice(QWEN_7B, settings)
    least = min(
        (change for change in changes(QWEN_7B, settings, plan_training(QWEN_7B, settings).total)),
        key=lambda change: change.plan.total,
    )
    assert least.says in said


def test_advice_without_a_way_out_says_so() -> None:
    said = memory_advice(find_student("Qwen2.5-32B").architecture, TrainingSettings("full"), GIB)
    assert "no setting makes it fit" in said


def test_settings_are_those_of_the_recipe() -> None:
    section = TrainSection(method="qlora", seq_len=4096, lora=LoraSection(r=8, dora=True))
    settings = settings_of(section, QWEN_7B.parameters, gpus=2)
    assert settings == TrainingSettings(
        "qlora", 4096, optimizer="paged_adamw", lora_r=8, dora=True, gpus=2
    )
    assert settings_of(section, SMALL.parameters, on_gpu=False).activations == "kept"
    assert settings_of(section, SMALL.parameters, on_gpu=False).precision == "fp32"


def test_a_plan_loads_neither_torch_nor_pydantic() -> None:
    code = (
        "import sys, students.memory_advice, students.memory_source;"
        "sys.exit(bool({'torch', 'transformers', 'pydantic'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
