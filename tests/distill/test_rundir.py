"""How a run folder is made, gone on with, refused and restarted."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distill.digest import digest_file, sha256_file
from distill.errors import DataError, RunDirError, StorageError
from distill.journal import Journal
from distill.layout import STAGES, Stage
from distill.manifest import RunManifest
from distill.recipe import Recipe, read_folder
from distill.rundir import RunDir
from distill.stored_run import read_run

Change = Callable[..., Recipe]


def make_recipe(**tables: object) -> Recipe:
    table: dict[str, Any] = {
        "name": "tiny",
        "teacher": {"kind": "embedded"},
        "prompts": {"kind": "embedded", "split": "train", "count": 3},
        "student": {"kind": "embedded"},
        "eval": {"prompts": {"kind": "embedded", "split": "eval", "count": 3}},
    }
    return Recipe.model_validate(table | tables)


RECIPE = make_recipe()
OTHER_TRAINING = make_recipe(train={"epochs": 9}, filter={"max_dropped_share": 0.5})
EVAL = {"prompts": {"kind": "embedded", "split": "eval", "count": 3}, "samples": 9}
OTHER_EVALUATION = make_recipe(eval=EVAL)


def do_stage(run: RunDir, name: Stage, text: str = "") -> None:
    """What a stage does, in small: read the last one's file, write its own, finish."""
    paths = run.paths
    inputs = {"filter": [paths.traces], "train": [paths.train], "eval": [paths.model("student")]}
    stage = run.stage(name, inputs=inputs.get(name, []), settings={"rule": "answer/1"})
    if stage.is_finished:
        return
    outputs = {
        "generate": paths.traces,
        "filter": paths.train,
        "train": paths.model("student") / "weights.bin",
        "eval": paths.report,
    }
    outputs[name].parent.mkdir(parents=True, exist_ok=True)
    outputs[name].write_text(text or name)
    made = paths.model("student") if name == "train" else outputs[name]
    stage.finish([made], {"traces": 3}, seconds=1.23456)


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A run folder with all stages finished."""
    with RunDir.open(tmp_path / "run", RECIPE) as run:
        for name in STAGES:
            do_stage(run, name)
    return tmp_path / "run"


def names_in(path: Path) -> list[str]:
    return sorted(
        found.relative_to(path).as_posix() for found in path.rglob("*") if found.is_file()
    )


def finished_stages(path: Path, recipe: Recipe = RECIPE) -> list[Stage]:
    with RunDir.open(path, recipe) as run:
        return [name for name in STAGES if run.manifest.is_finished(name)]


def test_a_new_run_folder_holds_recipe_and_manifest(tmp_path: Path) -> None:
    with RunDir.open(tmp_path / "runs" / "tiny", RECIPE) as run:
        assert run.recipe == RECIPE
        stored = read_run(tmp_path / "runs" / "tiny")
    assert (stored.recipe, stored.manifest.seed, stored.manifest.stages) == (RECIPE, 0, {})
    assert names_in(tmp_path / "runs" / "tiny") == ["manifest.json", "recipe.json"]


def test_a_finished_stage_is_found_finished_with_its_record(finished: Path) -> None:
    with RunDir.open(finished, RECIPE) as run:
        stage = run.stage("train", inputs=[run.paths.train], settings={"rule": "answer/1"})
        assert stage.is_finished
        assert list(stage.record.outputs) == ["student/weights.bin"]
        assert list(stage.record.inputs) == ["train.parquet"]
        assert stage.record.summary == {"traces": 3}
        assert stage.record.seconds == 1.235


def test_the_manifest_names_what_made_the_run(finished: Path) -> None:
    manifest = json.loads((finished / "manifest.json").read_text())
    assert manifest["format"] == 1
    assert manifest["versions"]["distill"] == "0.1.0"
    assert manifest["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert list(manifest["stages"]) == list(STAGES)
    assert (
        manifest["stages"]["filter"]["inputs"]["traces.jsonl"]
        == (manifest["stages"]["generate"]["outputs"]["traces.jsonl"])
    )


def test_two_runs_of_one_recipe_differ_in_times_only(tmp_path: Path) -> None:
    def without_times(value: Any) -> Any:
        if isinstance(value, dict):
            times = {"created", "updated", "begun", "finished"}
            return {key: without_times(one) for key, one in value.items() if key not in times}
        return value

    manifests = []
    for name in ("one", "two"):
        with RunDir.open(tmp_path / name, RECIPE) as run:
            for stage in STAGES:
                do_stage(run, stage)
        manifests.append(without_times(json.loads((tmp_path / name / "manifest.json").read_text())))
    assert manifests[0] == manifests[1]
    assert (tmp_path / "one/recipe.json").read_bytes() == (
        tmp_path / "two/recipe.json"
    ).read_bytes()


def test_a_stage_that_was_only_begun_goes_on(tmp_path: Path) -> None:
    for _ in range(2):
        with RunDir.open(tmp_path / "run", RECIPE) as run:
            stage = run.stage("generate", settings={"teacher": "a"})
            assert not stage.is_finished


def test_a_stage_begun_with_other_settings_is_refused(tmp_path: Path) -> None:
    with RunDir.open(tmp_path / "run", RECIPE) as run:
        run.stage("generate", settings={"teacher": "a", "kinds": ("x",)})
        run.stage("generate", settings={"teacher": "a", "kinds": ("x",)})
        with pytest.raises(RunDirError, match='teacher: "a" -> "b"') as found:
            run.stage("generate", settings={"teacher": "b", "kinds": ("x",)})
    assert "--restart-from generate" in found.value.hint


def test_a_stage_begun_with_another_prompt_file_is_refused(tmp_path: Path) -> None:
    prompts = tmp_path / "mine.jsonl"
    prompts.write_text("1")
    with RunDir.open(tmp_path / "run", RECIPE) as run:
        run.stage("generate", inputs=[prompts])
        prompts.write_text("2")
        with pytest.raises(RunDirError, match=r'\.\./mine\.jsonl: "blake3 '):
            run.stage("generate", inputs=[prompts])


def test_a_run_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    """Its manifest has SHA-256 of files, without a word that it is that."""
    (prompts := tmp_path / "mine.jsonl").write_text("1")
    with RunDir.open(tmp_path / "run", RECIPE) as run:
        stage = run.stage("generate", inputs=[prompts])
        run.paths.traces.write_text("all of it")
        stage.finish([run.paths.traces], {}, 1.0)
        run.stage("filter", inputs=[run.paths.traces])
        text = run.paths.manifest.read_text()
        for path in (prompts, run.paths.traces):
            assert digest_file(path) in text
            text = text.replace(digest_file(path), sha256_file(path))
        run.paths.manifest.write_text(text)
    with RunDir.open(tmp_path / "run", RECIPE) as run:
        assert run.stage("generate", inputs=[prompts]).is_finished
        run.stage("filter", inputs=[run.paths.traces])
        prompts.write_text("2")
        with pytest.raises(RunDirError, match=r'mine\.jsonl: "sha256 '):
            run.stage("generate", inputs=[prompts])
        run.paths.traces.write_text("none of it")
        with pytest.raises(RunDirError, match="changed since stage 'generate' made it"):
            run.stage("filter", inputs=[run.paths.traces])


def test_a_stage_waits_for_the_one_that_makes_its_input(tmp_path: Path) -> None:
    with RunDir.open(tmp_path / "run", RECIPE) as run:
        run.paths.traces.write_text("half of it")
        with pytest.raises(
            RunDirError, match="'generate' makes, and that is not finished"
        ) as found:
            run.stage("filter", inputs=[run.paths.traces])
        assert "distill generate RECIPE" in found.value.hint
        with pytest.raises(DataError, match="no such file"):
            run.stage("generate", inputs=[tmp_path / "none.jsonl"])


def test_a_missing_output_is_made_again(finished: Path) -> None:
    (finished / "student" / "weights.bin").unlink()
    with RunDir.open(finished, RECIPE) as run:
        do_stage(run, "filter")
        assert run.manifest.is_finished("train")
        do_stage(run, "train")
    assert (finished / "student" / "weights.bin").read_text() == "train"
    assert finished_stages(finished) == list(STAGES)


def test_a_changed_output_is_refused_by_its_stage_and_by_the_next(finished: Path) -> None:
    (finished / "train.parquet").write_text("edited")
    with RunDir.open(finished, RECIPE) as run:
        for name in ("filter", "train"):
            with pytest.raises(RunDirError, match=r"since stage 'filter' made it: train") as found:
                do_stage(run, name)
            assert "--restart-from filter" in found.value.hint


def test_only_what_a_stage_makes_can_be_its_output(tmp_path: Path) -> None:
    with RunDir.open(tmp_path / "run", RECIPE) as run:
        stage = run.stage("generate")
        run.paths.train.write_text("")
        for output in (run.paths.train, run.paths.traces, tmp_path / "x"):
            with pytest.raises(
                ValueError, match=r"not what stage generate makes|not in the subpath"
            ):
                stage.finish([output], {}, seconds=0)
        run.paths.traces.write_text("")
        with pytest.raises(ValueError, match="JSON"):
            stage.finish([run.paths.traces], {"share": float("nan")}, seconds=0)
        assert not stage.is_finished


def test_another_recipe_is_refused_with_what_differs_and_what_to_do(finished: Path) -> None:
    with pytest.raises(RunDirError) as found:
        RunDir.open(finished, OTHER_TRAINING)
    assert str(found.value) == (
        f"{finished} belongs to another recipe:\n"
        "  train.epochs: 3 -> 9\n"
        "  This matters from stage 'train' on. To keep what comes before and put the rest aside:"
        " --restart-from train; or take another folder: --run-dir DIR"
    )
    assert read_run(finished).recipe == RECIPE


def test_the_first_stage_that_a_change_matters_to_counts(finished: Path) -> None:
    other = make_recipe(train={"epochs": 9}, eval=EVAL, student={"kind": "local", "path": "x"})
    with pytest.raises(RunDirError) as found:
        RunDir.open(finished, other)
    assert "student.path: (none) -> " in found.value.problem
    assert "eval.samples: 4 -> 9" in found.value.problem
    assert "from stage 'train' on" in found.value.hint


def test_restarting_too_late_is_refused(finished: Path) -> None:
    with pytest.raises(RunDirError, match=r"eval is too late.*\n.*epochs: 3 -> 9") as found:
        RunDir.open(finished, OTHER_TRAINING, restart_from="eval")
    assert "--restart-from train" in found.value.hint


def test_restarting_keeps_what_comes_before_and_puts_the_rest_aside(finished: Path) -> None:
    with RunDir.open(finished, OTHER_TRAINING, restart_from="train") as run:
        assert list(run.manifest.stages) == ["generate", "filter"]
        assert run.recipe == OTHER_TRAINING
        do_stage(run, "train", text="better")
    assert read_run(finished).recipe == OTHER_TRAINING
    aside = finished / "superseded" / "1"
    expected = ["eval/report.json", "manifest.json", "recipe.json", "student/weights.bin"]
    assert names_in(aside) == expected
    assert (aside / "student" / "weights.bin").read_text() == "train"
    assert read_run(aside).recipe == RECIPE
    assert read_run(aside).manifest.is_finished("eval")
    with RunDir.open(finished, OTHER_TRAINING, restart_from="generate"):
        pass
    assert (finished / "superseded" / "2" / "student" / "weights.bin").read_text() == "better"
    assert names_in(finished / "superseded" / "1") == expected


def test_restarting_puts_an_unfinished_journal_aside(tmp_path: Path) -> None:
    with RunDir.open(tmp_path, RECIPE) as run:
        run.stage("generate")
        with Journal.open(run.paths.traces) as journal:
            journal.append({"n": 1})
    with RunDir.open(tmp_path, RECIPE, restart_from="generate") as run:
        assert not run.paths.traces.exists()
        assert run.manifest.stages == {}
    assert (tmp_path / "superseded" / "1" / "traces.jsonl").exists()


def test_restarting_a_run_with_nothing_in_it_leaves_nothing_aside(tmp_path: Path) -> None:
    for _ in range(2):
        with RunDir.open(tmp_path, RECIPE, restart_from="generate"):
            pass
    assert names_in(tmp_path) == ["manifest.json", "recipe.json"]


def test_a_change_for_stages_that_were_not_begun_is_taken(tmp_path: Path) -> None:
    with RunDir.open(tmp_path, RECIPE) as run:
        do_stage(run, "generate")
    with RunDir.open(tmp_path, OTHER_TRAINING) as run:
        assert run.manifest.is_finished("generate")
    assert read_run(tmp_path).recipe == OTHER_TRAINING


def test_a_change_that_only_stops_or_names_a_run_is_taken(finished: Path) -> None:
    other = make_recipe(
        name="renamed",
        generate={"max_failed_share": 0.5},
        train={"checkpoint_every_steps": 7},
    )
    assert finished_stages(finished, other) == list(STAGES)
    assert read_run(finished).recipe == other


def test_values_are_shown_as_a_recipe_writes_them(finished: Path) -> None:
    other = make_recipe(eval=EVAL | {"controls": True, "models": ["base"]})
    with pytest.raises(RunDirError) as found:
        RunDir.open(finished, other)
    assert 'eval.models: ["base", "student", "teacher"] -> ["base"]' in found.value.problem
    assert "eval.controls: false -> true" in found.value.problem


def test_another_evaluation_restarts_from_eval(finished: Path) -> None:
    with RunDir.open(finished, OTHER_EVALUATION, restart_from="eval") as run:
        assert list(run.manifest.stages) == ["generate", "filter", "train"]


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(RunDirError, match=r"not empty and no run folder; it holds thesis\.tex"):
        RunDir.open(tmp_path, RECIPE)
    with pytest.raises(RunDirError, match="this is a file"):
        RunDir.open(tmp_path / "thesis.tex", RECIPE)
    assert names_in(tmp_path) == ["thesis.tex"]


def test_a_folder_of_another_format_is_refused(finished: Path) -> None:
    path = finished / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "format": 2, "new": 1}))
    with pytest.raises(RunDirError, match=r"format 2 of distill 0\.1\.0; .* reads format 1"):
        RunDir.open(finished, RECIPE)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("manifest.json", "{", "manifest.json: not valid JSON"),
        ("manifest.json", "[]", "manifest.json: holds no JSON object"),
        ("manifest.json", '{"format": 1}', "manifest.json: seed: Field required"),
        ("recipe.json", '{"name": "x"}', "recipe.json:\n  teacher.kind: missing"),
    ],
)
def test_broken_records_are_refused(finished: Path, name: str, content: str, problem: str) -> None:
    (finished / name).write_text(content)
    with pytest.raises(RunDirError) as found:
        RunDir.open(finished, RECIPE)
    assert problem in str(found.value)
    assert (finished / name).read_text() == content


def test_what_is_no_run_folder_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(RunDirError, match="this is no run folder"):
        read_run(tmp_path)
    with pytest.raises(RunDirError, match="there is no such folder"):
        read_run(tmp_path / "none")


def test_a_second_process_is_refused_and_told_who_the_first_is(tmp_path: Path) -> None:
    with RunDir.open(tmp_path, RECIPE), pytest.raises(RunDirError, match=f"process {os.getpid()}"):
        RunDir.open(tmp_path, RECIPE)
    with RunDir.open(tmp_path, RECIPE):
        assert read_run(tmp_path).recipe == RECIPE


def test_a_killed_process_leaves_no_lock_and_no_half_written_record(tmp_path: Path) -> None:
    code = """
        import sys
        from pathlib import Path
        from distill.recipe import Recipe
        from distill.rundir import RunDir
        run = RunDir.open(Path(sys.argv[1]), Recipe.model_validate_json(sys.argv[2]))
        print("open", flush=True)
        while True:
            run._record("generate", run.stage("generate").record)
    """
    command = [sys.executable, "-c", f"if True:{code}", str(tmp_path), RECIPE.model_dump_json()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "open\n"
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert (tmp_path / "run.lock").exists()
    assert finished_stages(tmp_path) == []


def test_paths_in_the_stored_recipe_move_with_the_folders(tmp_path: Path) -> None:
    (tmp_path / "a" / "data").mkdir(parents=True)
    table = {"kind": "file", "path": "data/x.jsonl"}
    recipe = Recipe.model_validate(
        RECIPE.model_dump() | {"prompts": table},
        context=read_folder(tmp_path / "a", must_exist=False),
    )
    with RunDir.open(tmp_path / "a" / "runs" / "tiny", recipe):
        pass
    stored = json.loads((tmp_path / "a" / "runs" / "tiny" / "recipe.json").read_text())
    assert stored["prompts"]["path"] == "../../data/x.jsonl"
    (tmp_path / "a").rename(tmp_path / "b")
    moved = read_run(tmp_path / "b" / "runs" / "tiny").recipe.prompts
    assert moved.model_dump()["path"] == tmp_path / "b" / "data" / "x.jsonl"


def test_a_disk_that_is_full_leaves_the_last_manifest(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (finished / "manifest.json").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with RunDir.open(finished, RECIPE) as run:
        (finished / "eval" / "report.json").unlink()
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match=r"manifest\.json: No space left") as found:
            do_stage(run, "eval")
        monkeypatch.undo()
    assert "Make room" in found.value.hint
    assert (finished / "manifest.json").read_bytes() == before
    assert names_in(finished).count(".manifest.json.tmp") == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_a_storage_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="Permission denied"):
        RunDir.open(tmp_path / "run", RECIPE)


def test_records_are_put_in_the_order_of_the_stages(finished: Path) -> None:
    manifest = read_run(finished).manifest
    shuffled = dict(reversed(manifest.stages.items()))
    assert list(manifest.with_stages(shuffled).stages) == list(STAGES)
    assert RunManifest.model_validate(manifest.model_dump()) == manifest
