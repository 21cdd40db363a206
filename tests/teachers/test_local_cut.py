"""What cannot be shared out is refused before a weight is read, with what would work."""

import pytest
import torch
from transformers import AutoConfig, PreTrainedModel

from distill.errors import ModelError
from teachers.local_cut import Parallel, check_cut, cut, empty_model, fitting

# Sizes as published.
_R1 = {"model_type": "deepseek_v3"}
_QWEN_30B = {
    "model_type": "qwen3_moe",
    "hidden_size": 2048,
    "num_hidden_layers": 48,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "num_experts": 128,
    "moe_intermediate_size": 768,
}
_LLAMA = {"model_type": "llama"}
_ROOM = 10**15


def outline(sizes: dict[str, object]) -> PreTrainedModel:
    return empty_model(AutoConfig.for_model(**sizes), torch.bfloat16)


@pytest.mark.parametrize(
    ("sizes", "parallel", "size", "words"),
    [
        (_QWEN_30B, "tensor", 8, "8 does not divide 4 heads of keys and values"),
        (_QWEN_30B, "tensor", 8, "with 'tensor' these numbers work: 2, 4"),
        (_QWEN_30B, "tensor+expert", 8, "8 processes can share it out by expert"),
        (_QWEN_30B, "tensor", 3, "3 does not divide 32 attention heads or 4 heads of keys"),
        (_QWEN_30B, "expert", 256, "256 does not divide 128 routed experts"),
        (_QWEN_30B, "expert", 6, "these numbers work: 2, 4, 8"),
        (_R1, "tensor", 3, "3 does not divide the width 2048"),
        (_LLAMA, "expert", 2, "has no such plan for llama\n  it has one for tensor"),
    ],
)
def test_sizes_that_do_not_divide_are_named_with_what_works(
    sizes: dict[str, object], parallel: Parallel, size: int, words: str
) -> None:
    with pytest.raises(ModelError) as refused:
        check_cut(outline(sizes), parallel, size, _ROOM)
    assert words in str(refused.value)


def test_a_rank_gets_whole_blocks_of_an_fp8_checkpoint() -> None:
    """A width of 2,048 has 16 blocks of 128: as many ranks, and no more, share it out."""
    model = outline(_R1)
    assert not cut(model, "tensor", 16, block=128).problems
    with pytest.raises(ModelError, match="or the width 2048 in blocks of 128"):
        check_cut(model, "tensor", 32, _ROOM, block=128)
    assert not cut(model, "expert", 32, block=128).problems


def test_too_little_memory_says_how_many_processes_are_enough() -> None:
    """DeepSeek-R1 in BF16 is 1,342 GB: eight times 160 GB are too few, and sixteen enough."""
    model, gpu = outline(_R1), 160 * 10**9
    with pytest.raises(ModelError, match=r"each of 8 processes would hold 175\.0 GiB") as refused:
        check_cut(model, "tensor+expert", 8, gpu)
    assert "16 processes with as much memory each would be enough" in refused.value.hint
    assert check_cut(model, "tensor+expert", 16, gpu).rank_bytes < gpu
    with pytest.raises(ModelError, match="plans larger machines"):
        check_cut(model, "tensor+expert", 8, 10**9)


def test_half_the_memory_is_enough_for_weights_that_stay_in_fp8() -> None:
    model = outline(_R1)
    check_cut(model, "tensor+expert", 8, 95 * 10**9, block=128, is_fp8=True)


def test_a_dense_model_is_shared_out_by_its_matrices() -> None:
    assert fitting("tensor+expert", outline(_LLAMA)) == "tensor"
    assert fitting("tensor+expert", outline(_QWEN_30B)) == "tensor+expert"


def test_a_rank_keeps_its_share_of_the_heads_in_its_cache() -> None:
    """Latent attention is not shared out by transformers' plan, nor is anything but experts."""
    model = outline(_QWEN_30B)
    assert cut(model, "tensor+expert", 2).kv_heads == 2
    assert cut(model, "expert", 2).kv_heads == 4
    assert cut(outline(_R1), "tensor", 2).kv_heads == 128
