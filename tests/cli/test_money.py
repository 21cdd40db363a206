"""``teachers``, ``plan`` and ``cost`` as their user meets them, on a stub that is really asked."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Invoke, invoke_in
from tests.conftest import RunDistill
from tests.servers.recipes import write_recipe, write_sums
from tests.servers.running import running_stub
from tests.servers.settings import Settings

TEACHER = ['model = "stub"', "price = {input_usd = 1.0, output_usd = 10.0}"]
EARLY = ["samples = 8", "until_correct = 1", "max_tokens = 4096"]


def test_the_catalogue_is_listed_with_prices_and_as_json(run_distill: RunDistill) -> None:
    shown = run_distill("teachers")
    assert shown.returncode == 0, shown.stderr
    assert "deepseek: deepseek-v4-pro" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 100
    listed = json.loads(run_distill("teachers", "--json").stdout)
    names = {one["name"] for one in listed}
    assert {"deepseek", "azure", "azure-models", "vllm", "sglang", "openrouter"} <= names
    priced = [
        price for one in listed for model in one["models"] for price in model["prices"]["entries"]
    ]
    assert all(price["since"] and price["source"] for price in priced)


def test_one_endpoint_is_shown_whole(run_distill: RunDistill) -> None:
    shown = run_distill("teachers", "deepseek").stdout
    for words in ("DEEPSEEK_API_KEY", "01-04, 06-10 UTC, Mon-Fri", "retired", "train other models"):
        assert words in shown
    wrong = run_distill("teachers", "deepsek")
    assert wrong.returncode == 2
    assert "did you mean 'deepseek'?" in wrong.stderr


def test_a_plan_names_what_it_rests_on_and_how_to_measure(invoke: Invoke, tmp_path: Path) -> None:
    write_sums(tmp_path / "prompts.jsonl", 100)
    teacher = ['endpoint = "deepseek"', 'model = "deepseek-flash"']
    recipe = write_recipe(tmp_path, teacher=teacher, generate=EARLY)
    shown = invoke("plan", recipe)
    assert shown.code == 0, shown.err
    assert "233 expected, 800 at most" in shown.out
    assert "off-peak" in shown.out
    assert "Beta(0.8, 0.5)" in shown.out
    assert "--pilot 20" in shown.err
    assert "eval, of the teacher" in shown.out
    assert max(map(len, shown.out.splitlines())) <= 120
    assert not (tmp_path / "runs").exists()


def test_a_plan_knows_the_limits_of_a_model(invoke: Invoke, tmp_path: Path) -> None:
    write_sums(tmp_path / "prompts.jsonl", 10_000)
    teacher = ['endpoint = "azure"', 'model = "DeepSeek-R1"', "tokens_per_minute = 1_000_000"]
    recipe = write_recipe(tmp_path, teacher=teacher, generate=["samples = 1"])
    shown = invoke("plan", recipe).out
    assert "limit    1,000,000 tokens a minute" in shown
    assert "limit    5,000 requests a minute" in shown
    hours = json.loads(invoke("plan", recipe, "--json").out)["hours"]
    assert hours == pytest.approx(10_000 * 300 / 300 / 3600, rel=0.01)  # 300 at once, 300 s each
    slower = invoke("plan", recipe, "--set", "teacher.tokens_per_minute=100000", "--json")
    assert json.loads(slower.out)["hours"] == pytest.approx(600 / 60, rel=0.01)


def test_a_plan_for_a_teacher_without_a_price_says_unknown(invoke: Invoke, tmp_path: Path) -> None:
    write_sums(tmp_path / "prompts.jsonl", 10)
    recipe = write_recipe(tmp_path, base_url="http://127.0.0.1:9/v1")
    assert "unknown (no price)" in invoke("plan", recipe).out
    assert json.loads(invoke("plan", recipe, "--json").out)["usd"] is None


def test_a_plan_for_the_embedded_teacher_costs_nothing(
    run_distill: RunDistill, repository: Path
) -> None:
    shown = run_distill("plan", repository / "recipes" / "quickstart.toml")
    assert "nothing is billed" in shown.stdout


def test_pilot_plan_run_and_cost_agree(run_distill: RunDistill, tmp_path: Path) -> None:
    write_sums(tmp_path / "prompts.jsonl", 120)
    with running_stub(Settings(latency_seconds=0.01, reasoning_chars=800)) as server:
        recipe = write_recipe(tmp_path, base_url=server.base_url, teacher=TEACHER, generate=EARLY)
        assert run_distill("generate", recipe, "--pilot", "20").returncode == 0
        planned = json.loads(run_distill("plan", recipe, "--json").stdout)
        assert planned["stored"] > 0
        measured = {one["name"] for one in planned["assumptions"] if one["is_measured"]}
        assert measured == {"samples", "answer", "prompt", "time"}
        assert planned["low_usd"] < planned["usd"] < planned["high_usd"]
        done = run_distill("generate", recipe, "--json")
        assert done.returncode == 0, done.stderr
        paid = server.ledger()["counts"]["paid"]
    actual = json.loads(done.stdout)["stages"]["generate"]
    assert actual["samples"] == paid
    assert planned["low_usd"] < actual["usd"] < planned["high_usd"]
    spent = json.loads(run_distill("cost", "runs/asked", "--json").stdout)
    assert spent["total"]["usd"] == pytest.approx(actual["usd"])
    assert spent["total"]["samples"] == paid
    assert spent["stages"]["generate"]["stub"]["accepted"] == actual["accepted"]
    assert spent["maybe_billed_without_answer"] == 0
    assert spent["planned"]["usd"] == planned["usd"]
    assert spent["fixed_n"]["samples"] == 960
    assert spent["fixed_n"]["usd"] == pytest.approx(actual["usd"] / paid * 960)
    shown = run_distill("cost", "runs/asked").stdout
    assert "generate: stub" in shown
    assert "it became" in shown
    assert max(map(len, shown.splitlines())) <= 120
    run_distill("plan", recipe)  # of what is over: it does not take the place of the first
    assert json.loads(run_distill("cost", "runs/asked", "--json").stdout) == spent


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A folder with prompts and a run, and the answers that were paid for and cut off."""
    folder = tmp_path_factory.mktemp("asked")
    write_sums(folder / "prompts.jsonl", 4)
    with running_stub(Settings(reasoning_chars=800, faults={"cut": 0.3})) as server:
        recipe = write_recipe(folder, base_url=server.base_url, teacher=TEACHER)
        assert invoke_in(folder, "generate", recipe).code == 0
        return folder, server.ledger()["counts"]["undelivered"]


