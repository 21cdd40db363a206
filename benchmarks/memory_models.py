"""Random models of any shape as folders, and examples that fill rows, to measure memory with."""

import shutil
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig

from distill.types import Example, Message
from engine.folder import load_tokenizer, quiet_transformers
from students.catalog import Architecture
from students.load import EMBEDDED
from students.template import tokenize

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def config_of(facts: Architecture) -> PreTrainedConfig:
    """The config of a model that is built like this."""
    return AutoConfig.for_model(
        facts.model_type,
        vocab_size=facts.vocabulary,
        hidden_size=facts.hidden,
        intermediate_size=facts.intermediate,
        num_hidden_layers=facts.layers,
        num_attention_heads=facts.heads,
        num_key_value_heads=facts.kv_heads,
        head_dim=facts.head_dim,
        max_position_embeddings=facts.context_tokens,
        tie_word_embeddings=facts.is_tied,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )


def write_model(facts: Architecture, folder: Path, dtype: torch.dtype = torch.float32) -> Path:
    """A random model with the embedded student's tokenizer."""
    torch.manual_seed(0)
    with quiet_transformers():
        model = AutoModelForCausalLM.from_config(config_of(facts), dtype=dtype)
        model.save_pretrained(folder)
    for name in _TOKENIZER_FILES:
        shutil.copy(EMBEDDED / name, folder / name)
    return folder


def full_rows(row_tokens: int, count: int) -> tuple[list[Example], float]:
    """Examples of exactly one row each, and the share of their tokens that carries loss."""
    tokenizer = load_tokenizer(EMBEDDED)

    def example(number: int, words: int) -> Example:
        answer = "\\boxed{1}"
        reasoning = "1 + 1 = 2. " + "1" * words
        turns = (
            Message("user", f"{number} + 1?"),
            Message("assistant", answer, reasoning=reasoning, is_trained=True),
        )
        return Example(f"p{number}", turns)

    def tokens(number: int, words: int) -> int:
        (row,) = tokenize(tokenizer, example(number, words), frozenset({1}))
        return len(row)

    made, share = [], 0.0
    for number in range(count):
        few, many = 0, 4 * row_tokens
        while many - few > 1:
            middle = (few + many) // 2
            few, many = (middle, many) if tokens(number, middle) <= row_tokens else (few, middle)
        made.append(example(number, few))
        (row,) = tokenize(tokenizer, made[-1], frozenset({1}))
        share = row.trained_tokens / row_tokens
    return made, share
