"""``teachers``, ``plan`` and ``cost`` as their user meets them, on a stub that is really asked."""

import json
from pathlib import Path

import pytest

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


def test_a_plan_names_what_it_rests_on_and_how_to_measure(
    run_distill: RunDistill, tmp_path: Path
) -> None:
    write_sums(tmp_path / "prompts.jsonl", 100)
    teacher = ['endpoint = "deepseek"', 'model = "deepseek-flash"']
    recipe = write_recipe(tmp_path, teacher=teacher, generate=EARLY)
    shown = run_distill("plan", recipe)
    assert shown.returncode == 0, shown.stderr
    assert "233 expected, 800 at most" in shown.stdout
    assert "off-peak" in shown.stdout
    assert "Beta(0.8, 0.5)" in shown.stdout
    assert "--pilot 20" in shown.stderr
    assert not (tmp_path / "runs").exists()


def test_a_plan_for_a_teacher_without_a_price_says_unknown(
    run_distill: RunDistill, tmp_path: Path
) -> None:
    write_sums(tmp_path / "prompts.jsonl", 10)
    recipe = write_recipe(tmp_path, base_url="http://127.0.0.1:9/v1")
    assert "unknown (no price)" in run_distill("plan", recipe).stdout
    assert json.loads(run_distill("plan", recipe, "--json").stdout)["usd"] is None


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
        assert measured == {"right at first", "answer", "prompt", "time"}
        done = run_distill("generate", recipe, "--json")
        assert done.returncode == 0, done.stderr
        paid = server.ledger()["counts"]["paid"]
    actual = json.loads(done.stdout)["stages"]["generate"]
    assert actual["samples"] == paid
    assert planned["usd"] == pytest.approx(actual["usd"], rel=0.35)
    spent = json.loads(run_distill("cost", "runs/asked", "--json").stdout)
    assert spent["total"]["usd"] == pytest.approx(actual["usd"])
    assert spent["total"]["samples"] == paid
    assert spent["stages"]["generate"]["stub"]["accepted"] == actual["accepted"]
    assert spent["maybe_billed_without_answer"] == 0
    shown = run_distill("cost", "runs/asked").stdout
    assert "generate: stub" in shown
    assert "fixed n" in shown
    assert max(map(len, shown.splitlines())) <= 120


def test_the_cost_of_a_run_that_nobody_billed_is_said_to_be_nothing(
    run_distill: RunDistill, tmp_path: Path
) -> None:
    wrong = run_distill("cost", "nowhere")
    assert wrong.returncode == 4
    assert "there is no such folder" in wrong.stderr
