import json
import shutil
from pathlib import Path

from tests.cli.conftest import Invoke


def test_a_finished_run_shows_all_stages_and_figures(invoke: Invoke, finished_run: Path) -> None:
    shown = invoke("status", finished_run / "runs/tiny")
    assert shown.code == 0
    assert [line.split()[0] for line in shown.out.splitlines()[1:5]] == ["✓"] * 4
    assert "The student has 0 % (" in shown.out
    assert f"distill chat {finished_run}/runs/tiny/student" in shown.out


def test_a_run_that_stopped_while_generating_shows_how_far_it_came(
    invoke: Invoke, tiny_job: Path, tmp_path: Path
) -> None:
    assert invoke("generate", tiny_job / "tiny.toml").code == 0
    manifest = tmp_path / "runs/tiny/manifest.json"
    record = json.loads(manifest.read_text())
    record["stages"]["generate"] |= {"finished": None, "outputs": {}, "summary": {}}
    manifest.write_text(json.dumps(record))
    journal = tmp_path / "runs/tiny/traces.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:11]))

    shown = invoke("status", "runs/tiny")
    assert "… generate  10 of 24 traces" in shown.out
    assert "all that is left  distill run runs/tiny" in shown.out
    stages = json.loads(invoke("status", "runs/tiny", "--json").out)["stages"]
    assert stages["generate"]["progress"] == ["10 of 24 traces"]
    assert stages["eval"]["state"] == "to do"

    assert invoke("generate", "runs/tiny").code == 0
    assert len(journal.read_bytes().splitlines()) == 25


def test_a_file_that_was_changed_afterwards_is_noticed(
    invoke: Invoke, finished_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished_run / "runs", tmp_path / "runs")
    with (tmp_path / "runs/tiny/train.parquet").open("a") as file:
        file.write("\n")
    shown = invoke("run", "runs/tiny")
    assert shown.code == 4
    assert "changed since stage 'filter' made it: train.parquet" in shown.err


def test_a_folder_that_is_no_run_is_an_error(invoke: Invoke, tmp_path: Path) -> None:
    for place in ("nowhere", "."):
        shown = invoke("status", place)
        assert shown.code == 4
        assert "A run folder holds a manifest.json." in shown.err
