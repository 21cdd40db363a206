from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from distill.recipe import LoraSection
from engine.attention import packed_inputs
from engine.folder import load_folder
from students.adapters import attach_adapter
from students.flops import known_peak_flops, training_flops

LENGTHS = [30, 11]


@pytest.mark.parametrize("method", ["full", "lora"])
def test_formula_agrees_with_what_torch_counts(tiny_student: Path, method: str) -> None:
    model = load_folder(tiny_student).model.train()
    model.set_attn_implementation("eager")
    module = attach_adapter(model, LoraSection(r=4)) if method == "lora" else model
    model.get_input_embeddings().requires_grad_(method == "full")
    formula = training_flops(module, model.get_output_embeddings(), model.config)
    with FlopCounterMode(display=False) as counted:
        hidden = [
            model.get_decoder()(
                input_ids=torch.ones(1, length, dtype=torch.long), **packed_inputs([length])
            ).last_hidden_state[0]
            for length in LENGTHS
        ]
        logits = model.get_output_embeddings()(torch.cat(hidden))
        logits.sum().backward()
    expected = formula.of_row(LENGTHS, supervised=sum(LENGTHS))
    # Eager attention works out both halves of the triangle; without LoRA's gradients of the first
    # layer's inputs. Both are small beside the matrices.
    assert counted.get_total_flops() == pytest.approx(expected, rel=0.15)


def test_a_gpu_that_is_not_in_the_list_has_no_speed() -> None:
    assert known_peak_flops("NVIDIA H100 80GB HBM3") == 9.89e14
    assert known_peak_flops("NVIDIA H100 PCIe") == 7.56e14
    assert known_peak_flops("NVIDIA GeForce RTX 4090") == 1.652e14
    assert known_peak_flops("NVIDIA GeForce RTX 4090 Laptop GPU") is None
    assert known_peak_flops("Tesla T4") is None
