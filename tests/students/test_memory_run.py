"""What answering is planned to take, against real files and published figures."""

import math
import shutil
from pathlib import Path
from typing import cast

import pytest
import torch
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM

from engine.drawing import UniformStream
from engine.folder import quiet_transformers
from engine.lanes import Lanes
from engine.row import Decoding, Row
from students.base import EMBEDDED
from students.catalog import Architecture, ModelType, find_student
from students.export.bits import write_quantised
from students.export.gguf_format import read_gguf, write_gguf
from students.export.gguf_kinds import Quant
from students.export.gguf_out import gguf_tensors
from students.export.plan import Format
from students.export.where_from import find_student as find_folder
from students.memory_run import (
    RUN_FORMATS,
    RunFormat,
    cache_bytes_per_token,
    cache_tokens,
    longest_context,
    plan_running,
    weight_bytes,
)
from students.memory_source import read_facts

GIB = 1024**3
LIMIT = 8192


@pytest.fixture(scope="module", params=[("qwen2", True), ("qwen3", True), ("llama", False)])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of 3 layers, wide enough for K-quants, with the embedded tokenizer."""
    model_type, is_tied = request.param
    return write_model(model_type, tmp_path_factory.mktemp(model_type), is_tied=is_tied)


def write_model(model_type: ModelType, folder: Path, *, is_tied: bool) -> Path:
    config = AutoConfig.for_model(
        model_type,
        vocab_size=548,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=512,
        tie_word_embeddings=is_tied,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )
    with quiet_transformers():
        AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(EMBEDDED / name, folder / name)
    return folder


def written_bytes(folder: Path, target: Path, format_: RunFormat) -> int:
    """Bytes of all tensors in the files as `students.export` writes them."""
    kind, _, quant = format_.partition(" ")
    if kind == "gguf":
        tensors = gguf_tensors(find_folder(folder), cast("Quant", quant))
        write_gguf(target / "student.gguf", {}, tensors, lambda _count: None)
        return sum(each.size_bytes for each in read_gguf(target / "student.gguf").tensors.values())
    if kind == "bf16":
        target = folder
    else:
        write_quantised(folder, target, cast("Format", kind))
    with safe_open(target / "model.safetensors", "pt") as file:
        return sum(file.get_tensor(name).nbytes for name in file.keys())  # noqa: SIM118


@pytest.mark.parametrize("format_", RUN_FORMATS)
def test_weights_are_as_large_as_those_in_the_file(
    folder: Path, tmp_path: Path, format_: RunFormat
) -> None:
    """The bar is 2 %; bitsandbytes adds a few bytes to each matrix for its settings."""
    planned = weight_bytes(read_facts(folder / "config.json"), format_)
    assert planned == pytest.approx(written_bytes(folder, tmp_path, format_), rel=0.005)


def test_a_place_of_a_lane_takes_the_bytes_that_are_counted() -> None:
    facts = Architecture("llama", 3, 64, 4, 2, 16, 128, 500, True, LIMIT)
    lane, _ = Lanes(LIMIT).place(Row([1] * 300, Decoding(), UniformStream("row"), LIMIT), 300)
    states = torch.zeros(facts.kv_heads, 1, facts.head_dim, dtype=torch.bfloat16)
    for layer in range(facts.layers):
        lane.buffers(layer, [states, states])
    assert lane.held_bytes == lane.capacity * cache_bytes_per_token(facts)


@pytest.mark.parametrize("context", [100, 128, 129, 4096, 5000, 8192])
def test_the_cache_is_the_lane_and_the_one_before_it(context: int) -> None:
    """Of the engine that answers; a row is copied from lane to lane as it grows."""
    lanes = Lanes(LIMIT)
    row = Row([1], Decoding(), UniformStream("row"), LIMIT)
    lanes.place(row, 2)
    places = []
    for tokens in range(1, context + 1):
        row.cached_tokens = tokens - 1
        if lanes.full_rows():
            places.append(lanes.occupied_tokens)
            lanes.lift([row])
    held = lanes.occupied_tokens + (places[-1] if places else 0)
    facts = Architecture("llama", 3, 64, 4, 2, 16, 128, 500, True, LIMIT)
    assert cache_tokens(facts, context, is_gguf=False) == held
    assert plan_running(facts, "bf16", context).cache == held * cache_bytes_per_token(facts)


@pytest.mark.parametrize(
    ("name", "at_8k", "at_32k"),
    [
        ("Qwen2.5-1.5B", 2.0, 2.6),
        ("Qwen2.5-7B", 5.6, 6.9),
        ("Qwen2.5-14B", 10.7, 15.2),
        ("Qwen2.5-32B", 21.3, 27.3),
        ("Llama-3.1-8B", 6.4, 9.4),
    ],
)
def test_four_bits_take_what_others_have_worked_out(name: str, at_8k: float, at_32k: float) -> None:
    """Figures of a plan made elsewhere, in GiB; they leave out what reading a prompt takes."""
    facts = find_student(name).architecture
    for context, expected in ((8192, at_8k), (32_768, at_32k)):
        total = plan_running(facts, "gguf q4_k_m", context).total / GIB
        assert math.isclose(total, expected, rel_tol=0.05, abs_tol=0.3)


def test_the_longest_context_fits_and_the_next_step_does_not() -> None:
    facts = find_student("Qwen2.5-7B").architecture
    longest = longest_context(facts, "nf4", 12 * GIB)
    assert plan_running(facts, "nf4", longest).total <= 12 * GIB
    assert plan_running(facts, "nf4", longest + 1024).total > 12 * GIB
    assert longest_context(facts, "bf16", 8 * GIB) == 0
    assert longest_context(facts, "nf4", 80 * GIB) == facts.context_tokens
