"""What a model takes in main memory: places against real lanes, and the three moments."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from engine.drawing import UniformStream
from engine.footprint import held_places
from engine.lanes import Lanes
from engine.row import Decoding, Row
from teachers.moe_config import FORMATS, Architecture, architecture_of
from teachers.shard_local import LocalWish, most_rows, needed_bytes, plan_local
from teachers.shard_weights import file_bytes, parameters
from tests.teachers.big_models import CONFIGS

LONGEST = 4096
GIB = 1024**3
WISH = LocalWish(context_tokens=512, rows=8, prompt_tokens=256)


def facts_of(model_type: str, **changes: Any) -> Architecture:
    config = {"model_type": model_type, **CONFIGS[model_type], **changes}
    return architecture_of(config, model_type, where=model_type)


@pytest.mark.parametrize("rows", [1, 3, 8, 64])
@pytest.mark.parametrize("tokens", [100, 128, 129, 1000])
def test_places_are_those_of_the_engines_lanes(rows: int, tokens: int) -> None:
    """Beside the lane that the rows end in, the plan has room for one row on its way there."""
    lanes = Lanes(LONGEST)
    states = torch.zeros(2, 1, 4)
    for number in range(rows):
        row = Row([1], Decoding(), UniformStream(str(number)), LONGEST)
        lane, _ = lanes.place(row, tokens)
    lane.buffers(0, [states])
    held = lane.held_bytes // (4 * 2 * 4)
    earlier = held_places(rows, tokens, LONGEST) - held
    assert earlier == (0 if lane.capacity == 128 else lane.capacity // 2)


def test_experts_are_read_from_files_that_stay_mapped_and_other_weights_are_the_files() -> None:
    mixture, dense = facts_of("qwen3_moe"), facts_of("llama")
    assert plan_local(mixture, WISH).mapped == file_bytes(mixture)["routed"]
    assert plan_local(dense, WISH).mapped == 0


def test_another_precision_maps_all_files_while_loading_and_none_afterwards() -> None:
    facts = facts_of("qwen3_moe", vocab_size=2_000_000)
    plan = plan_local(facts, replace(WISH, rows=1, prompt_tokens=8, number_bytes=4))
    assert facts.format == FORMATS["bf16"]
    assert plan.moment == "loading"
    assert plan.weights == 4 * parameters(facts)
    assert plan.mapped == sum(file_bytes(facts).values())


def test_long_prompts_make_reading_the_highest_moment_and_long_answers_writing() -> None:
    facts = facts_of("deepseek_v3")
    assert plan_local(facts, replace(WISH, prompt_tokens=500)).moment == "reading"
    long = LocalWish(context_tokens=200_000, rows=8, prompt_tokens=8)
    assert plan_local(replace(facts, context_tokens=200_000), long).moment == "writing"


@pytest.mark.parametrize("model_type", ["deepseek_v3", "qwen3_moe", "llama"])
def test_as_many_rows_fit_as_there_is_room_for(model_type: str) -> None:
    facts = facts_of(model_type)
    rows = most_rows(facts, WISH, GIB // 2)
    assert needed_bytes(facts, replace(WISH, rows=rows)) <= GIB // 2
    assert needed_bytes(facts, replace(WISH, rows=rows + 1)) > GIB // 2
    assert most_rows(facts, WISH, GIB // 10) == 0  # Python and torch alone take more
