"""A curriculum in one recipe, from the traces of a run to what is printed."""

import json
import shutil
from pathlib import Path

from tests.cli.conftest import Invoke

STAGES = """
held_out_share = 0.2

[[train.stages]]
name = "short"
epochs = 1
learning_rate = 1e-4
max_tokens = 90

[[train.stages]]
name = "all"
"""


def with_stages(job: Path, folder: Path, finished: Path, stages: str = STAGES) -> Path:
    """The finished run without its student, and a recipe with stages."""
    run = folder / "runs" / "tiny"
    shutil.copytree(finished / "runs" / "tiny", run)
    text = (job / "tiny.toml").read_text()
    text = text.replace('"recorded.jsonl"', f'"{job}/recorded.jsonl"')
    text = text.replace('path = "base"', f'path = "{job}/base"')
    recipe = folder / "staged.toml"
    recipe.write_text(text.replace("seq_len = 256\n", f"seq_len = 256\n{stages}"))
    return recipe


def test_stages_are_trained_in_order_and_shown_with_what_is_held_out(
    invoke: Invoke, finished_run: Path, tiny_job: Path, tmp_path: Path
) -> None:
    recipe = with_stages(tiny_job, tmp_path, finished_run)
    shown = invoke("train", recipe, "--restart-from", "train")
    assert shown.code == 0, shown.err
    assert "train short" in shown.err
    assert "train all" in shown.err
    lines = shown.out.splitlines()
    place = lines.index("What it was trained on")
    assert lines[place + 2].split()[0] == "short"
    assert lines[place + 3].split()[0] == "all"
    assert "held-out examples" in shown.out
    assert "  after short " in shown.out
    run = tmp_path / "runs" / "tiny"
    history = [json.loads(line) for line in (run / "training.jsonl").read_text().splitlines()]
    assert [line["stage"] for line in history] == sorted(
        (line["stage"] for line in history), reverse=True
    )
    summary = json.loads((run / "manifest.json").read_text())["stages"]["train"]["summary"]
    assert len(history) == summary["steps"]
    assert not (run / "checkpoints").exists()


def test_stage_that_no_example_suits_says_what_there_is(
    invoke: Invoke, finished_run: Path, tiny_job: Path, tmp_path: Path
) -> None:
    stages = '\n[[train.stages]]\nname = "cold"\nsources = ["cold_start"]\n'
    recipe = with_stages(tiny_job, tmp_path, finished_run, stages)
    shown = invoke("train", recipe, "--restart-from", "train")
    assert shown.code == 3
    assert "no example for stage 'cold'; its conditions: sources = ('cold_start',)" in shown.err
    assert "sources: tiny; models: recorder" in shown.err


def test_a_stage_may_read_a_data_set_of_its_own(
    invoke: Invoke, finished_run: Path, tiny_job: Path, tmp_path: Path
) -> None:
    chat = [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]
    line = json.dumps({"messages": chat}) + "\n"
    (tmp_path / "cold.jsonl").write_text(line * 8, encoding="utf-8")
    stages = """
[[train.stages]]
name = "cold"
data = { kind = "file", path = "cold.jsonl" }

[[train.stages]]
name = "main"
"""
    recipe = with_stages(tiny_job, tmp_path, finished_run, stages)
    shown = invoke("train", recipe, "--restart-from", "train")
    assert shown.code == 0, shown.err
    stored = json.loads((tmp_path / "runs" / "tiny" / "recipe.json").read_text())
    assert stored["train"]["stages"][0]["data"]["path"] == "../../cold.jsonl"
    again = invoke("train", recipe)
    assert again.code == 0, again.err
    assert "done" in again.err + again.out
