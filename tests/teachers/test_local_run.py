"""``teacher.kind = "local"`` on the command line: the run of an endpoint's teacher, by the hour."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Shown, invoke_in
from tests.teachers.local_models import EMBEDDED, TOKENIZER

RECIPE = """
name = "local"
[teacher]
kind = "local"
model = "moe"
usd_per_gpu_hour = 3.6
[prompts]
kind = "embedded"
split = "train"
count = 12
[generate]
samples = 3
until_correct = 1
temperature = 1.4
max_tokens = 120
batch_size = 4
logprobs = true
[student]
kind = "embedded"
[eval.prompts]
kind = "embedded"
split = "eval"
count = 4
"""
BUDGET_REACHED = 10


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe, its model (the embedded teacher's files) and a finished run."""
    folder = tmp_path_factory.mktemp("local-run")
    (folder / "moe").mkdir()
    for name in (*TOKENIZER, "config.json", "generation_config.json", "model.safetensors"):
        shutil.copy(EMBEDDED / name, folder / "moe" / name)
    (folder / "my.toml").write_text(RECIPE)
    shown = run(folder, "generate")
    assert shown.code == 0, shown.err
    return folder


def run(folder: Path, command: str, *options: str) -> Shown:
    return invoke_in(folder, command, "my.toml", *options)


def traces(folder: Path) -> dict[str, Any]:
    lines = (folder / "traces.jsonl").read_text().splitlines()[1:]
    found = [json.loads(line)["trace"] for line in lines]
    return {f"{one['prompt_id']}#{one['sample_index']}": one for one in found}


def test_reasoning_verdicts_and_log_probabilities_are_stored(home: Path) -> None:
    found = traces(home / "runs/local")
    assert len({one["prompt_id"] for one in found.values()}) == 12
    for one in found.values():
        completion = one["completion"]
        assert one["model"] == "moe"
        assert len(completion["logprobs"]) == completion["usage"]["output_tokens"]
    finished = [one for one in found.values() if one["completion"]["finish"] == "stop"]
    assert all(one["completion"]["reasoning"] for one in finished)
    lines = (home / "runs/local/traces.jsonl").read_text().splitlines()[1:]
    verdicts = [json.loads(line)["verdict"] for line in lines]
    assert sum(one["is_accepted"] for one in verdicts) >= 10


def test_a_run_that_its_budget_stopped_goes_on_to_the_same_traces(home: Path) -> None:
    stopped = run(home, "generate", "--run-dir", "again", "--budget-tokens", "500")
    assert stopped.code == BUDGET_REACHED
    assert 0 < len(traces(home / "again")) < len(traces(home / "runs/local"))
    assert run(home, "generate", "--run-dir", "again").code == 0

    def written(folder: Path) -> dict[str, Any]:
        return {key: one["completion"] for key, one in traces(folder).items()}

    assert written(home / "again") == written(home / "runs/local")


def test_a_budget_in_usd_is_kept_by_the_hour(home: Path) -> None:
    stopped = run(home, "generate", "--run-dir", "short", "--budget-usd", "0.0000001")
    assert stopped.code == BUDGET_REACHED
    assert "USD are spent" in stopped.err


def test_cost_and_plan_say_gpu_hours(home: Path) -> None:
    cost = json.loads(invoke_in(home, "cost", "runs/local", "--json").out)
    assert cost["gpu_hours"] == pytest.approx(cost["total"]["usd"] / 3.6)
    assert "GPU hours at 3.6 USD each" in invoke_in(home, "cost", "runs/local").out
    planned = run(home, "plan").out
    assert "of weights in float32" in planned
    assert "GPU hours" in planned
    fresh = run(home, "plan", "--run-dir", "none").out
    assert "until a pilot has measured it" in fresh
