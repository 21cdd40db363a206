"""Lean layers against transformers' own, in a whole model."""

import copy

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from students.lean_layers import LeanMlp, LeanNorm, make_lean


def build(model_type: str, dtype: torch.dtype) -> PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        model_type,
        vocab_size=50,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
    )
    model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    for name, weight in model.named_parameters():
        if "norm" in name:  # not ones, or a weight that is left out would not show
            torch.nn.init.uniform_(weight, 0.5, 2.0)
    return model.train()


def run(model: PreTrainedModel, *, autocast: bool) -> dict[str, torch.Tensor]:
    """The loss and the gradient of each weight."""
    ids = torch.arange(30)[None] % 50
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    gradients = {
        name: each.grad for name, each in model.named_parameters() if each.grad is not None
    }
    return {"loss": loss.detach(), **gradients}


@pytest.mark.parametrize("model_type", ["llama", "qwen2", "qwen3"])
def test_loss_and_gradients_are_those_of_the_models_own_layers(model_type: str) -> None:
    theirs = build(model_type, torch.float32)
    lean = copy.deepcopy(theirs)
    make_lean(lean)
    kinds = [type(module) for module in lean.modules()]
    norms = 9 if model_type == "qwen3" else 5
    assert (kinds.count(LeanNorm), kinds.count(LeanMlp)) == (norms, 2)
    expected, found = run(theirs, autocast=False), run(lean, autocast=False)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize(("dtype", "autocast"), [(torch.bfloat16, False), (torch.float32, True)])
def test_in_half_precision_they_differ_by_its_rounding_alone(
    dtype: torch.dtype, autocast: bool
) -> None:
    exact = run(build("qwen3", torch.float32), autocast=False)
    theirs = build("qwen3", dtype)
    lean = copy.deepcopy(theirs)
    make_lean(lean)
    expected, found = run(theirs, autocast=autocast), run(lean, autocast=autocast)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        own_error = (tensor.float() - exact[name]).norm()
        assert (found[name].float() - exact[name]).norm() <= 1.5 * own_error + 1e-6


def test_a_frozen_norm_gets_no_gradient_and_passes_one_on() -> None:
    norm = LeanNorm(torch.nn.Parameter(torch.ones(4), requires_grad=False), 1e-6)
    x = torch.randn(3, 4, requires_grad=True)
    norm(x).sum().backward()
    assert x.grad is not None
    assert norm.weight.grad is None


def test_another_architecture_keeps_its_own_layers() -> None:
    theirs = build("gemma", torch.float32)
    before = [type(module) for module in theirs.modules()]
    make_lean(theirs)
    assert [type(module) for module in theirs.modules()] == before
