"""Tokenizers as the families of the catalogue have them, small: their special tokens, their BOS."""

from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import GenerationConfig, PreTrainedTokenizerFast

from students.base import template_text
from students.turn_end import set_pad, with_turn_end

SHAPES = Path(__file__).parent / "templates"
_QWEN = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
_LLAMA = [
    *("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>"),
    *("<|eot_id|>", "<|finetune_right_pad_id|>"),
]
_BAR, _SPACE = "\uff5c", "\u2581"
_R1 = [
    f"<{_BAR}begin{_SPACE}of{_SPACE}sentence{_BAR}>",
    f"<{_BAR}end{_SPACE}of{_SPACE}sentence{_BAR}>",
    *(f"<{_BAR}User{_BAR}>", f"<{_BAR}Assistant{_BAR}>"),
]
_TAGS = ["<think>", "</think>"]
# Special tokens, other added tokens, BOS, EOS, PAD, and whether BOS is put before every text.
TOKENIZERS: dict[str, tuple[list[str], list[str], str | None, str, str | None, bool]] = {
    "qwen2.5-base": (_QWEN, [], None, _QWEN[0], _QWEN[0], False),
    "qwen2.5": (_QWEN, [], None, _QWEN[2], _QWEN[0], False),
    "qwen3": (_QWEN, _TAGS, None, _QWEN[2], _QWEN[0], False),
    "llama3-base": (_LLAMA, [], _LLAMA[0], _LLAMA[1], None, True),
    "llama3": (_LLAMA, [], _LLAMA[0], _LLAMA[4], None, True),
    "r1": (_R1, _TAGS, _R1[0], _R1[1], _R1[1], True),
}
# Each as it is published, and our templates on each family they are made for.
GOOD = [
    ("qwen2.5", "qwen2.5"),
    ("qwen2.5-base", "qwen2.5"),
    ("qwen2.5-base", "chatml_base"),
    ("qwen3", "qwen3"),
    ("llama3", "llama3.1"),
    ("llama3", "llama3.2"),
    ("qwen2.5-base", "chatml"),
    ("qwen2.5", "chatml"),
    ("qwen3", "chatml"),
    ("llama3-base", "llama3"),
    ("llama3", "llama3"),
]


def shape(name: str) -> str:
    """A template's text: one of the shapes here, or one of ours."""
    file = SHAPES / f"{name}.jinja"
    return file.read_text() if file.is_file() else template_text(Path(name))


def make(family: str, template: str, **changes: Any) -> PreTrainedTokenizerFast:
    """A tokenizer of a family with a template; ``changes`` replace what it is made of."""
    specials, added, bos, eos, pad, puts_bos = TOKENIZERS[family]
    pieces = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "ĊĊ"]  # two line breaks are one token
    entries = [*specials, *added, *pieces]
    vocab = {entry: number for number, entry in enumerate(entries)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[("Ċ", "Ċ")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in specials])
    tokenizer.add_tokens([AddedToken(text, special=False) for text in added])
    if puts_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(str(bos), vocab[str(bos)])]
        )
    return PreTrainedTokenizerFast(
        **{
            "tokenizer_object": tokenizer,
            "bos_token": bos,
            "eos_token": eos,
            "pad_token": pad,
            "clean_up_tokenization_spaces": False,
            "chat_template": template,
            **changes,
        }
    )


def as_loaded(tokenizer: PreTrainedTokenizerFast) -> GenerationConfig:
    """PAD and the generation config as loading a student makes them."""
    set_pad(tokenizer)
    published = GenerationConfig(eos_token_id=tokenizer.eos_token_id)
    return with_turn_end(tokenizer, published)
