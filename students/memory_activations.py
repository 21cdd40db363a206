"""What a decoder layer keeps in memory for the backward pass, tensor by tensor.

The layers are those of transformers' Llama, Qwen2 and Qwen3 with attention that never makes a
``T x T`` matrix (`engine.attention`), their norms and MLPs made lean (`students.lean_layers`). A
test runs them and compares with what autograd saves.

Widths: ``D`` of the stream between layers, ``F`` of the MLP, ``Q`` of all query heads, ``K`` of all
key heads. One layer, with the bytes of a number after each tensor (``s`` stored, ``c`` computed):

    norm      input s; a number 4
    q k v     their input c, once or cast anew for each
    attention queries, keys, values, output c; a logarithm 4 for each head
    o         its input c
    norm      as above
    gate up   their input c
    MLP       gate, up c
    down      its input c
"""

from students.catalog import Architecture
from students.memory_settings import TrainingSettings


def kept_per_token(facts: Architecture, settings: TrainingSettings) -> int:
    """Bytes that one layer keeps for one token, without recomputing."""
    hidden, wide = facts.hidden, facts.intermediate
    queries, keys = facts.heads * facts.head_dim, facts.kv_heads * facts.head_dim
    computed, for_input = settings.compute_bytes, _input_bytes(settings)
    norms = 2 * kept_by_norm(hidden, settings.stored_bytes)
    if facts.model_type == "qwen3":
        norms += kept_by_norm(queries, computed)
        norms += kept_by_norm(keys, computed)
        norms += 4 * (facts.heads + facts.kv_heads - 2)
    shared_inputs = 5 if _casts_inputs(settings) else 2  # of q, k, v and of gate, up
    inputs = for_input * (shared_inputs * hidden + queries + wide)
    attention = computed * (2 * queries + 2 * keys) + 4 * facts.heads
    mlp = computed * 2 * wide
    return norms + inputs + attention + mlp + _kept_by_adapters(facts, settings)


def kept_by_norm(width: int, number_bytes: int) -> int:
    """Bytes that one RMSNorm keeps for one token: its input, and one over its size in fp32."""
    return number_bytes * width + 4


def kept_once_per_layer(facts: Architecture, settings: TrainingSettings) -> int:
    """Bytes that one layer keeps whatever the length: weights that were cast, DoRA's products."""
    cast = 0
    if settings.precision == "mixed":
        is_full = settings.is_full
        cast = linear_parameters(facts) if is_full else _low_rank_parameters(facts, settings)
    return 2 * cast + _kept_by_dora(facts, settings)


def linear_shapes(facts: Architecture) -> list[tuple[int, int]]:
    """Inputs and outputs of the linear layers of one decoder layer."""
    hidden, wide = facts.hidden, facts.intermediate
    queries, keys = facts.heads * facts.head_dim, facts.kv_heads * facts.head_dim
    attention = [(hidden, queries), (hidden, keys), (hidden, keys), (queries, hidden)]
    return [*attention, (hidden, wide), (hidden, wide), (wide, hidden)]


def linear_parameters(facts: Architecture) -> int:
    """Weights of the matrices of one layer."""
    return sum(inputs * outputs for inputs, outputs in linear_shapes(facts))


def adapter_parameters(facts: Architecture, settings: TrainingSettings) -> int:
    """Weights of the adapters of one layer."""
    lengths = _all_outputs(facts) if settings.dora else 0
    return _low_rank_parameters(facts, settings) + lengths


def _low_rank_parameters(facts: Architecture, settings: TrainingSettings) -> int:
    return settings.lora_r * sum(inputs + outputs for inputs, outputs in linear_shapes(facts))


def _all_outputs(facts: Architecture) -> int:
    return sum(outputs for _, outputs in linear_shapes(facts))


def _kept_by_adapters(facts: Architecture, settings: TrainingSettings) -> int:
    """What is between the low-rank matrices; for DoRA also both results, before they are mixed."""
    if settings.is_full:
        return 0
    for_input = _input_bytes(settings)
    between = len(linear_shapes(facts)) * settings.lora_r * for_input
    if not settings.dora:
        return between
    return between + _all_outputs(facts) * (settings.compute_bytes + for_input)


def _kept_by_dora(facts: Architecture, settings: TrainingSettings) -> int:
    """The identity, which peft sends through the low-rank matrices to get their product."""
    if settings.is_full or not settings.dora:
        return 0
    inputs = [inputs for inputs, _ in linear_shapes(facts)]
    numbers = sum(width * width + width * settings.lora_r for width in inputs)
    return _input_bytes(settings) * numbers + 3 * 4 * _all_outputs(facts)


def _casts_inputs(settings: TrainingSettings) -> bool:
    """Whether each linear layer keeps a copy of its input of its own, cast for it."""
    if settings.precision == "mixed":
        return True
    return settings.precision == "bf16" and not settings.is_full


def _input_bytes(settings: TrainingSettings) -> int:
    """Of a number that a trained matrix keeps; adapters are in fp32 unless products are mixed."""
    if settings.precision == "bf16" and not settings.is_full:
        return 4
    return settings.compute_bytes
