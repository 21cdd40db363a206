"""A packed row gives the loss and the gradients of its examples, each alone in a plain forward."""

from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from distill.recipe import LoraSection, TrainSection
from distill.types import Example
from engine.folder import load_folder
from students.adapters import attach_adapter
from students.methods import load_trainable
from students.prepared import prepare
from students.row_loss import row_loss
from students.rows import PackedRows


@pytest.mark.parametrize("reference", ["sdpa", "eager"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_packed_loss_and_gradients_are_those_of_each_example_alone(
    examples: list[Example], tiny_student: Path, method: str, reference: str
) -> None:
    lora = LoraSection(r=4, alpha=8)
    section = TrainSection(
        method=method, lora=lora, seq_len=1024, held_out_share=0, reasoning_weight=0.5
    )
    packed = load_trainable(tiny_student, section, seed=0)
    data = prepare([("", examples[:12])], packed.loaded, section, seed=0)
    rows = PackedRows(data.stages[0], [list(range(12))])
    model = packed.loaded.model.train()
    loss = row_loss(model.get_decoder(), model.get_output_embeddings(), rows[0], rows[0]["weights"])
    loss.backward()

    torch.manual_seed(0)
    plain = load_folder(tiny_student).model.train()
    plain.set_attn_implementation(reference)
    module = plain
    if method == "lora":
        module = attach_adapter(plain, lora)
        module.load_state_dict(packed.module.state_dict())
    alone = torch.zeros(())
    for example in data.stages[0]:
        ids = example.token_ids.long()[None]
        losses = cross_entropy(module(input_ids=ids).logits[0, :-1], ids[0, 1:], reduction="none")
        mask = example.is_trained[1:]
        assert example.token_weights is not None
        alone = alone + (losses[mask] * example.token_weights[1:][mask]).sum()
    alone.backward()

    assert loss.item() == pytest.approx(alone.item(), rel=1e-5)
    trained = dict(packed.module.named_parameters())
    assert any(param.grad is not None for param in trained.values())
    for name, param in module.named_parameters():
        if param.requires_grad:
            assert param.grad is not None, name
            found = trained[name].grad
            assert found is not None, name
            assert (found - param.grad).norm() <= 1e-5 * param.grad.norm(), name
