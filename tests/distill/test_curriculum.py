import pytest

from distill.curriculum import Facts, choose_stages
from distill.errors import DataError
from distill.train_sections import StageSection
from distill.types import Document, Example, Message

OWN = [
    Example(one, (Message("user", "?"), Message("assistant", "!", is_trained=True)))
    for one in ("cold_start/1", "easy#0", "hard#0", "unjudged#0")
]
FACTS = {
    "cold_start/1": Facts("cold_start"),
    "easy#0": Facts("mine", "r1", 1.0),
    "hard#0": Facts("mine", "v4", 0.2),
    "hard": Facts("mine", "v4", 0.2),
    "unjudged#0": Facts("mine", "r1"),
}


def chosen(*stages: dict[str, object], own: list[Example] = OWN) -> dict[str, list[str]]:
    found = choose_stages(
        [StageSection.model_validate({"name": f"s{n}"} | stage) for n, stage in enumerate(stages)],
        own,
        FACTS,
        read_data=lambda stage: [Document("other", str(stage.data))],
        count_tokens=lambda example: len(example.id),
    )
    return {name: [one.id for one in examples] for name, examples in found.items()}


def test_a_stage_without_conditions_takes_all_in_order() -> None:
    assert chosen({}) == {"s0": [one.id for one in OWN]}


def test_cold_start_first_then_the_rest() -> None:
    assert chosen({"sources": ["cold_start"]}, {"sources": ["mine"]}) == {
        "s0": ["cold_start/1"],
        "s1": ["easy#0", "hard#0", "unjudged#0"],
    }


def test_conditions_hold_together() -> None:
    assert chosen({"models": ["r1"]}) == {"s0": ["easy#0", "unjudged#0"]}
    assert chosen({"max_pass_rate": 0.5}) == {"s0": ["hard#0"]}
    assert chosen({"min_pass_rate": 0.5}) == {"s0": ["easy#0"]}
    assert chosen({"sources": ["mine"], "max_tokens": 6}) == {"s0": ["easy#0", "hard#0"]}
    assert chosen({"min_tokens": 7}) == {"s0": ["cold_start/1", "unjudged#0"]}


def test_another_trace_of_a_prompt_has_the_facts_of_the_prompt() -> None:
    other = Example("hard#7", OWN[0].messages)
    assert chosen({"max_pass_rate": 0.5}, own=[other]) == {"s0": ["hard#7"]}


def test_a_stage_may_read_another_data_set() -> None:
    data = {"kind": "file", "path": "more.jsonl"}
    assert chosen({"data": data}) == {"s0": ["other"]}


def test_a_stage_that_nothing_suits_says_what_there_is() -> None:
    with pytest.raises(DataError) as raised:
        chosen({"sources": ["coldstart"]})
    assert "stage 's0'; its conditions: sources = ('coldstart',)" in raised.value.problem
    assert "4 examples; sources: cold_start, mine; models: r1, v4" in raised.value.hint
    with pytest.raises(DataError) as raised:
        chosen({"data": {"kind": "file", "path": "x.jsonl"}, "min_tokens": 99})
    assert raised.value.hint == "lengths: 5 to 5 tokens"
