"""What a recipe takes, where its defaults come from, and that each key is documented."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

from distill.overrides import load_recipe
from distill.recipe import EmbeddedPrompts, Recipe, TrainSection, read_folder

RECIPES = Path(__file__).parents[2] / "recipes"
SMALLEST: dict[str, Any] = {
    "name": "tiny",
    "teacher": {"kind": "embedded"},
    "prompts": {"kind": "embedded", "split": "train", "count": 3},
    "student": {"kind": "embedded"},
    "eval": {"prompts": {"kind": "embedded", "split": "eval", "count": 3}},
}


def changed(section: str, **values: object) -> dict[str, Any]:
    return {**SMALLEST, section: {**SMALLEST.get(section, {}), **values}}


def all_sections(section: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield section
    for field in section.model_fields.values():
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from all_sections(part)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.name)
def test_every_shipped_recipe_loads_and_has_the_name_of_its_file(path: Path) -> None:
    assert load_recipe(path).name == path.stem


def test_every_key_is_documented() -> None:
    for section in all_sections(Recipe):
        assert section.__doc__
        for name, field in section.model_fields.items():
            assert field.description, f"{section.__name__}.{name} has no docstring"


def test_a_resolved_recipe_comes_back_from_json_unchanged() -> None:
    recipe = Recipe.model_validate(SMALLEST)
    assert Recipe.model_validate(json.loads(recipe.model_dump_json())) == recipe


def test_a_recipe_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Recipe.model_validate(SMALLEST).seed = 2  # type: ignore[misc]


def test_the_learning_rate_of_lora_is_ten_times_that_of_full() -> None:
    full, lora = TrainSection(method="full"), TrainSection(method="lora")
    assert lora.learning_rate == pytest.approx(10 * full.learning_rate)
    assert TrainSection(method="lora", learning_rate=1e-3).learning_rate == 1e-3


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("generate", {"samples": "4"}),
        ("generate", {"samples": 4.0}),
        ("generate", {"samples": True}),
        ("generate", {"temperature": "0.6"}),
        ("generate", {"temperature": float("nan")}),
        ("generate", {"top_p": 0}),
        ("filter", {"needs_box": 1}),
        ("train", {"method": "dora"}),
        ("train", {"stages": [{"name": "a/b"}]}),
        ("train", {"lora": {"rank": 4}}),
        ("prompts", {"levels": [0]}),
        ("prompts", {"kinds": []}),
    ],
)
def test_values_are_not_converted_and_limits_hold(section: str, values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Recipe.model_validate(changed(section, **values))


def test_a_whole_number_is_a_number() -> None:
    recipe = Recipe.model_validate(changed("generate", temperature=1))
    assert recipe.generate.sampling(seed=7).temperature == 1.0


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("generate", {"samples": 2, "until_correct": 3}, "cannot be reached with samples = 2"),
        ("filter", {"min_reasoning_tokens": 9, "max_reasoning_tokens": 8}, "is below"),
        ("train", {"batch_tokens": 100, "seq_len": 200}, "less than one row"),
        ("train", {"reasoning_weight": 0, "answer_weight": 0}, "nothing is learnt"),
        ("train", {"stages": [{"name": "a"}, {"name": "a"}]}, "two stages have the same name"),
        ("train", {"stages": [{"name": "a", "min_tokens": 9, "max_tokens": 8}]}, "is below"),
        ("prompts", {"split": "eval"}, "prompts that it was not trained on"),
    ],
)
def test_contradictions_are_refused(section: str, values: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Recipe.model_validate(changed(section, **values))


def test_the_same_prompt_file_cannot_be_trained_on_and_evaluated() -> None:
    file = {"kind": "file", "path": "a.jsonl"}
    with pytest.raises(ValidationError, match="not trained on"):
        Recipe.model_validate({**SMALLEST, "prompts": file, "eval": {"prompts": file}})


def test_a_relative_path_starts_at_the_named_folder() -> None:
    table = {**SMALLEST, "prompts": {"kind": "file", "path": "../a.jsonl"}}
    context = read_folder(Path("/data/recipes"), must_exist=False)
    prompts = Recipe.model_validate(table, context=context).prompts
    assert prompts.model_dump()["path"] == Path("/data/a.jsonl")


def test_sections_can_be_built_in_python_too() -> None:
    assert EmbeddedPrompts(split="dev", count=2, levels=(2, 3)).kind == "embedded"


def test_a_stage_has_its_own_settings_and_takes_the_others_from_the_section() -> None:
    section = TrainSection.model_validate(
        {"epochs": 2, "learning_rate": 1e-3, "stages": [{"name": "cold", "epochs": 1}]}
    )
    cold = section.at(section.stages[0])
    assert (cold.epochs, cold.learning_rate, cold.stages) == (1, 1e-3, ())


@pytest.mark.parametrize(
    "ordered", [{"select": {"order": "easy_first"}}, {"blend": {"cold_start": "x.jsonl"}}]
)
def test_an_order_that_training_would_mix_again_is_refused(ordered: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"set train\.order = 'as_given'"):
        Recipe.model_validate({**SMALLEST, **ordered})
    kept = {**SMALLEST, **ordered, "train": {"order": "as_given"}}
    assert Recipe.model_validate(kept).train.order == "as_given"
    staged = {**SMALLEST, **ordered, "train": {"stages": [{"name": "main"}]}}
    assert Recipe.model_validate(staged).train.order == "shuffled"
