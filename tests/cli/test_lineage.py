"""``distill trace-back`` and ``distill verify`` on the student of a real run."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Invoke


@pytest.fixture
def student(finished_run: Path, tmp_path: Path) -> Path:
    """The student alone, as somebody who downloaded it has it."""
    shutil.copytree(finished_run / "runs/tiny/student", tmp_path / "student")
    return tmp_path / "student"


def test_the_weights_lead_back_to_prompts_and_teacher(
    invoke: Invoke, student: Path, finished_run: Path
) -> None:
    shown = invoke("trace-back", student)
    assert shown.code == 0, shown.err
    stages = [line.split()[0] for line in shown.out.splitlines() if line and line[0].isalpha()]
    assert stages == ["train", "filter", "generate"]
    record = json.loads(invoke("trace-back", student, "--json").out)
    manifest = json.loads((finished_run / "runs/tiny/manifest.json").read_text())["stages"]
    by_stage = {step["stage"]: step for step in record["steps"]}
    for stage in ("generate", "filter"):
        assert by_stage[stage]["outputs"] == manifest[stage]["outputs"]
    assert by_stage["filter"]["inputs"] == manifest["filter"]["inputs"]
    assert by_stage["generate"]["settings"] == manifest["generate"]["settings"]
    assert by_stage["generate"]["recipe"]["teacher"]["kind"] == "replay"
    assert record["broken"] == []


def test_no_path_of_this_machine_is_in_the_record(student: Path) -> None:
    text = (student / "lineage.json").read_text()
    assert str(Path.home()) not in text
    assert str(student.parent.parent) not in text
    assert "/tmp" not in text


def test_verify_names_a_changed_file_and_ends_with_3(invoke: Invoke, student: Path) -> None:
    assert invoke("verify", student).code == 0
    with (student / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    shown = invoke("verify", student)
    assert shown.code == 3
    assert "changed  model.safetensors" in shown.out
    found = json.loads(invoke("verify", student, "--json").out)["findings"]
    assert found == [{"path": "model.safetensors", "problem": "changed"}]


def test_a_run_is_verified_as_a_whole(invoke: Invoke, finished_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run / "runs/tiny", run)
    assert invoke("verify", run).code == 0
    (run / "traces.jsonl").write_bytes(b"")
    (run / "train.parquet").unlink()
    shown = invoke("verify", run)
    assert shown.code == 3
    assert "changed  traces.jsonl" in shown.out
    assert "missing  train.parquet" in shown.out
