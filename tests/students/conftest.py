"""A tiny random student with a real tokenizer, as a folder that any part can load."""

import copy
import gc
from pathlib import Path

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from distill.types import Example, Message
from engine.folder import quiet_transformers

TEMPLATE = (
    "{% for m in messages %}{{ '<|' + m.role + '|>' }}"
    "{% if m.reasoning_content is defined %}"
    "{{ '<think>\\n' + m.reasoning_content + '\\n</think>\\n\\n' }}{% endif %}"
    "{{ m.content + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Tiny matrices are slower with several threads, by far where cores are busy."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _frozen_imports() -> None:
    """The Trainer collects garbage at each start; what was imported is none, and is a lot."""
    gc.freeze()


@pytest.fixture(scope="session")
def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte, and whole tokens for the tags and roles."""
    specials = ["<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"]
    entries = [*specials, "<think>", "</think>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE(vocab={e: i for i, e in enumerate(entries)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in specials])
    tokenizer.add_tokens([AddedToken(tag, special=False) for tag in ("<think>", "</think>")])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        clean_up_tokenization_spaces=False,
        chat_template=TEMPLATE,
    )


@pytest.fixture
def tokenizer(byte_tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """A copy that a test may change."""
    return copy.deepcopy(byte_tokenizer)


def make_model(architecture: str, vocab_size: int) -> PreTrainedModel:
    sizes = {
        "vocab_size": vocab_size,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 512,
        "tie_word_embeddings": architecture == "qwen2",
        "bos_token_id": None,
        "eos_token_id": 1,
        "pad_token_id": 0,
    }
    torch.manual_seed(0)
    if architecture == "qwen2":
        return Qwen2ForCausalLM(Qwen2Config(**sizes))
    return LlamaForCausalLM(LlamaConfig(**sizes))


@pytest.fixture(scope="session", params=["qwen2", "llama"])
def tiny_student(
    request: pytest.FixtureRequest,
    byte_tokenizer: PreTrainedTokenizerFast,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Folder of a model of 2 layers, width 32: both architectures."""
    return save_student(request.param, byte_tokenizer, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="session")
def tiny_qwen2(
    byte_tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The same, where one architecture says enough."""
    return save_student("qwen2", byte_tokenizer, tmp_path_factory.mktemp("only"))


def save_student(architecture: str, tokenizer: PreTrainedTokenizerFast, folder: Path) -> Path:
    with quiet_transformers():
        make_model(architecture, len(tokenizer)).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def examples() -> list[Example]:
    return [
        Example(
            f"p{number}",
            (
                Message("user", f"{number} + {number}?"),
                Message(
                    "assistant",
                    f"\\boxed{{{2 * number}}}",
                    reasoning=f"twice {number}" + " or so" * (number % 5),
                    is_trained=True,
                ),
            ),
        )
        for number in range(24)
    ]
