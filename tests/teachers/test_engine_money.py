"""GPUs by the hour: what a plan says, what stops a run, and what is shown, over several tries."""

import json
from pathlib import Path

import pytest

from distill.allowance import Limits, Stop
from distill.budget import Budget
from distill.pricing import PriceList
from distill.recipe import EngineTeacher as Section
from distill.types import Usage
from teachers.engine_hours import hours_of
from tests.cli.conftest import Shown, invoke_in
from tests.servers.recipes import stored_traces
from tests.servers.running import running_stub
from tests.servers.settings import Settings
from tests.teachers.test_engine import recipe_of

# So dear that a fraction of a second spends a dollar, however fast the machine is.
PRICED = ('gpus = "8xH200"', "usd_per_gpu_hour = 100000.0")
ANSWER = Usage(input_tokens=10, output_tokens=100)


def timed(usd: float) -> Budget:
    return Budget(Limits(usd=usd), PriceList(), is_timed=True)


def test_what_a_servers_start_took_is_not_expected_of_the_answers_that_follow() -> None:
    """An hour of loading is 20 USD; with 64 requests under way that was 1,280 USD to come."""
    budget = timed(100.0)
    budget.add(ANSWER, 20.0)
    assert budget.refusal(in_flight=64) is None
    assert budget.room(in_flight=64) is None
    for _ in range(100):
        budget.add(ANSWER, 0.1)
    assert budget.spent_usd == pytest.approx(30.0)
    assert budget.refusal(in_flight=64) is None
    assert budget.room(in_flight=64) == 700 - 64
    assert isinstance(budget.refusal(in_flight=700), Stop)


def test_attempts_of_a_server_that_went_down_are_paid_for_by_the_hour_alone() -> None:
    budget = timed(100.0)
    for _ in range(10):
        budget.add(ANSWER, 1.0, unanswered=5)
    assert budget.spent_usd == pytest.approx(10.0)


def generate(folder: Path, recipe: Path, *options: str) -> Shown:
    return invoke_in(folder, "generate", recipe, "--run-dir", "run", "--json", *options)


def test_a_budget_holds_over_tries_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    settings = Settings(latency_seconds=0.05, reasoning_chars=300)
    with running_stub(settings) as server:
        recipe = recipe_of(
            tmp_path,
            "[]",
            f'join = ["{server.base_url}"]',
            *PRICED,
            "client = { concurrency = 4 }",
        )
        first = generate(tmp_path, recipe, "--budget-usd", "1")
        assert first.code == 10, first.err
        assert "of 1 USD are spent" in first.err
        stored = len(stored_traces(tmp_path / "run").keys)
        assert 0 < stored < 60
        again = generate(tmp_path, recipe, "--budget-usd", "1")
        assert again.code == 10
        assert len(stored_traces(tmp_path / "run").keys) == stored
        late = generate(tmp_path, recipe, "--deadline", "1s")
        assert late.code in (0, 10)  # a fast machine is done within that second
        last = generate(tmp_path, recipe, "--budget-usd", "1000000")
        assert last.code == 0, last.err
    keys = stored_traces(tmp_path / "run").keys
    assert len(set(keys)) == len(keys) == 60
    cost = json.loads(invoke_in(tmp_path, "cost", "run", "--json").out)
    usd = sum(each["trace"]["receipt"]["usd"] for each in stored_traces(tmp_path / "run").records)
    assert cost["total"]["usd"] == pytest.approx(usd)
    assert cost["gpu_hours"] == pytest.approx(usd / 100000)
    assert "GPU hours" in invoke_in(tmp_path, "cost", "run").out


def test_a_plan_rests_on_a_published_speed_until_a_pilot_has_measured_one(tmp_path: Path) -> None:
    with running_stub(Settings(reasoning_chars=300, model="DeepSeek-R1")) as server:
        recipe = recipe_of(tmp_path, "[]", f'join = ["{server.base_url}"]', *PRICED)
        text = recipe.read_text(encoding="utf-8").replace('"stub"', '"DeepSeek-R1"')
        recipe.write_text(text, encoding="utf-8")
        before = invoke_in(tmp_path, "plan", recipe, "--run-dir", "run")
        assert before.code == 0, before.err
        assert "published, not measured here: DeepSeek" in before.out
        assert "on 8 GPUs" in before.out
        pilot = generate(tmp_path, recipe, "--pilot", "10")
        assert pilot.code == 0, pilot.err
        after = invoke_in(tmp_path, "plan", recipe, "--run-dir", "run")
    assert "published" not in after.out
    assert "as the 10 stored samples" in after.out


def test_hours_are_those_of_the_shard_plans_arithmetic() -> None:
    section = Section.model_validate(
        {"model": "DeepSeek-R1", "gpus": "8xH200", "replicas": 2, "usd_per_gpu_hour": 2.0}
    )
    found = hours_of(section, 1000.0, 6_000_000.0)
    assert found.cost is not None
    assert found.gpus == 16
    assert found.cost.hours == pytest.approx(6e6 / (1850 * 16) / 3600)
    assert found.cost.usd == pytest.approx(found.cost.hours * 16 * 2)
    unknown = Section.model_validate({"model": "my/other", "gpus": "8xH200"})
    assert hours_of(unknown, 1000.0, 6e6).cost is None


def test_progress_shows_gpu_hours() -> None:
    from teachers.engine import open_engine

    notices: list[str] = []
    section = Section.model_validate(
        {"model": "m", "join": ["http://127.0.0.1:9/v1"], "gpus": "8xH200"}
    )
    figures = open_engine(section, notices.append).progress_figures()
    assert figures["GPU hours"].endswith("now")
