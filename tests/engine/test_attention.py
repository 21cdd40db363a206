"""A packed row must give what each example gives when it is alone."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, Qwen2Config
from transformers import Qwen2ForCausalLM as Qwen2

from distill.errors import ModelError
from engine.attention import PER_EXAMPLE, packed_inputs

LENGTHS = [5, 1, 9, 3]
SIZES = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
}


@pytest.fixture(params=["qwen2", "llama"])
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    torch.manual_seed(0)
    if request.param == "qwen2":
        made: PreTrainedModel = Qwen2(Qwen2Config(**SIZES))
    else:
        made = LlamaForCausalLM(LlamaConfig(**SIZES))
    with torch.no_grad():  # random weights of the usual size hardly attend to anything
        for param in made.parameters():
            param.mul_(5)
    return made


def gradients(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    grads = {name: param.grad.clone() for name, param in model.named_parameters()}
    model.zero_grad()
    return grads


@pytest.mark.parametrize("reference", ["sdpa", "eager"])
@pytest.mark.parametrize("told_by", ["boundaries", "positions"])
def test_packed_row_equals_each_example_alone(
    model: PreTrainedModel, reference: str, told_by: str
) -> None:
    ids = torch.randint(0, 50, (1, sum(LENGTHS)), generator=torch.Generator().manual_seed(1))
    weights = torch.randn(sum(LENGTHS), 50, generator=torch.Generator().manual_seed(2))

    model.set_attn_implementation(reference)
    alone = torch.cat([model(input_ids=part).logits[0] for part in ids.split(LENGTHS, dim=1)])
    (alone * weights).sum().backward()
    alone_gradients = gradients(model)

    model.set_attn_implementation(PER_EXAMPLE)
    inputs = packed_inputs(LENGTHS)
    if told_by == "positions":
        inputs = {"position_ids": inputs["position_ids"]}
    packed = model(input_ids=ids, use_cache=False, **inputs).logits[0]
    (packed * weights).sum().backward()
    packed_gradients = gradients(model)

    torch.testing.assert_close(packed, alone, atol=1e-5, rtol=1e-5)
    for name, grad in alone_gradients.items():
        assert (packed_gradients[name] - grad).norm() <= 1e-5 * grad.norm() + 1e-6, name


def test_padded_batch_and_cached_generation_are_those_of_sdpa(model: PreTrainedModel) -> None:
    ids = torch.randint(0, 50, (2, 6), generator=torch.Generator().manual_seed(1))
    mask = torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]])
    model.eval()
    replies = []
    for name in ("sdpa", PER_EXAMPLE):
        model.set_attn_implementation(name)
        replies.append(
            model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=4,
                do_sample=False,
                pad_token_id=0,
            )
        )
    assert torch.equal(*replies)


def test_window_shorter_than_an_example_is_refused() -> None:
    config = Qwen2Config(**SIZES, use_sliding_window=True, sliding_window=4, max_window_layers=0)
    model = Qwen2(config)
    model.set_attn_implementation(PER_EXAMPLE)
    ids = torch.zeros(1, sum(LENGTHS), dtype=torch.long)
    with pytest.raises(ModelError, match="looks back 4 tokens only, an example has 9"):
        model(input_ids=ids, use_cache=False, **packed_inputs(LENGTHS))
