"""Where a base lies, and which chat template it gets."""

import json
import shutil
from pathlib import Path

import pytest

from distill.errors import ModelError, RecipeError
from distill.overrides import load_recipe
from distill.recipe import EmbeddedStudent, HubStudent, LocalStudent
from engine.folder import folder_fingerprint, load_tokenizer
from students.base import (
    EMBEDDED,
    base_folder,
    base_tokenizer,
    named_folder,
    own_template,
    template_text,
)
from students.load import load_student

RECIPE = """
name = "tiny"
teacher = { kind = "embedded" }
prompts = { kind = "embedded", split = "train", count = 3 }
student = { kind = "embedded" }
eval = { prompts = { kind = "embedded", split = "eval", count = 3 } }
"""


@pytest.fixture
def bare(tiny_qwen2: Path, tmp_path: Path) -> Path:
    """A base without a chat template."""
    folder = tmp_path / "bare"
    shutil.copytree(tiny_qwen2, folder)
    (folder / "chat_template.jinja").unlink()
    return folder


def cached(home: Path, name: str, base: Path) -> Path:
    """Lay a base out as the Hub's cache holds it."""
    place = home / f"models--{name.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("d" * 40)
    shutil.copytree(base, place / "snapshots" / ("d" * 40))
    return place / "snapshots" / ("d" * 40)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_base_with_its_own_template_is_its_own_folder(tiny_qwen2: Path, tmp_path: Path) -> None:
    assert base_folder(EmbeddedStudent(), tmp_path / "view") == EMBEDDED
    assert base_folder(LocalStudent(path=tiny_qwen2), tmp_path / "view") == tiny_qwen2
    assert not (tmp_path / "view").exists()


def test_another_template_makes_a_view_with_the_same_weights(
    tiny_qwen2: Path, tmp_path: Path
) -> None:
    file = tmp_path / "mine.jinja"
    file.write_text("{% for m in messages %}{{ m.content }}<|end|>{% endfor %}")
    student = LocalStudent(path=tiny_qwen2, template=file)
    view = base_folder(student, tmp_path / "view")
    assert load_tokenizer(view).chat_template == file.read_text()
    assert (view / "model.safetensors").resolve() == tiny_qwen2 / "model.safetensors"
    assert folder_fingerprint(view) != folder_fingerprint(tiny_qwen2)
    assert load_student(view).model.num_parameters() > 0


def test_a_view_is_made_anew_only_when_something_changed(tiny_qwen2: Path, tmp_path: Path) -> None:
    student = LocalStudent(path=tiny_qwen2, template=Path("chatml"))
    view = base_folder(student, tmp_path / "view")
    made = view.stat().st_ino
    assert base_folder(student, view).stat().st_ino == made
    changed = LocalStudent(path=tiny_qwen2, template=Path("llama3"))
    assert own_template(base_folder(changed, view)) == template_text(Path("llama3"))


def test_template_in_an_older_tokenizer_config_is_the_models_own(bare: Path) -> None:
    assert own_template(bare) is None
    config = bare / "tokenizer_config.json"
    table = json.loads(config.read_text())
    config.write_text(json.dumps(table | {"chat_template": "a"}))
    assert own_template(bare) == "a"
    named = [{"name": "tool_use", "template": "b"}, {"name": "default", "template": "c"}]
    config.write_text(json.dumps(table | {"chat_template": named}))
    assert own_template(bare) == "c"


def test_template_of_the_recipe_goes_before_one_in_the_tokenizer_config(
    bare: Path, tmp_path: Path
) -> None:
    config = bare / "tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"chat_template": "old"}))
    view = base_folder(LocalStudent(path=bare, template=Path("chatml")), tmp_path / "view")
    assert load_tokenizer(view).chat_template == template_text(Path("chatml"))


def test_base_of_the_catalogue_without_a_template_gets_its_familys(
    cache: Path, bare: Path, tmp_path: Path
) -> None:
    snapshot = cached(cache, "meta-llama/Llama-3.2-1B", bare)
    student = HubStudent(model="Llama-3.2-1B")
    view = base_folder(student, tmp_path / "view")
    assert own_template(view) == template_text(Path("llama3"))
    assert (view / "config.json").resolve() == snapshot / "config.json"
    assert base_tokenizer(student) == snapshot / "tokenizer.json"


def test_model_of_the_hub_with_a_template_is_taken_as_it_is(
    cache: Path, tiny_qwen2: Path, tmp_path: Path
) -> None:
    snapshot = cached(cache, "Qwen/Qwen2.5-0.5B", tiny_qwen2)
    student = HubStudent(model="Qwen/Qwen2.5-0.5B")
    assert base_folder(student, tmp_path / "view") == snapshot


def test_model_is_found_by_whatever_a_user_calls_it(
    cache: Path, tiny_qwen2: Path, tmp_path: Path
) -> None:
    snapshot = cached(cache, "Qwen/Qwen2.5-0.5B", tiny_qwen2)
    assert named_folder(str(tiny_qwen2)) == tiny_qwen2
    assert named_folder("qwen2.5-0.5b") == named_folder("Qwen/Qwen2.5-0.5B") == snapshot
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "manifest.json").write_text("{}")
    assert named_folder(str(tmp_path / "run")) == tmp_path / "run" / "student"
    with pytest.raises(ModelError, match="no such folder, and no model of the catalogue"):
        named_folder(str(tmp_path / "nothing"))
    with pytest.raises(ModelError, match="some/where: not in the cache of this machine"):
        named_folder("some/where")


def test_a_cache_that_lacks_weights_is_told_with_what_is_expected(
    cache: Path, tiny_qwen2: Path, tmp_path: Path
) -> None:
    snapshot = cached(cache, "Qwen/Qwen2.5-0.5B", tiny_qwen2)
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"Qwen/Qwen2\.5-0\.5B: .*model\.safetensors"):
        base_folder(HubStudent(model="Qwen/Qwen2.5-0.5B"), tmp_path / "view")


def test_recipe_names_a_model_and_a_template(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(RECIPE)
    (tmp_path / "mine.jinja").write_text("x")
    model = "student.model=Qwen/Qwen2.5-7B"
    kind = "student.kind=hub"
    ours = load_recipe(path, [kind, model, "student.template=chatml"]).student
    assert ours == HubStudent(model="Qwen/Qwen2.5-7B", template=Path("chatml"))
    file = tmp_path / "mine.jinja"
    mine = load_recipe(path, [kind, model, f"student.template={file}"]).student
    assert mine == HubStudent(model="Qwen/Qwen2.5-7B", template=file)


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("student.template=chatmll", "it must be a Jinja file or one of 'chatml', 'llama3', 'r1'"),
        ("student.model=models/my/base", "must be OWNER/NAME as on the Hub"),
    ],
)
def test_wrong_choice_in_the_recipe_is_answered_with_what_is_allowed(
    tmp_path: Path, setting: str, problem: str
) -> None:
    path = tmp_path / "r.toml"
    path.write_text(RECIPE)
    settings = ["student.kind=hub", "student.model=Qwen/Qwen2.5-7B", setting]
    with pytest.raises(RecipeError, match=problem):
        load_recipe(path, settings)
