"""``distill export`` as a user meets it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from distill.recipe import LoraSection
from engine.folder import load_folder
from students.adapters import attach_adapter, save_adapter
from students.load import EMBEDDED
from tests.cli.conftest import Invoke, Shown, invoke_in
from tests.conftest import REPOSITORY, clean_environment


@pytest.fixture(scope="module")
def exported(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Shown]:
    """The tiny run's student as a GGUF, with everything checked."""
    folder = tmp_path_factory.mktemp("exported")
    run = finished_run / "runs" / "tiny"
    shown = invoke_in(folder, "export", run, "--to", "out", "--format", "gguf", "--accuracy", "3")
    return folder / "out", shown


def test_a_run_becomes_one_gguf_with_what_ollama_and_lm_studio_need(
    exported: tuple[Path, Shown],
) -> None:
    folder, shown = exported
    assert shown.code == 0, shown.err
    assert {path.name for path in folder.iterdir()} == {
        "tiny-Q8_0.gguf",
        "Modelfile",
        "README.md",
        "lm-studio.preset.json",
        "export.json",
        "lineage.json",
    }
    assert 'PARAMETER stop "<|end|>"' in (folder / "Modelfile").read_text()
    for word in ("weights", "tokens", "answers", "llama.cpp", "accuracy", "ollama create tiny"):
        assert word in shown.out


def test_the_record_has_each_check_on_the_runs_own_data(exported: tuple[Path, Shown]) -> None:
    record = json.loads((exported[0] / "export.json").read_text())
    checks = record["checks"]
    assert record["run"] == "tiny"
    lineage = json.loads((exported[0] / "lineage.json").read_text())
    assert [step["stage"] for step in lineage["steps"]][-2:] == ["train", "export"]
    assert "tiny-Q8_0.gguf" in lineage["files"]
    assert checks["drift"]["traces"] == "run"
    assert checks["drift"]["tokens"] > 100
    assert 0 <= checks["drift"]["kl_nats"] < 0.01
    assert checks["runtime"]["by"] == "llama.cpp"
    assert checks["tokens"]["texts"] >= 500
    assert checks["tokens"]["prompt_is_equal"] is True
    assert checks["accuracy"]["prompts"] == 3


def test_dry_run_says_the_size_that_the_file_then_has(invoke: Invoke, tmp_path: Path) -> None:
    wanted = ("export", EMBEDDED, "--to", "out", "--format", "gguf", "--quant", "f16")
    planned = json.loads(invoke(*wanted, "--dry-run", "--json").out)
    assert list(tmp_path.iterdir()) == []
    done = json.loads(invoke(*wanted, "--json", "--check", "weights").out)
    (size,) = [file["size_bytes"] for file in done["files"] if file["name"].endswith(".gguf")]
    assert planned["weight_bytes"] == pytest.approx(size, rel=0.02)
    shown = invoke("export", EMBEDDED, "--to", "other", "--dry-run")
    assert "would write  other: safetensors (bf16)" in shown.out


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (["no-such", "--to", "out"], 6, "no such folder"),
        ([".", "--to", "out"], 6, "not a whole model folder, missing: config.json"),
        ([EMBEDDED, "--to", "."], 5, "is there already"),
        ([EMBEDDED, "--to", "out", "--quant", "q8_0"], 6, "allowed: bf16, f16, f32"),
        ([EMBEDDED, "--to", "out", "--base", EMBEDDED], 6, "--base is for adapters"),
        ([EMBEDDED, "--to", "out", "--accuracy", "5"], 3, "this student's run is not known"),
        (
            [EMBEDDED, "--to", "out", "--format", "gguf", "--compat", "transformers4"],
            6,
            "--compat transformers4 is for folders that transformers loads",
        ),
        ([EMBEDDED, "--to", "out", "--format", "onnx"], 2, "'onnx' is not one of"),
    ],
)
def test_mistake_is_one_message_and_leaves_nothing(
    invoke: Invoke, tmp_path: Path, arguments: list[str], code: int, problem: str
) -> None:
    (tmp_path / "here").write_text("")
    shown = invoke("export", *arguments)
    assert problem in shown.err
    assert "Traceback" not in shown.err
    assert shown.code == code
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_adapter_on_a_base_of_the_same_shape_but_other_weights_is_refused(
    invoke: Invoke, tmp_path: Path
) -> None:
    adapted = attach_adapter(load_folder(EMBEDDED).model, LoraSection(r=4, alpha=8))
    save_adapter(adapted, tmp_path / "adapter", EMBEDDED)
    shutil.copytree(EMBEDDED, tmp_path / "other")
    weights = load_file(EMBEDDED / "model.safetensors")
    weights["model.norm.weight"] += 1
    save_file(weights, tmp_path / "other/model.safetensors", metadata={"format": "pt"})
    shown = invoke("export", "adapter", "--base", "other", "--to", "out")
    assert shown.code == 6
    assert "this adapter was trained on another base: embedded" in shown.err
    assert not (tmp_path / "out").exists()
    right = invoke("export", "adapter", "--base", EMBEDDED, "--to", "out", "--check", "weights")
    assert right.code == 0, right.err


def test_killed_export_leaves_no_folder_of_that_name_and_the_next_one_succeeds(
    tmp_path: Path, invoke: Invoke
) -> None:
    command = [sys.executable, "-m", "distill", "export", str(EMBEDDED), "--to", "out"]
    environment = clean_environment() | {"PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / ".writing-out").exists():  # checks follow, which load torch
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    left = tmp_path / "out"
    assert not left.exists() or (left / "export.json").is_file()  # whole, where the kill was late
    if left.exists():
        return
    shown = invoke("export", EMBEDDED, "--to", "out", "--check", "weights")
    assert shown.code == 0, shown.err
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
