"""One loop, several methods: what is trained differs, what comes out is a plain model."""

import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import Qwen2Config, Qwen2ForCausalLM

from distill.errors import ModelError, StageError
from distill.layout import first_stage
from distill.recipe import TrainSection
from distill.types import Example, Progress
from engine.folder import load_folder, quiet_transformers
from students.adapters import load_adapter
from students.load import load_student
from students.methods import load_trainable
from students.sft import ADAPTER_FOLDER, TrainReport, train

QUICK = {"epochs": 2, "learning_rate": 1e-2, "batch_tokens": 512, "seq_len": 256}
LORA = {"r": 4, "alpha": 8}
IDS = torch.arange(40)[None]


def run(examples: list[Example], base: Path, folder: Path, **changes: object) -> TrainReport:
    return train(
        examples,
        base,
        TrainSection.model_validate(QUICK | {"lora": LORA} | changes),
        folder / "student",
        folder / "checkpoints",
        seed=0,
        on_progress=lambda _: None,
    )


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "student" / "model.safetensors")


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


@pytest.fixture(scope="module")
def wide_qwen2(tiny_qwen2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With matrices of more than 4,096 numbers: smaller ones have no state of 8 bits."""
    folder = tmp_path_factory.mktemp("wide")
    shutil.copytree(tiny_qwen2, folder, dirs_exist_ok=True)
    config = Qwen2Config.from_pretrained(tiny_qwen2, intermediate_size=144, dtype="float32")
    torch.manual_seed(0)
    with quiet_transformers():
        Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("method", ["full", "lora"])
def test_recomputed_and_offloaded_activations_give_the_same_weights(
    examples: list[Example], tiny_qwen2: Path, tmp_path: Path, method: str
) -> None:
    found = []
    for activations in ("kept", "recomputed", "offloaded"):
        folder = tmp_path / activations
        run(examples[:8], tiny_qwen2, folder, method=method, activations=activations)
        found.append(weights(folder))
    kept, *others = found
    for other in others:
        assert all(torch.equal(kept[name], other[name]) for name in kept)


def test_activations_may_be_changed_on_the_way(
    examples: list[Example], tiny_qwen2: Path, tmp_path: Path
) -> None:
    whole = run(examples[:8], tiny_qwen2, tmp_path / "whole", epochs=4)

    def stop(progress: Progress) -> None:
        if progress.done == 2:
            raise MemoryError

    section = TrainSection.model_validate(QUICK | {"epochs": 4, "checkpoint_every_steps": 1})
    with pytest.raises(StageError, match="ran out of memory"):
        train(
            examples[:8],
            tiny_qwen2,
            section,
            tmp_path / "short" / "student",
            tmp_path / "short" / "checkpoints",
            seed=0,
            on_progress=stop,
        )
    assert list((tmp_path / "short" / "checkpoints").iterdir())
    again = run(
        examples[:8],
        tiny_qwen2,
        tmp_path / "short",
        epochs=4,
        activations="offloaded",
    )
    assert again.losses == whole.losses
    found, expected = weights(tmp_path / "short"), weights(tmp_path / "whole")
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert first_stage("train.activations") is None


@pytest.mark.parametrize("adapter", [{"rslora": True}, {"dora": True}], ids=["rslora", "dora"])
def test_merged_student_computes_what_its_adapter_does_on_the_base(
    examples: list[Example], tiny_qwen2: Path, tmp_path: Path, adapter: dict[str, bool]
) -> None:
    run(examples[:8], tiny_qwen2, tmp_path, method="lora", lora=LORA | adapter)
    base = load_student(tiny_qwen2)
    before = logits(base.model)
    attached = load_adapter(base, tmp_path / "student" / ADAPTER_FOLDER)
    merged = load_folder(tmp_path / "student").model
    torch.testing.assert_close(logits(merged), logits(attached), atol=1e-4, rtol=1e-4)
    assert (logits(merged) - before).abs().max() > 0.01


def test_qlora_trains_over_four_bits_and_gives_a_plain_student_that_computes_the_same(
    examples: list[Example], tiny_qwen2: Path, tmp_path: Path
) -> None:
    # Measuring what is held out runs the four bits in evaluation, which must not change them.
    report = run(examples[:8], tiny_qwen2, tmp_path, method="qlora", epochs=4, held_out_share=0.2)
    assert report.held_out_before is not None
    assert report.final_loss < report.losses[0]
    assert report.parameters > 20_000  # weights, not the bytes that hold two of them

    section = TrainSection.model_validate(QUICK | {"lora": LORA, "method": "qlora"})
    over_bits = load_trainable(tiny_qwen2, section, seed=0)
    kinds = {type(module).__name__ for module in over_bits.module.modules()}
    assert "Linear4bit" in kinds
    adapter = tmp_path / "student" / ADAPTER_FOLDER
    assert isinstance(over_bits.module, PeftModel)
    with quiet_transformers():
        over_bits.module.load_adapter(str(adapter), "trained")
        over_bits.module.set_adapter("trained")
    student = load_folder(tmp_path / "student")
    assert not getattr(student.model, "is_loaded_in_4bit", False)
    torch.testing.assert_close(
        logits(student.model), logits(over_bits.module), atol=1e-4, rtol=1e-4
    )
    on_exact_base = logits(load_adapter(load_student(tiny_qwen2), adapter))
    assert (logits(student.model) - on_exact_base).abs().max() > 1e-3


def test_adapter_on_another_base_is_refused(
    examples: list[Example], tiny_qwen2: Path, tmp_path: Path
) -> None:
    run(examples[:8], tiny_qwen2, tmp_path, method="lora")
    other = tmp_path / "other"
    shutil.copytree(tiny_qwen2, other)
    tensors = load_file(other / "model.safetensors")
    tensors["model.norm.weight"] += 1
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    adapter = tmp_path / "student" / ADAPTER_FOLDER
    with pytest.raises(ModelError, match="was trained on another base: only0, fingerprint"):
        load_adapter(load_student(other), adapter)
    (other / "chat_template.jinja").write_text("{{ messages }}")
    with pytest.raises(ModelError, match="no adapter, adapter_config"):
        load_adapter(load_student(tiny_qwen2), tmp_path)
    again = tmp_path / "again"
    shutil.copytree(tiny_qwen2, again)
    (again / "chat_template.jinja").write_text("{{ messages[0].content }}")
    load_adapter(load_folder(again), adapter)  # another template is no other base


@pytest.mark.parametrize("optimizer", ["adamw_8bit", "paged_adamw", "paged_adamw_8bit", "muon"])
def test_every_optimizer_lowers_the_loss_and_goes_on_from_a_checkpoint(
    examples: list[Example], wide_qwen2: Path, tmp_path: Path, optimizer: str
) -> None:
    section = TrainSection.model_validate(
        QUICK | {"optimizer": optimizer, "epochs": 4, "checkpoint_every_steps": 3}
    )

    def go(folder: Path, stops_at: int) -> TrainReport:
        def on_progress(progress: object) -> None:
            if progress.done == stops_at:  # type: ignore[attr-defined]
                raise KeyboardInterrupt

        return train(
            examples[:8],
            wide_qwen2,
            section,
            folder / "student",
            folder / "checkpoints",
            seed=0,
            on_progress=on_progress,
        )

    whole = go(tmp_path / "whole", -1)
    (state,) = (tmp_path / "whole" / "checkpoints").glob("*/state.safetensors")
    has_bytes = any(tensor.dtype == torch.uint8 for tensor in load_file(state).values())
    assert has_bytes == ("8bit" in optimizer)
    assert whole.final_loss < whole.losses[0]
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "stopped", 4)
    resumed = go(tmp_path / "stopped", -1)
    assert resumed.losses == whole.losses
    found, expected = weights(tmp_path / "stopped"), weights(tmp_path / "whole")
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("precision", ["mixed", "bf16"])
def test_bf16_learns_about_what_fp32_does(
    examples: list[Example], tiny_qwen2: Path, tmp_path: Path, precision: str
) -> None:
    exact = run(examples[:8], tiny_qwen2, tmp_path / "fp32", epochs=4)
    report = run(examples[:8], tiny_qwen2, tmp_path / precision, epochs=4, precision=precision)
    assert report.losses[0] == pytest.approx(exact.losses[0], rel=0.02)  # 8 bits of mantissa
    assert report.losses != exact.losses
    assert report.final_loss < report.losses[0]
