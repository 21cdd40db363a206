"""``plan_running``: what answering takes, for every way to hold the weights.

Weights by the byte, as the files have them (`students.export` writes them); keys and values of the
context; what working takes besides. Loads neither torch nor transformers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, cast, get_args

from engine.footprint import Widths, drawing_bytes, held_places, reading_bytes
from students.catalog import Architecture
from students.export.gguf_format import size_bytes
from students.export.gguf_kinds import Quant, kind_of
from students.memory_activations import linear_shapes

RunFormat = Literal[
    "bf16",
    "int8",
    "nf4",
    "gguf f16",
    "gguf q8_0",
    "gguf q6_k",
    "gguf q5_k_m",
    "gguf q4_k_m",
]
RUN_FORMATS: Final[tuple[RunFormat, ...]] = get_args(RunFormat)
_GGUF = "gguf "
# Prompts up to this length are counted with what reading them takes; llama.cpp reads 512 at a time.
PROMPT_TOKENS = 2048
_LLAMA_CPP_TOKENS = 512
# CUDA's context and the allocator's leftovers; llama.cpp takes less.
_OVERHEAD_BYTES: Final[Mapping[bool, int]] = {False: 600 * 1024**2, True: 300 * 1024**2}
_NF4_BLOCK = 64
_GGUF_NAMES = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


@dataclass(frozen=True, slots=True)
class RunningPlan:
    """What one GPU needs to answer one request at a time.

    Attributes:
        format: How the weights are held.
        context_tokens: Prompt and answer.
        weights: Bytes of the weights.
        cache: Of keys and values, with the room that they get to grow.
        work: Of what reading a prompt and drawing a token take.
        overhead: What a GPU takes besides.
    """

    format: RunFormat
    context_tokens: int
    weights: int
    cache: int
    work: int
    overhead: int

    @property
    def total(self) -> int:
        """All of them, in bytes."""
        return self.weights + self.cache + self.work + self.overhead


def plan_running(facts: Architecture, format_: RunFormat, context_tokens: int) -> RunningPlan:
    """Predict the peak of answering with a full context."""
    is_gguf = format_.startswith(_GGUF)
    return RunningPlan(
        format=format_,
        context_tokens=context_tokens,
        weights=weight_bytes(facts, format_),
        cache=cache_bytes_per_token(facts) * cache_tokens(facts, context_tokens, is_gguf=is_gguf),
        work=_work_bytes(facts, min(context_tokens, PROMPT_TOKENS), is_gguf=is_gguf),
        overhead=_OVERHEAD_BYTES[is_gguf],
    )


def longest_context(facts: Architecture, format_: RunFormat, gpu_bytes: int) -> int:
    """Tokens that fit, up to what the model was made for; 0 if not even a short answer does."""
    limit = facts.context_tokens
    fits = [n for n in _contexts(limit) if plan_running(facts, format_, n).total <= gpu_bytes]
    return max(fits, default=0)


def cache_bytes_per_token(facts: Architecture) -> int:
    """Keys and values of one token in all layers, 16 bits each."""
    return 2 * 2 * facts.layers * facts.kv_heads * facts.head_dim


def cache_tokens(facts: Architecture, context_tokens: int, *, is_gguf: bool) -> int:
    """Places that are there at the fullest moment.

    llama.cpp allocates the context once. In our engine a row that outgrows its lane is copied to
    one of twice the capacity: both are there for a moment.
    """
    if is_gguf:
        return context_tokens
    return held_places(1, context_tokens, max(facts.context_tokens, context_tokens))


def weight_bytes(facts: Architecture, format_: RunFormat) -> int:
    """Bytes of all weights as a file of that format holds them, without tokenizer and headers."""
    if format_.startswith(_GGUF):
        return _gguf_bytes(facts, cast("Quant", format_.removeprefix(_GGUF)))
    linear = linear_shapes(facts)
    whole = facts.parameters - facts.layers * sum(rows * columns for columns, rows in linear)
    layer = sum(_linear_bytes(rows, columns, format_) for columns, rows in linear)
    return 2 * whole + facts.layers * layer


def _linear_bytes(rows: int, columns: int, format_: RunFormat) -> int:
    if format_ == "int8":
        return rows * columns + 4 * rows  # a scale for each row
    if format_ == "nf4":
        blocks = -(-rows * columns // _NF4_BLOCK)
        return -(-rows * columns // 2) + 4 * blocks + 4 * 16  # scales, and the 16 values
    return 2 * rows * columns


def _gguf_bytes(facts: Architecture, quant: Quant) -> int:
    return sum(
        size_bytes(shape, kind_of(name, shape, quant, layers=facts.layers, is_tied=facts.is_tied))
        for name, shape in _gguf_tensors(facts)
    )


def _gguf_tensors(facts: Architecture) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes, rows first."""
    yield "token_embd.weight", (facts.vocabulary, facts.hidden)
    yield "output_norm.weight", (facts.hidden,)
    if not facts.is_tied:
        yield "output.weight", (facts.vocabulary, facts.hidden)
    for layer in range(facts.layers):
        for name, (columns, rows) in zip(_GGUF_NAMES, linear_shapes(facts), strict=True):
            yield f"blk.{layer}.{name}.weight", (rows, columns)
        vectors = facts.layer_parameters - sum(a * b for a, b in linear_shapes(facts))
        yield f"blk.{layer}.vectors", (vectors,)  # norms and biases, all of one kind


def _work_bytes(facts: Architecture, prompt_tokens: int, *, is_gguf: bool) -> int:
    """The widest part of a layer while a prompt is read, and the logits."""
    queries, keys = facts.heads * facts.head_dim, facts.kv_heads * facts.head_dim
    if is_gguf:  # fp32, with logits of every token
        width = 4 * facts.hidden + max(3 * facts.intermediate, 3 * (queries + 2 * keys))
        return 4 * _LLAMA_CPP_TOKENS * (width + facts.vocabulary)
    has_norms = facts.model_type == "qwen3"
    widths = Widths(facts.hidden, queries, keys, keys, facts.intermediate, has_norms=has_norms)
    return max(reading_bytes(widths, prompt_tokens, 2), drawing_bytes(1, facts.vocabulary, 2))


def _contexts(limit: int) -> Iterator[int]:
    """Steps of 1,024 up to what the model was made for."""
    yield from range(1024, limit, 1024)
    yield limit
