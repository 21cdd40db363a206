import re
import tomllib
from pathlib import Path

import pytest

from cli.recipe_text import recipe_text
from distill.overrides import load_recipe
from distill.recipe import ApiTeacher, HubStudent, Recipe
from tests.conftest import RunDistill

SMALLEST = {
    "name": "small",
    "teacher": {"kind": "embedded"},
    "prompts": {"kind": "embedded", "split": "train", "count": 8},
    "student": {"kind": "embedded"},
    "eval": {"prompts": {"kind": "embedded", "split": "eval", "count": 4}},
}


def uncommented(text: str) -> str:
    """The text with every default switched on."""
    lines = [line for line in text.splitlines() if "(not set)" not in line]
    return "\n".join(re.sub(r"^#(\w+ = )", r"\1", line) for line in lines)


def test_the_written_recipe_loads_and_names_the_next_step(
    run_distill: RunDistill, tmp_path: Path
) -> None:
    shown = run_distill("init", "my job.toml")
    assert (shown.returncode, shown.stdout) == (0, "wrote my job.toml\n")
    assert shown.stderr.endswith("distill run 'my job.toml'\n")
    assert load_recipe(tmp_path / "my job.toml").name == "my-job"


def test_a_file_that_exists_is_never_changed(run_distill: RunDistill, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("mine")
    shown = run_distill("init")
    assert shown.returncode == 2
    assert shown.stderr.startswith("error: recipe.toml exists; nothing was changed\n")
    assert (tmp_path / "recipe.toml").read_text() == "mine"


def test_paths_of_the_users_stand_relative_to_the_recipe(
    run_distill: RunDistill, tmp_path: Path
) -> None:
    for name in ("traces.jsonl", "train.jsonl", "held-out.jsonl"):
        (tmp_path / name).write_text("")
    (tmp_path / "base").mkdir()
    files = ["--prompts", "train.jsonl", "--eval-prompts", "held-out.jsonl"]
    models = ["--teacher", "traces.jsonl", "--student", "base"]
    assert run_distill("init", "recipes/mine.toml", *files, *models).returncode == 0
    table = tomllib.loads((tmp_path / "recipes/mine.toml").read_text())
    assert table["teacher"] == {"kind": "replay", "path": "../traces.jsonl"}
    assert table["eval"]["models"] == ["base", "student"]
    assert table["student"] == {"kind": "local", "path": "../base"}
    assert table["eval"]["prompts"] == {"kind": "file", "path": "../held-out.jsonl"}
    assert load_recipe(tmp_path / "recipes/mine.toml").name == "mine"


def test_a_folder_as_teacher_is_a_model_on_this_machine(
    run_distill: RunDistill, tmp_path: Path
) -> None:
    (tmp_path / "moe").mkdir()
    assert run_distill("init", "recipes/mine.toml", "--teacher", "moe").returncode == 0
    table = tomllib.loads((tmp_path / "recipes/mine.toml").read_text())
    assert table["teacher"] == {"kind": "local", "model": "../moe"}


def test_a_model_that_is_not_there_is_told_and_nothing_is_written(
    run_distill: RunDistill, tmp_path: Path
) -> None:
    shown = run_distill("init", "--student", "base")
    assert shown.returncode == 2
    assert f"student.path: there is no {tmp_path / 'base'}" in shown.stderr
    assert not (tmp_path / "recipe.toml").exists()


def test_commented_defaults_are_the_defaults() -> None:
    recipe = Recipe.model_validate(SMALLEST)
    text = recipe_text(recipe)
    assert Recipe.model_validate(tomllib.loads(text)) == recipe
    assert Recipe.model_validate(tomllib.loads(uncommented(text))) == recipe


@pytest.mark.parametrize("key", ["until_correct", "learning_rate", "checkpoint_every_steps", "r"])
def test_every_key_stands_in_the_text_with_its_meaning(key: str) -> None:
    lines = recipe_text(Recipe.model_validate(SMALLEST)).splitlines()
    place = next(n for n, line in enumerate(lines) if line.startswith(f"#{key} = "))
    assert lines[place - 1].startswith("# ")


def test_embedded_models_get_the_settings_of_the_quickstart(
    run_distill: RunDistill, tmp_path: Path, repository: Path
) -> None:
    assert run_distill("init", "quickstart.toml").returncode == 0
    quickstart = load_recipe(repository / "recipes" / "quickstart.toml")
    assert load_recipe(tmp_path / "quickstart.toml") == quickstart


def test_a_teacher_behind_an_endpoint_is_written_with_its_model(
    run_distill: RunDistill, tmp_path: Path
) -> None:
    shown = run_distill("init", "a.toml", "--teacher", "deepseek")
    assert shown.returncode == 0, shown.stderr
    recipe = load_recipe(tmp_path / "a.toml")
    assert isinstance(recipe.teacher, ApiTeacher)
    assert (recipe.teacher.endpoint, recipe.teacher.model) == ("deepseek", "deepseek-flash")
    own = ["--teacher", "openai-compatible", "--model", "m", "--base-url", "http://gpu7:8000/v1"]
    assert run_distill("init", "b.toml", *own).returncode == 0
    recipe = load_recipe(tmp_path / "b.toml")
    assert isinstance(recipe.teacher, ApiTeacher)
    assert recipe.teacher.base_url == "http://gpu7:8000/v1"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--teacher", "vllm"], "needs the name of a model"),
        (["--teacher", "deepsek", "--model", "m"], "an endpoint must be one of deepseek, azure"),
    ],
)
def test_an_endpoint_without_what_it_needs_is_refused(
    arguments: list[str], words: str, run_distill: RunDistill, tmp_path: Path
) -> None:
    shown = run_distill("init", "a.toml", *arguments)
    assert shown.returncode == 2
    assert words in shown.stderr
    assert not (tmp_path / "a.toml").exists()


def test_a_student_of_the_catalogue_stands_by_name_and_its_published_settings_are_told(
    run_distill: RunDistill, tmp_path: Path
) -> None:
    (tmp_path / "train.jsonl").write_text("")
    shown = run_distill("init", "r.toml", "--student", "qwen2.5-7b", "--prompts", "train.jsonl")
    assert shown.returncode == 0, shown.stderr
    assert load_recipe(tmp_path / "r.toml").student == HubStudent(model="Qwen/Qwen2.5-7B")
    assert "published settings for this size: distill students Qwen2.5-7B" in shown.stderr
