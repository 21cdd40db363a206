"""What is wrong with a local teacher is said before a weight is read: what, where, what next."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from distill.errors import DistillError, ModelError
from distill.local_section import LocalTeacher, read_size
from distill.section import read_folder
from distill.teacher_sections import read_teacher
from teachers.local_checkpoint import open_checkpoint
from teachers.local_places import Part, place
from teachers.local_weights import load_weights
from teachers.moe_config import published
from tests.teachers.local_models import tiny, write

Break = Callable[[Path], Any]


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mixture of experts in several files; tests that break it take a copy."""
    folder = write(tiny("deepseek_v3"), tmp_path_factory.mktemp("whole") / "tiny-moe", "300kB")
    assert len(shards(folder)) > 2
    return folder


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def set_config(**keys: Any) -> Break:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))

    return change


def cut_header(folder: Path) -> None:
    shards(folder)[0].write_bytes(b"\x00\x01")


def cut_off(folder: Path) -> None:
    path = shards(folder)[1]
    path.write_bytes(path.read_bytes()[:-10])


def drop_a_tensor(folder: Path) -> None:
    path = next(one for one in shards(folder) if any("q_b_proj" in key for key in load_file(one)))
    kept = {name: one for name, one in load_file(path).items() if "q_b_proj" not in name}
    save_file(kept, path, metadata={"format": "pt"})


CASES: dict[str, tuple[Break, list[str]]] = {
    "missing shard": (
        lambda folder: shards(folder)[-1].unlink(),
        ["missing: model-0000", "a model folder holds"],
    ),
    "cut shard": (cut_off, ["model-00002-of", "cut off", "fetch this file again"]),
    "corrupt shard": (cut_header, ["model-00001-of", "no whole header", "fetch this file"]),
    "tensor not in its shard": (drop_a_tensor, ["the weights lack", "q_b_proj", "copy the folder"]),
    "no tokenizer": (
        lambda folder: (folder / "tokenizer.json").unlink(),
        ["missing: tokenizer.json"],
    ),
    "no chat template": (
        lambda folder: (folder / "chat_template.jinja").unlink(),
        ["there is no chat template", "chat_template.jinja"],
    ),
    "unknown architecture": (
        set_config(model_type="deepseek_v99"),
        ["does not know model_type 'deepseek_v99'", "newer transformers"],
    ),
    "code of its own": (
        set_config(model_type="mine", auto_map={"AutoModelForCausalLM": "modeling_mine.M"}),
        ["is never run here (trust_remote_code)", 'teacher.kind = "api"'],
    ),
    "no text model": (set_config(model_type="vit"), ["'vit' is no model that writes text"]),
    "not a config": (
        lambda folder: (folder / "config.json").write_text("[]"),
        ["config.json: not a model's config"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_broken_checkpoint_is_refused_by_name(name: str, sharded: Path, tmp_path: Path) -> None:
    change, said = CASES[name]
    folder = shutil.copytree(sharded, tmp_path / "broken")
    change(folder)
    with pytest.raises(ModelError) as refused:
        load_weights(LocalTeacher(model=str(folder)))
    message = f"{refused.value.problem}\n{refused.value.hint}"
    assert str(folder) in message
    for part in said:
        assert part in message


def test_a_known_architecture_needs_no_code_of_its_own(sharded: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(sharded, tmp_path / "with-code")
    set_config(auto_map={"AutoModelForCausalLM": "modeling_deepseek.M"})(folder)
    (folder / "modeling_deepseek.py").write_text("raise SystemExit('this was run')\n")
    assert load_weights(LocalTeacher(model=str(folder))).model.config.model_type == "deepseek_v3"


def test_a_dense_model_works_and_is_said_to_be_one(tmp_path: Path) -> None:
    folder = write(tiny("qwen3"), tmp_path / "dense")
    checkpoint = open_checkpoint(LocalTeacher(model=str(folder)))
    assert any("not a mixture of experts" in note for note in checkpoint.notes)


def test_what_does_not_fit_is_told_what_would_be_enough(sharded: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(sharded, tmp_path / "DeepSeek-R1")
    config = published()["DeepSeek-V3"]["config"]
    (folder / "config.json").write_text(json.dumps(config))
    limit = {"max_memory": {"cpu": "100GiB"}}
    with pytest.raises(ModelError) as refused:
        load_weights(LocalTeacher(model=str(folder), **limit))
    assert "1,249.9 GiB of weights in bfloat16 do not fit" in refused.value.problem
    assert "in memory" in refused.value.problem
    for way in ("offload_folder on a fast disk", "of free memory", "--gpus 16x80GB"):
        assert way in refused.value.hint


def test_a_map_that_names_the_disk_needs_a_folder_for_it(sharded: Path) -> None:
    with pytest.raises(ModelError, match="offload_folder is not set"):
        load_weights(LocalTeacher(model=str(sharded), device_map={"": "disk"}))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"max_memory": {"ram": "1GB"}}, "'ram' is no place"),
        ({"max_memory": {"cpu": "much"}}, "write it as 70GiB"),
        ({"dtype": "fp8"}, "dtype"),
        ({"trust_remote_code": True}, "trust_remote_code"),
    ],
)
def test_a_mistake_in_the_section_names_its_key(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(DistillError, match=said):
        read_teacher({"kind": "local", "model": "owner/name", **keys}, "teacher")


def test_a_model_is_a_folder_beside_the_recipe_or_a_name_on_the_hub(tmp_path: Path) -> None:
    (tmp_path / "moe").mkdir()
    context = read_folder(tmp_path, must_exist=True)

    def read(model: str) -> str:
        return LocalTeacher.model_validate({"model": model}, context=context).model

    assert read("moe") == str((tmp_path / "moe").resolve())
    assert read("owner/name") == "owner/name"
    with pytest.raises(ValidationError, match=r"there is no folder .*nowhere.*OWNER/NAME"):
        read("nowhere")


@pytest.mark.parametrize(("text", "size"), [("1.5 kB", 1500), ("2TiB", 2 << 40), ("7B", 7)])
def test_a_size_is_read_as_people_write_it(text: str, size: int) -> None:
    assert read_size(text) == size


def test_routed_experts_leave_the_fast_places_to_the_rest() -> None:
    parts = [
        Part("embeddings", 10, is_routed=False),
        Part("0.experts", 30, is_routed=True),
        Part("1.attention", 10, is_routed=False),
        Part("1.experts", 30, is_routed=True),
    ]
    found = place(parts, {0: 50, "cpu": 20, "disk": 30})
    assert found.places == {
        "embeddings": 0,
        "1.attention": 0,
        "0.experts": 0,
        "1.experts": "disk",
    }
    assert found.homeless == 0
    assert place(parts, {0: 50, "cpu": 20}).homeless == 30
