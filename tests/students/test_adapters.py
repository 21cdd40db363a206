from pathlib import Path

import pytest
import torch
from peft import PeftModel
from torch import nn

from distill.recipe import LoraSection
from engine.folder import load_folder, quiet_transformers
from students.adapters import attach_adapter, merge_adapter, save_adapter


@pytest.fixture
def adapted(tiny_student: Path) -> PeftModel:
    """With an adapter whose update is not zero, as after training."""
    torch.manual_seed(0)
    model = attach_adapter(load_folder(tiny_student).model, LoraSection(r=4, alpha=8))
    with torch.no_grad():
        for name, param in model.named_parameters():
            if "lora_B" in name:
                param.normal_(std=0.1)
    return model.eval()


def test_adapter_sits_on_every_linear_layer_but_the_head(adapted: PeftModel) -> None:
    base = adapted.get_base_model()
    plain = [name for name, module in base.named_modules() if type(module) is nn.Linear]
    outside = [name for name in plain if ".lora_" not in name and ".base_layer" not in name]
    assert outside == ["lm_head"]
    trained = [name for name, param in adapted.named_parameters() if param.requires_grad]
    assert all("lora_" in name for name in trained)
    assert len(trained) == 2 * 7 * 2  # layers, linear layers of each, matrices of each


def test_merged_model_equals_the_attached_one(adapted: PeftModel) -> None:
    ids = torch.randint(0, 200, (1, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        attached = adapted(input_ids=ids).logits
        merged = merge_adapter(adapted)
        after = merged(input_ids=ids).logits
    assert not isinstance(merged, PeftModel)
    torch.testing.assert_close(after, attached, atol=1e-5, rtol=1e-5)  # fp32 rounding


def test_saved_adapter_loads_on_the_base(
    adapted: PeftModel, tiny_student: Path, tmp_path: Path
) -> None:
    save_adapter(adapted, tmp_path, tiny_student)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "base.json",
    ]
    with quiet_transformers():
        again = PeftModel.from_pretrained(load_folder(tiny_student).model, str(tmp_path)).eval()
    ids = torch.arange(30)[None]
    with torch.no_grad():
        assert torch.equal(again(input_ids=ids).logits, adapted(input_ids=ids).logits)
