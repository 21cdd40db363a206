"""Tiny mixtures of experts in folders, as their makers publish them."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

import teachers
from tests.teachers.big_models import build

EMBEDDED = Path(teachers.__file__).parent / "embedded"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
END = json.loads((EMBEDDED / "config.json").read_text())["eos_token_id"]
VOCABULARY = json.loads((EMBEDDED / "config.json").read_text())["vocab_size"]
BLOCK = 128


def tiny(model_type: str, **changes: Any) -> PreTrainedModel:
    """A model of random weights over the embedded tokenizer."""
    torch.manual_seed(0)
    usual = {"vocab_size": VOCABULARY, "eos_token_id": END, "pad_token_id": 0, "bos_token_id": None}
    model: PreTrainedModel = build(model_type, **{**usual, **changes})
    # Random weights of the usual size give nearly equal logits: any two sums disagree.
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4)
    return model.eval()


def write(model: PreTrainedModel, folder: Path, shard: str = "5GB") -> Path:
    """Its folder, with tokenizer and chat template."""
    model.save_pretrained(folder, max_shard_size=shard)
    for name in TOKENIZER:
        shutil.copy(EMBEDDED / name, folder / name)
    return folder


def to_fp8(folder: Path) -> dict[str, torch.Tensor]:
    """Make a folder's large matrices FP8 with a scale for each block; what they now stand for."""
    path = folder / "model.safetensors"
    stored: dict[str, torch.Tensor] = {}
    meant: dict[str, torch.Tensor] = {}
    for name, weight in load_file(path).items():
        is_large = weight.ndim == 2 and ".layers." in name and not name.endswith("mlp.gate.weight")
        if not is_large:
            stored[name] = meant[name] = weight
            continue
        small, scales, meant[name] = _blocks(weight)
        stored[name], stored[f"{name}_scale_inv"] = small, scales
    save_file(stored, path, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {
        "activation_scheme": "dynamic",
        "fmt": "e4m3",
        "quant_method": "fp8",
        "weight_block_size": [BLOCK, BLOCK],
    }
    (folder / "config.json").write_text(json.dumps(config))
    return meant


def _blocks(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """FP8 numbers, the scale of each block, and their products: block by block, on purpose."""
    rows, columns = weight.shape
    small = torch.empty(rows, columns, dtype=torch.float8_e4m3fn)
    meant = torch.empty(rows, columns)
    scales = torch.empty(-(-rows // BLOCK), -(-columns // BLOCK))
    for top in range(0, rows, BLOCK):
        for left in range(0, columns, BLOCK):
            place = slice(top, top + BLOCK), slice(left, left + BLOCK)
            scale = weight[place].abs().max() / 448
            scales[top // BLOCK, left // BLOCK] = scale
            small[place] = (weight[place] / scale).to(torch.float8_e4m3fn)
            meant[place] = small[place].float() * scale
    return small, scales, meant
