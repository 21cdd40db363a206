"""Adapters merged without torch, against peft's own merge."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.numpy import load_file, save_file

from distill.errors import ModelError
from engine.folder import load_folder, quiet_transformers
from students.export.floats import to_float32
from students.export.where_from import find_student

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "patterns": {"rank_pattern": {"q_proj": 2}, "alpha_pattern": {"layers.1.mlp.up_proj": 3}},
    "trained whole": {"modules_to_save": ["norm"]},
}


def make_adapter(base: Path, folder: Path, **changes: Any) -> PeftModel:
    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=LINEAR, task_type="CAUSAL_LM", **changes)
    with quiet_transformers():
        model = get_peft_model(load_folder(base).model, config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.requires_grad and "lora_A" not in name:
                    parameter.add_(torch.randn_like(parameter) * 0.1)
        model.save_pretrained(str(folder))
    return model.eval()  # type: ignore[no-any-return]


@pytest.mark.parametrize("case", CASES)
def test_merged_rows_are_those_of_pefts_merge(tiny_qwen2: Path, tmp_path: Path, case: str) -> None:
    adapted = make_adapter(tiny_qwen2, tmp_path, **CASES[case])
    with quiet_transformers():
        expected = adapted.merge_and_unload().state_dict()
    changed = 0
    plain = find_student(tiny_qwen2).tensors()
    for name, tensor in find_student(tmp_path, base=tiny_qwen2).tensors().items():
        rows = tensor.shape[0]
        ours = np.concatenate([to_float32(tensor.read(i, i + 1)) for i in range(rows)])
        np.testing.assert_allclose(ours, expected[name].numpy(), atol=2e-6, rtol=0)
        changed += not np.array_equal(ours, to_float32(plain[name].read(0, rows)))
    norms = 5 if case == "trained whole" else 0  # two in each layer, one at the end
    assert changed == 2 * len(LINEAR) + norms


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"peft_type": "IA3"}, "an adapter of type IA3; LORA can be merged"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights = 'pissa_niter_4'"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out"),
    ],
)
def test_adapter_of_another_formula_is_refused(
    tiny_qwen2: Path, tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    import json

    make_adapter(tiny_qwen2, tmp_path)
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ModelError, match=problem):
        find_student(tmp_path, base=tiny_qwen2).tensors()


def test_adapter_of_another_base_is_refused(tiny_qwen2: Path, tmp_path: Path) -> None:
    make_adapter(tiny_qwen2, tmp_path)
    path = tmp_path / "adapter_model.safetensors"
    weights = load_file(path)
    name = next(name for name in weights if name.endswith("layers.0.mlp.up_proj.lora_B.weight"))
    save_file(weights | {name: weights[name][:-1].copy()}, path)
    with pytest.raises(ModelError, match=r"up_proj is 47 x 32 in the adapter and 48 x 32") as found:
        find_student(tmp_path, base=tiny_qwen2).tensors()
    assert "--base" in str(found.value)


def test_adapter_without_its_base_says_which_one_it_wants(tiny_qwen2: Path, tmp_path: Path) -> None:
    import json

    make_adapter(tiny_qwen2, tmp_path)
    path = tmp_path / "adapter_config.json"
    named = {"base_model_name_or_path": "Qwen/Qwen2.5-1.5B"}
    path.write_text(json.dumps(json.loads(path.read_text()) | named))
    with pytest.raises(ModelError, match=r"its base Qwen/Qwen2\.5-1\.5B is no folder here"):
        find_student(tmp_path)
