"""Whatever names a student leads to the same facts."""

import json
import shutil
from pathlib import Path

import pytest

from distill.errors import DataError, ModelError
from engine.folder import load_folder
from students.base import EMBEDDED
from students.catalog import find_student
from students.memory_source import find_facts, read_facts

RECIPE = Path(__file__).parents[2] / "recipes" / "quickstart.toml"


def test_folder_file_run_recipe_and_name_give_the_same_facts(tmp_path: Path) -> None:
    shutil.copytree(EMBEDDED, tmp_path / "student")
    names = [EMBEDDED, EMBEDDED / "config.json", tmp_path, RECIPE, "embedded"]
    assert len({find_facts(str(name)).facts for name in names}) == 1
    assert find_facts(str(RECIPE)).section is not None


def test_facts_count_the_parameters_that_the_model_has() -> None:
    model = load_folder(EMBEDDED).model
    assert read_facts(EMBEDDED / "config.json").parameters == model.num_parameters()


def test_an_adapter_has_the_facts_of_its_base(tmp_path: Path) -> None:
    config = {"base_model_name_or_path": str(EMBEDDED)}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    assert find_facts(str(tmp_path)).facts == read_facts(EMBEDDED / "config.json")


def test_an_adapter_that_names_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": str(tmp_path)})
    )
    with pytest.raises(DataError, match="names itself"):
        find_facts(str(tmp_path))


def test_a_name_of_the_catalogue_needs_no_owner() -> None:
    known = find_student("Qwen/Qwen2.5-7B").architecture
    assert find_facts("qwen2.5-7b").facts == known


@pytest.mark.parametrize("text", ["", "[]", "{", '{"model_type": "llama", "hidden_size": "x"}'])
def test_a_config_that_is_none_is_refused_by_its_path(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(DataError, match=r"config\.json"):
        find_facts(str(tmp_path))


def test_a_folder_without_a_model_says_what_may_be_given(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no config\.json in it") as raised:
        find_facts(str(tmp_path))
    assert "a recipe" in raised.value.hint
