"""``distill fit`` as a user runs it."""

import json
from pathlib import Path

import pytest

from cli.fit import read_size, read_tokens
from distill.errors import RecipeError
from tests.conftest import RunDistill


def test_a_plan_adds_up_and_says_that_it_fits(run_distill: RunDistill) -> None:
    shown = run_distill("fit", "Qwen2.5-7B", "--method", "qlora", "--length", "8k", "--gpu", "24GB")
    assert shown.returncode == 0
    assert "fits in 24 GiB" in shown.stdout
    assert "qlora, rows of 8,192 tokens" in shown.stdout


def test_json_has_the_parts_and_what_would_fit(run_distill: RunDistill) -> None:
    given = ("--method", "lora", "--length", "32k", "--gpu", "22GB", "--json")
    plan = json.loads(run_distill("fit", "Qwen2.5-7B", *given).stdout)
    assert plan["fits"] is False
    assert sum(plan["plan"]["parts"].values()) == plan["plan"]["total"]
    assert 512 <= plan["longest_tokens"] < 32_768
    assert all(change["total"] <= plan["gpu_bytes"] for change in plan["changes"])
    assert plan["together"][-1]["total"] <= plan["gpu_bytes"]


def test_without_a_gpu_the_usual_ones_are_listed(run_distill: RunDistill) -> None:
    shown = run_distill("fit", "Qwen2.5-1.5B", "--method", "full").stdout
    for card in ("8 GB", "12 GB", "16 GB", "24 GB", "48 GB", "80 GB"):
        assert card in shown


def test_running_lists_every_way_to_hold_the_weights(run_distill: RunDistill) -> None:
    given = ("--run", "--context", "32k", "--gpu", "12GB", "--json")
    found = json.loads(run_distill("fit", "Qwen2.5-7B", *given).stdout)
    fits = {plan["format"]: plan["fits"] for plan in found["plans"]}
    assert not fits["bf16"]
    assert fits["gguf q4_k_m"]
    assert len(fits) == 8


@pytest.mark.parametrize(("gpu", "way_out"), [("8GB", "no context fits"), ("24GB", "--context ")])
def test_running_on_too_small_a_gpu_says_what_would_fit(
    run_distill: RunDistill, gpu: str, way_out: str
) -> None:
    shown = run_distill("fit", "Qwen2.5-32B", "--run", "--context", "32k", "--gpu", gpu).stdout
    last = shown.splitlines()[-1]
    assert last.startswith("None fits in ")
    assert "gguf q4_k_m needs 27." in last
    assert way_out in last


def test_a_recipe_brings_its_settings(run_distill: RunDistill) -> None:
    recipe = Path(__file__).parents[2] / "recipes" / "quickstart.toml"
    plan = json.loads(run_distill("fit", str(recipe), "--json").stdout)
    assert plan["settings"]["length_tokens"] == 1024
    assert plan["settings"]["optimizer"] == "muon"


def test_an_unknown_architecture_is_named(run_distill: RunDistill, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "mamba"}')
    shown = run_distill("fit", str(tmp_path))
    assert shown.returncode == 6
    assert "model_type is 'mamba'; a plan can be made for qwen2, qwen3, llama" in shown.stderr


def test_a_key_that_is_missing_is_named(run_distill: RunDistill, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama", "hidden_size": 64}')
    shown = run_distill("fit", str(tmp_path))
    assert shown.returncode == 3
    assert "the key 'num_attention_heads' is missing" in shown.stderr


def test_a_name_that_nobody_knows_says_what_may_be_given(run_distill: RunDistill) -> None:
    shown = run_distill("fit", "Qwen9-7B")
    assert shown.returncode == 6
    assert "a name of `distill students`" in shown.stderr


@pytest.mark.parametrize("text", ["", "x", "0", "-1", "16kk", "1.5k", "9" * 30])
def test_tokens_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="not a number of tokens"):
        read_tokens("--length", text)


@pytest.mark.parametrize("text", ["", "big", "0GB", "nan", "inf", "-8GB"])
def test_a_size_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="not a size of a GPU"):
        read_size(text)
