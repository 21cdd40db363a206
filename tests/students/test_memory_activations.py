"""The arithmetic of what a layer keeps, against what autograd really saves."""

from dataclasses import replace

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from engine.attention import PER_EXAMPLE, packed_inputs
from students.catalog import Architecture, ModelType
from students.lean_layers import make_lean
from students.memory_activations import (
    adapter_parameters,
    kept_once_per_layer,
    kept_per_token,
    linear_parameters,
)
from students.memory_settings import Method, Precision, TrainingSettings

FACTS = Architecture("llama", 2, 72, 6, 2, 16, 176, 97, False, 4096)
TOKENS = 64
RANK = 5


def build(facts: Architecture, settings: TrainingSettings) -> PreTrainedModel:
    """A random model of that shape, as training loads it."""
    config = AutoConfig.for_model(
        facts.model_type,
        vocab_size=facts.vocabulary,
        hidden_size=facts.hidden,
        intermediate_size=facts.intermediate,
        num_hidden_layers=facts.layers,
        num_attention_heads=facts.heads,
        num_key_value_heads=facts.kv_heads,
        head_dim=facts.head_dim,
        tie_word_embeddings=facts.is_tied,
    )
    dtype = torch.float32 if settings.stored_bytes == 4 else torch.bfloat16
    model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    model.set_attn_implementation(PER_EXAMPLE)
    make_lean(model)
    return model.train()


def with_adapter(model: PreTrainedModel, settings: TrainingSettings) -> PeftModel:
    config = LoraConfig(
        r=settings.lora_r,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
        use_dora=settings.dora,
    )
    return get_peft_model(model, config)


def saved_bytes(facts: Architecture, settings: TrainingSettings) -> int:
    """Bytes of all tensors that autograd keeps of one forward pass, each counted once."""
    model = build(facts, settings)
    trained = model if settings.is_full else with_adapter(model, settings)
    weights = {param.untyped_storage().data_ptr() for param in trained.parameters()}
    seen: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in weights:
            seen[place] = tensor
        return tensor

    is_mixed = settings.precision == "mixed"
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=is_mixed),
    ):
        hidden = model.get_decoder()(
            input_ids=torch.zeros(1, TOKENS, dtype=torch.long),
            use_cache=False,
            **packed_inputs([40, TOKENS - 40]),
        ).last_hidden_state
    del hidden
    return sum(tensor.untyped_storage().nbytes() for tensor in seen.values())


def all_settings() -> list[tuple[ModelType, Method, Precision, bool]]:
    architectures: tuple[ModelType, ...] = ("llama", "qwen2", "qwen3")
    precisions: tuple[Precision, ...] = ("fp32", "mixed", "bf16")
    methods: tuple[Method, ...] = ("full", "lora")
    plain = [(a, m, p, False) for a in architectures for m in methods for p in precisions]
    return [*plain, *[("qwen3", "lora", precision, True) for precision in precisions]]


@pytest.mark.filterwarnings("ignore")  # peft on models without a name
@pytest.mark.parametrize(("model_type", "method", "precision", "dora"), all_settings())
def test_a_layer_keeps_what_autograd_saves_to_the_byte(
    model_type: ModelType, method: Method, precision: Precision, dora: bool
) -> None:
    """Two more layers save twice what one keeps; what is saved once cancels out."""
    facts = replace(FACTS, model_type=model_type)
    settings = TrainingSettings(method, TOKENS, precision=precision, lora_r=RANK, dora=dora)
    saved = [saved_bytes(replace(facts, layers=layers), settings) for layers in (2, 4)]
    one_layer = TOKENS * kept_per_token(facts, settings) + kept_once_per_layer(facts, settings)
    assert saved[1] - saved[0] == 2 * one_layer


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dora", [False, True])
def test_weights_are_counted_as_the_model_has_them(dora: bool) -> None:
    settings = TrainingSettings("lora", lora_r=RANK, dora=dora)
    model = build(FACTS, settings)
    layer = model.get_decoder().layers[0]
    matrices = sum(param.numel() for param in layer.parameters() if param.ndim > 1)
    assert linear_parameters(FACTS) == matrices
    trained = [
        param.numel() for param in with_adapter(model, settings).parameters() if param.requires_grad
    ]
    assert FACTS.layers * adapter_parameters(FACTS, settings) == sum(trained)
