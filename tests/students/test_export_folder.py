"""What an export leaves: folders that transformers loads, records that say what was found."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from distill.errors import ModelError, StageError, StorageError
from distill.types import Progress
from engine.folder import load_folder
from students.export.check_weights import check_weights
from students.export.plan import ExportPlan, plan_export
from students.export.record import ExportRecord
from students.export.safetensors_out import shards, write_shards
from students.export.where_from import find_student
from students.export.writing import export
from students.load import EMBEDDED
from tests.students.test_export_lora import make_adapter


def plan(folder: Path, target: Path, format_: Any = "safetensors", quant: Any = None) -> ExportPlan:
    return plan_export(find_student(folder), target, format_, quant)


def run(made: ExportPlan, level: Any = "all") -> ExportRecord:
    return export(made, lambda _progress: None, level=level)


def test_bf16_folder_has_every_weight_rounded_as_torch_rounds(
    tiny_student: Path, tmp_path: Path
) -> None:
    record = run(plan(tiny_student, tmp_path / "out"))
    ours = load_folder(tmp_path / "out", dtype=torch.bfloat16)
    expected = load_folder(tiny_student).model.to(torch.bfloat16).state_dict()
    for name, weight in ours.model.state_dict().items():
        assert torch.equal(weight, expected[name])
    assert ours.stored_dtype == torch.bfloat16
    tokens, drift = record.checks.tokens, record.checks.drift
    assert tokens is not None
    assert tokens.equal == tokens.texts >= 500
    assert drift is not None
    assert drift.largest_difference < 0.05


@pytest.mark.parametrize(("format_", "largest_kl"), [("nf4", 1.0), ("int8", 0.1)])
def test_quantised_folder_loads_and_says_what_it_lost(
    tmp_path: Path, format_: str, largest_kl: float
) -> None:
    made = plan(EMBEDDED, tmp_path / "out", format_)
    record = run(made)
    written = (tmp_path / "out" / "model.safetensors").stat().st_size
    assert made.weight_bytes == pytest.approx(written, rel=0.05)  # a small model's header
    stored = json.loads((tmp_path / "out" / "config.json").read_text())["quantization_config"]
    assert stored["load_in_4bit" if format_ == "nf4" else "load_in_8bit"]
    drift = record.checks.drift
    assert drift is not None
    assert drift.kl_nats is not None
    assert 0 < drift.kl_nats < largest_kl


def test_adapter_is_merged_and_held_against_the_attached_one(
    tiny_qwen2: Path, tmp_path: Path
) -> None:
    adapted = make_adapter(tiny_qwen2, tmp_path / "adapter")
    student = find_student(tmp_path / "adapter", base=tiny_qwen2)
    record = run(plan_export(student, tmp_path / "out", "safetensors", "f32"))
    assert record.checks.merge is not None
    assert record.checks.merge.largest_difference < 1e-4
    ids = torch.arange(30)[None]
    with torch.no_grad():
        found = load_folder(tmp_path / "out").model(input_ids=ids).logits
        torch.testing.assert_close(found, adapted(input_ids=ids).logits, atol=1e-5, rtol=1e-5)


def test_shards_hold_each_tensor_once_and_an_index_says_where(
    tiny_student: Path, tmp_path: Path
) -> None:
    tensors = plan(tiny_student, tmp_path / "out").tensors
    files = shards(tensors, most_bytes=20_000)
    assert len(files) > 2
    for group in files.values():
        assert len(group) == 1 or sum(tensor.size_bytes for tensor in group) <= 20_000
    write_shards(tmp_path, files, lambda _count: None)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert sorted(index["weight_map"]) == sorted(tensor.name for tensor in tensors)
    for name, place in index["weight_map"].items():
        with safe_open(tmp_path / place, "pt") as file:
            assert name in file.keys()  # noqa: SIM118 - not a mapping
    check_weights(find_student(tiny_student), tmp_path)


def test_folder_for_transformers_4_has_its_names(tiny_qwen2: Path, tmp_path: Path) -> None:
    """What 4.57 stumbles over: the class, the list of extra tokens, two settings' new names."""
    settings = tiny_qwen2 / "tokenizer_config.json"
    given = json.loads(settings.read_text())
    assert given["tokenizer_class"] == "TokenizersBackend"
    made = plan_export(
        find_student(tiny_qwen2), tmp_path / "out", "safetensors", None, for_transformers4=True
    )
    assert run(made).compat == "transformers4"
    old = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
    assert old["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert "backend" not in old
    assert not isinstance(old.get("extra_special_tokens"), list)
    assert old["chat_template"] == (tmp_path / "out" / "chat_template.jinja").read_text()
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["torch_dtype"] == "bfloat16"
    assert config["rope_theta"] == 10000.0
    assert not {"dtype", "rope_parameters"} & set(config)


def test_record_names_every_file_with_size_and_hash(tiny_qwen2: Path, tmp_path: Path) -> None:
    from distill.digest import digest_file

    run(plan(tiny_qwen2, tmp_path / "out", "gguf", "f32"), "weights")
    record = json.loads((tmp_path / "out" / "export.json").read_text())
    names = {path.name for path in (tmp_path / "out").iterdir()} - {"export.json"}
    assert {file["name"] for file in record["files"]} == names
    for file in record["files"]:
        path = tmp_path / "out" / file["name"]
        assert (path.stat().st_size, digest_file(path)) == (file["size_bytes"], file["digest"])
    assert record["checks"]["drift"] is None
    assert record["notes"] == ["Only the weights were checked: no model was run (--check weights)."]


def test_one_changed_byte_in_the_file_is_found(tiny_qwen2: Path, tmp_path: Path) -> None:
    run(plan(tiny_qwen2, tmp_path / "out", "gguf", "q8_0"), "weights")
    (path,) = (tmp_path / "out").glob("*.gguf")
    data = bytearray(path.read_bytes())
    data[-41] ^= 0x40  # the exponent of a scale in the last tensor's last block, or one nearby
    path.write_bytes(data)
    with pytest.raises(StageError, match="was not written as it is"):
        check_weights(find_student(tiny_qwen2), path)


def test_failed_check_leaves_nothing(
    tiny_qwen2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import students.export.check_weights as module

    monkeypatch.setattr(module, "_LARGEST_ERROR", dict.fromkeys(module._LARGEST_ERROR, -1.0))
    with pytest.raises(StageError, match="was not written as it is"):
        run(plan(tiny_qwen2, tmp_path / "out", "gguf"))
    assert list(tmp_path.iterdir()) == []


def test_disk_too_small_is_said_before_anything_is_written(
    tiny_qwen2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    usage = shutil.disk_usage(tmp_path)._replace(free=10_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(StorageError, match=r"50\.\d MB are needed and 10\.0 MB are free"):
        plan(tiny_qwen2, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_target_that_is_taken_is_left_alone(tiny_qwen2: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(StorageError, match="is there already"):
        plan(tiny_qwen2, tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_nf4_of_narrow_rows_is_refused(tiny_qwen2: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nf4 needs rows of a multiple of 64 numbers"):
        plan(tiny_qwen2, tmp_path / "out", "nf4")


def test_quantised_folder_cannot_be_exported_again(tiny_qwen2: Path, tmp_path: Path) -> None:
    run(plan(tiny_qwen2, tmp_path / "out", "int8"), "weights")
    with pytest.raises(ModelError, match="quantised already"):
        find_student(tmp_path / "out")


def test_progress_goes_up_to_the_size_that_was_planned(tiny_qwen2: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    export(plan(tiny_qwen2, tmp_path / "out"), seen.append, level="weights")
    written = [progress for progress in seen if progress.stage == "write MB"]
    assert written[-1].done == written[-1].total == 1
    assert seen[-1].stage == "check"
    assert seen[-1].done == seen[-1].total
