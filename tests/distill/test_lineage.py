"""A student's folder tells where it comes from, and every changed byte of it shows."""

import json
import random
import shutil
from pathlib import Path

import pytest

from distill.digest import sha256_file
from distill.errors import DataError
from distill.integrity import Finding, check_folder
from distill.lineage import (
    LINEAGE_FILE,
    Step,
    broken_links,
    carry_lineage,
    new_step,
    read_lineage,
    write_lineage,
)


def step(stage: str, inputs: dict[str, str], outputs: dict[str, str]) -> Step:
    return Step(stage, {}, {}, 0, inputs, outputs, "", "", {}, {})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder with a lineage."""
    folder = tmp_path / "student"
    (folder / "adapter").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(range(200)))
    (folder / "config.json").write_text('{"model_type": "qwen2"}')
    (folder / "adapter/adapter_config.json").write_text("{}")
    steps = [step("filter", {}, {"train.parquet": "a"}), step("train", {"train.parquet": "a"}, {})]
    write_lineage(folder, "tiny", steps)
    return folder


def test_a_folder_as_it_was_written_is_whole(folder: Path) -> None:
    checked = check_folder(folder)
    assert checked.findings == ()
    assert checked.files == 3


def test_every_flipped_byte_of_every_file_is_found_and_named(folder: Path) -> None:
    rng = random.Random(0)
    for path in [one for one in folder.rglob("*") if one.is_file()]:
        whole = path.read_bytes()
        places = range(len(whole)) if len(whole) < 300 else rng.sample(range(len(whole)), 200)
        for place in places:
            spoilt = bytearray(whole)
            spoilt[place] ^= 1 << rng.randrange(8)
            path.write_bytes(spoilt)
            found = check_folder(folder).findings
            assert found == (Finding(path.relative_to(folder).as_posix(), "changed"),), place
        path.write_bytes(whole)
    assert check_folder(folder).findings == ()


def test_a_missing_file_and_one_too_many_are_named(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "payload.py").write_text("")
    assert check_folder(folder).findings == (
        Finding("config.json", "missing"),
        Finding("payload.py", "not listed"),
    )


def test_what_a_hub_leaves_in_a_folder_is_no_part_of_it(folder: Path) -> None:
    (folder / ".cache/huggingface").mkdir(parents=True)
    (folder / ".cache/huggingface/download.lock").touch()
    (folder / ".gitattributes").touch()
    assert check_folder(folder).findings == ()


def test_a_lineage_of_an_earlier_version_is_checked_as_it_was_written(folder: Path) -> None:
    names = read_lineage(folder).files
    write_lineage(folder, "tiny", [], known={name: sha256_file(folder / name) for name in names})
    assert check_folder(folder).findings == ()
    (folder / "config.json").write_text("{ }")
    assert check_folder(folder).findings == (Finding("config.json", "changed"),)


def test_what_was_made_of_a_student_has_one_more_step(folder: Path, tmp_path: Path) -> None:
    export = tmp_path / "export"
    export.mkdir()
    (export / "student.gguf").write_bytes(b"GGUF")
    done = new_step("export", settings={"format": "gguf"}, inputs={}, figures={})
    carry_lineage(folder, export, done)
    lineage = read_lineage(export)
    assert [one.stage for one in lineage.steps] == ["filter", "train", "export"]
    made_of = lineage.steps[-1].inputs["model.safetensors"]
    assert made_of == read_lineage(folder).files["model.safetensors"]
    assert list(lineage.files) == ["student.gguf"]
    (folder / LINEAGE_FILE).unlink()
    assert carry_lineage(folder, export, done) is None


def test_a_step_that_read_something_else_than_was_made_is_found(folder: Path) -> None:
    assert broken_links(read_lineage(folder)) == []
    steps = [step("filter", {}, {"train.parquet": "a"}), step("train", {"train.parquet": "b"}, {})]
    assert broken_links(write_lineage(folder, "tiny", steps)) == [("train", "train.parquet")]


def test_a_folder_that_says_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing says what is in it"):
        check_folder(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        check_folder(tmp_path / "nowhere")


def test_an_edited_record_is_refused_even_with_a_matching_form(folder: Path) -> None:
    path = folder / LINEAGE_FILE
    record = json.loads(path.read_text())
    record["name"] = "other"
    path.write_text(json.dumps(record, indent=1) + "\n")
    with pytest.raises(DataError, match="changed since it was written"):
        read_lineage(folder)
    shutil.rmtree(folder)