@pytest.fixture
def run(asked: tuple[Path, int], tmp_path: Path) -> Path:
    """A copy of that run; its prompts are elsewhere, and the server is gone."""
    return shutil.copytree(asked[0] / "runs" / "asked", tmp_path / "moved")


def cost(run: Path) -> dict[str, Any]:
    shown = invoke_in(run.parent, "cost", run, "--json")
    assert shown.code == 0, shown.err
    found: dict[str, Any] = json.loads(shown.out)
    return found


def test_what_was_cut_off_may_have_been_billed(asked: tuple[Path, int], run: Path) -> None:
    assert cost(run)["maybe_billed_without_answer"] == asked[1] > 0


def test_a_run_that_was_moved_and_whose_model_is_gone_still_says_what_it_cost(run: Path) -> None:
    before = cost(run)
    assert before["expected_usd"] > 0
    stored = json.loads((run / "recipe.json").read_text())
    stored["teacher"] |= {"endpoint": "deepseek", "model": "deepseek-reasoner", "price": None}
    (run / "recipe.json").write_text(json.dumps(stored))
    after = cost(run)
    assert after["expected_usd"] is None
    assert after["total"] == before["total"]


def test_a_judge_that_is_billed_is_counted(run: Path) -> None:
    (run / "judge").mkdir()
    shutil.copyfile(run / "traces.jsonl", run / "judge" / "findings.jsonl")
    spent = cost(run)
    assert spent["stages"]["judge"] == spent["stages"]["generate"]
    assert spent["total"]["samples"] == 8


def test_a_broken_plan_is_named(run: Path) -> None:
    (run / "plan.json").write_text("[]")
    wrong = invoke_in(run.parent, "cost", run)
    assert wrong.code == 4
    assert "plan.json: this is no plan" in wrong.err


def test_the_cost_of_a_run_that_nobody_billed_is_said_to_be_nothing(
    run_distill: RunDistill, tmp_path: Path
) -> None:
    wrong = run_distill("cost", "nowhere")
    assert wrong.returncode == 4
    assert "there is no such folder" in wrong.stderr
