"""Jobs in miniature: what is printed, what is kept, what goes on."""

import json
import re
import shutil
from pathlib import Path

from tests.cli.conftest import EVAL_PROMPTS, SAMPLES, TRAIN_PROMPTS, Invoke

TRACES = TRAIN_PROMPTS * SAMPLES
STAGES = ["generate", "filter", "train", "eval"]


def copy_of(run: Path, to: Path) -> Path:
    shutil.copytree(run / "runs", to / "runs")
    return to / "runs" / "tiny"


def test_a_run_ends_with_funnel_table_recovery_and_next_steps(finished_run: Path) -> None:
    shown = (finished_run / "shown.txt").read_text()
    assert re.search(rf"sampled +{TRACES} +{TRAIN_PROMPTS} +\d", shown)
    assert re.search(r"correct +-6 ", shown)
    assert re.search(r"^  student +0 % \(0-\d+\)", shown, re.MULTILINE)
    assert re.search(r"^  teacher +50 % \(", shown, re.MULTILINE)
    assert "The student has 0 % (" in shown
    assert "distill chat runs/tiny/student" in shown


def test_the_student_is_a_model_folder_without_pickles(finished_run: Path) -> None:
    student = finished_run / "runs/tiny/student"
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {
        file.name for file in student.iterdir()
    }
    run = finished_run / "runs/tiny"
    assert not [file for file in run.rglob("*") if file.suffix in (".bin", ".pt", ".pkl")]
    assert not (run / "checkpoints").exists()


def test_a_finished_run_is_passed_over_with_its_figures(
    invoke: Invoke, finished_run: Path, tiny_job: Path, tmp_path: Path
) -> None:
    run = copy_of(finished_run, tmp_path)
    before = (run / "manifest.json").read_bytes()
    shown = invoke("run", tiny_job / "tiny.toml")
    assert shown.code == 0
    assert shown.err.count("already done: ") == len(STAGES)
    assert shown.out == (finished_run / "shown.txt").read_text()
    assert (run / "manifest.json").read_bytes() == before


def test_stages_one_by_one_give_the_same_student(
    invoke: Invoke, finished_run: Path, tiny_job: Path, tmp_path: Path
) -> None:
    for stage in ("generate", "filter", "train"):
        assert invoke(stage, tiny_job / "tiny.toml").code == 0
    name = "runs/tiny/student/model.safetensors"
    assert (tmp_path / name).read_bytes() == (finished_run / name).read_bytes()


def test_a_stage_says_which_one_comes_first(invoke: Invoke, tiny_job: Path) -> None:
    recipe = tiny_job / "tiny.toml"
    shown = invoke("train", recipe, "--set", "train.epochs=3", "--run-dir", "here")
    assert shown.code == 4
    assert shown.err == (
        "error: stage 'train' needs what stage 'generate' makes, and that is not finished\n"
        f"  first: distill generate {recipe} --set train.epochs=3 --run-dir here\n"
        f"  or all of them in turn: distill run {recipe} --set train.epochs=3 --run-dir here\n"
    )


def test_a_run_goes_on_by_its_folder(invoke: Invoke, tiny_job: Path) -> None:
    assert invoke("generate", tiny_job / "tiny.toml").code == 0
    shown = invoke("filter", "runs/tiny")
    assert shown.code == 0, shown.err
    assert "distill train runs/tiny" in shown.out


def test_a_folder_takes_no_settings(invoke: Invoke, tiny_job: Path) -> None:
    assert invoke("generate", tiny_job / "tiny.toml").code == 0
    shown = invoke("run", "runs/tiny", "--set", "train.epochs=3")
    assert shown.code == 2
    assert "give the recipe file instead" in shown.err


def test_json_is_one_document_on_stdout(
    invoke: Invoke, finished_run: Path, tiny_job: Path, tmp_path: Path
) -> None:
    copy_of(finished_run, tmp_path)
    summary = json.loads(invoke("run", tiny_job / "tiny.toml", "--json").out)
    assert list(summary["stages"]) == STAGES
    assert summary["stages"]["filter"]["kept"] == TRACES // 2
    assert summary["stages"]["eval"]["report"]["prompts"] == EVAL_PROMPTS
    assert all(stage["was_done"] for stage in summary["stages"].values())


def test_controls_are_trained_on_matched_prompts_and_evaluated(
    invoke: Invoke, finished_run: Path, tiny_job: Path, tmp_path: Path
) -> None:
    run = copy_of(finished_run, tmp_path)
    refused = invoke("run", tiny_job / "tiny.toml", "--controls")
    assert refused.code == 4
    assert "--restart-from eval" in refused.err
    shown = invoke("run", tiny_job / "tiny.toml", "--controls", "--restart-from", "eval")
    assert shown.code == 0, shown.err
    assert "Against answers only: " in shown.out
    assert "Against unfiltered: " in shown.out
    for variant in ("answers_only", "unfiltered"):
        assert (run / "controls" / variant / "model.safetensors").is_file()
        assert (run / "examples" / f"{variant}.jsonl").is_file()
    assert not (run / "checkpoints").exists()


def test_a_dry_run_writes_nothing(invoke: Invoke, tiny_job: Path, tmp_path: Path) -> None:
    shown = invoke("run", tiny_job / "tiny.toml", "--dry-run")
    assert shown.code == 0
    assert [line.split()[0] for line in shown.out.splitlines()[1:]] == STAGES
    assert list(tmp_path.iterdir()) == []
    plan = json.loads(invoke("run", tiny_job / "tiny.toml", "--dry-run", "--json").out)
    assert set(plan["stages"].values()) == {"to do"}
