"""Lean layers against transformers' own, in a whole model."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from distill.recipe import LoraSection, TrainSection
from students import methods
from students.adapters import attach_adapter
from students.lean_layers import LeanMlp, LeanNorm, make_lean
from students.methods import load_trainable

Run = Callable[[torch.nn.Module], dict[str, torch.Tensor]]


def build(model_type: str, dtype: torch.dtype, **others: object) -> PreTrainedModel:
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
        **others,
    )
    model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    for name, weight in model.named_parameters():
        if "norm" in name:  # not ones, or a weight that is left out would not show
            torch.nn.init.uniform_(weight, 0.5, 2.0)
    return model.train()


def run(model: torch.nn.Module, *, autocast: bool) -> dict[str, torch.Tensor]:
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


def assert_same(lean: torch.nn.Module, theirs: torch.nn.Module, run_one: Run) -> None:
    """The same loss and gradients, to 1e-5."""
    expected, found = run_one(theirs), run_one(lean)
    assert len(expected) > 1, "nothing was trained"
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-5, atol=1e-6, msg=name)


def run_in_fp32(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return run(model, autocast=False)


def count_lean(model: torch.nn.Module) -> tuple[int, int]:
    kinds = [type(module) for module in model.modules()]
    return kinds.count(LeanNorm), kinds.count(LeanMlp)


def test_training_is_lean_by_default(tiny_student: Path) -> None:
    section = TrainSection(seq_len=512, batch_tokens=512)
    model = load_trainable(tiny_student, section, seed=0).loaded.model
    norms, mlps = count_lean(model)
    assert mlps == model.config.num_hidden_layers
    assert norms >= 2 * mlps + 1


def test_ligers_kernels_are_not_replaced(
    tiny_student: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(methods, "uses_liger", lambda: True)
    section = TrainSection(seq_len=512, batch_tokens=512)
    model = load_trainable(tiny_student, section, seed=0).loaded.model
    assert count_lean(model) == (0, 0)


def test_an_mlp_with_biases_keeps_them() -> None:
    theirs = build("llama", torch.float32, mlp_bias=True)
    for name, weight in theirs.named_parameters():
        if "mlp" in name and name.endswith("bias"):
            torch.nn.init.uniform_(weight, -1, 1)
    lean = copy.deepcopy(theirs)
    make_lean(lean)
    assert count_lean(lean) == (5, 2)
    assert_same(lean, theirs, run_in_fp32)


def test_an_mlp_of_another_activation_keeps_its_own_layer() -> None:
    theirs = build("llama", torch.float32, hidden_act="gelu")
    lean = copy.deepcopy(theirs)
    make_lean(lean)
    assert count_lean(lean) == (5, 0)
    assert_same(lean, theirs, run_in_fp32)


class OwnNorm(LlamaRMSNorm):
    """Computes something else than the class that it comes from."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(hidden_states)


def test_a_norm_of_a_class_of_its_own_is_left_alone() -> None:
    theirs = build("llama", torch.float32)
    theirs.model.norm = OwnNorm(32)
    lean = copy.deepcopy(theirs)
    make_lean(lean)
    assert isinstance(lean.model.norm, OwnNorm)
    assert_same(lean, theirs, run_in_fp32)


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing_enable:FutureWarning")
def test_recomputed_activations_give_the_same_gradients() -> None:
    theirs = build("qwen3", torch.float32)
    lean = copy.deepcopy(theirs)
    make_lean(lean)
    lean.gradient_checkpointing_enable({"use_reentrant": False})
    assert_same(lean, theirs, run_in_fp32)


@pytest.mark.parametrize("adapter", [{}, {"dora": True}, {"rslora": True}], ids=str)
def test_adapters_on_lean_layers_get_the_same_gradients(adapter: dict[str, bool]) -> None:
    section = LoraSection(r=4, alpha=8, **adapter)
    theirs = build("qwen2", torch.float32)
    lean = copy.deepcopy(theirs)
    make_lean(lean)
    on_theirs, on_lean = attach_adapter(theirs, section), attach_adapter(lean, section)
    for name, weight in on_theirs.named_parameters():
        if "lora_" in name:  # not zeros, or half of the adapter would get no gradient
            torch.nn.init.uniform_(weight, -0.1, 0.1)
    on_lean.load_state_dict(on_theirs.state_dict())
    assert_same(on_lean, on_theirs, run_in_fp32)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_compiled_lean_layers_give_the_same_gradients() -> None:
    """By torch's own tracing; what a compiler makes of it is the compiler's."""
    theirs = build("llama", torch.float32)
    lean = copy.deepcopy(theirs)
    make_lean(lean)
    lean.compile(backend="aot_eager")
    assert_same(lean, theirs, run_in_fp32)
