"""``distill shard`` as a user runs it."""

import json
from pathlib import Path

import pytest

from distill.errors import RecipeError
from teachers.shard_cost import read_gpus
from tests.cli.conftest import invoke_in
from tests.teachers.big_models import CONFIGS
from tests.teachers.local_models import EMBEDDED


def test_a_plan_says_what_each_gpu_holds_and_what_the_prompts_take(tmp_path: Path) -> None:
    job = ("--prompts", "800000", "--price", "2")
    shown = invoke_in(tmp_path, "shard", "DeepSeek-R1", "--gpus", "16x80GB", *job)
    assert shown.code == 0, shown.err
    assert "EP16 x DP16" in shown.out
    assert "GPU-hours" in shown.out
    assert shown.out.count("published, not measured here") == 3


def test_the_cache_of_a_gpu_is_that_of_its_own_sequences(tmp_path: Path) -> None:
    given = ("shard", "DeepSeek-R1", "--gpus", "16x80GB", "--batch", "80")
    shown = invoke_in(tmp_path, *given)
    assert "EP16 x DP16" in shown.out
    assert "cache of 5 x 32,768 tokens" in shown.out


def test_a_plan_says_what_to_do_next_in_lines_of_80(tmp_path: Path) -> None:
    given = ("shard", "DeepSeek-R1", "--gpus")
    fits = invoke_in(tmp_path, *given, "16x80GB")
    assert "--prompts N --price" in fits.out
    assert "--print vllm" in fits.out
    priced = invoke_in(tmp_path, *given, "16x80GB", "--prompts", "800000")
    assert "thousands of sequences at once" in priced.out
    refused = invoke_in(tmp_path, *given, "1x24GB")
    unknown = invoke_in(tmp_path, "shard", "R7", "--gpus", "1x24GB")
    said = (fits.out, priced.out, refused.out, refused.err, unknown.err)
    assert max(len(line) for text in said for line in text.splitlines()) <= 80


def test_a_longer_context_than_the_model_was_made_for_is_noticed(tmp_path: Path) -> None:
    shown = invoke_in(tmp_path, "shard", "Qwen3-30B-A3B", "--gpus", "2xH100", "--context", "64k")
    assert "made for 40,960 tokens" in shown.out


def test_a_small_model_with_files_is_told_in_megabytes(tmp_path: Path) -> None:
    shown = invoke_in(tmp_path, "shard", str(EMBEDDED), "--memory", "1GB", "--context", "512")
    assert "7.7 MB of weight files by the config" in shown.out
    assert "7.7 MB by the headers of the files, which are all whole" in shown.out
    assert "mapped" not in shown.out


def test_a_price_without_a_number_of_traces_is_refused(tmp_path: Path) -> None:
    shown = invoke_in(tmp_path, "shard", "DeepSeek-R1", "--gpus", "16x80GB", "--price", "2")
    assert shown.code == 2
    assert "--prompts" in shown.err


def test_too_few_gpus_end_with_what_would_be_enough(tmp_path: Path) -> None:
    shown = invoke_in(tmp_path, "shard", "DeepSeek-R1", "--gpus", "8x80GB")
    assert shown.code == 6
    assert "enough would be: --gpus 16x80GB" in shown.err
    assert "years" in shown.err


def test_too_large_a_batch_ends_with_the_one_that_fits(tmp_path: Path) -> None:
    given = ("--gpus", "16x80GB", "--batch", "4096")
    refused = invoke_in(tmp_path, "shard", "DeepSeek-R1", *given, "--json")
    assert refused.code == 6
    plan = json.loads(refused.out)
    assert not plan["fits"]
    best = plan["layouts"][0]["sequences"]
    assert f"--batch {best}," in refused.err
    fitting = invoke_in(tmp_path, "shard", "DeepSeek-R1", *given[:-1], str(best))
    assert fitting.code == 0, fitting.err


def test_a_measured_speed_takes_the_place_of_published_ones(tmp_path: Path) -> None:
    given = ("--prompts", "1000", "--tokens", "3600", "--speed", "1000", "--price", "3", "--json")
    shown = invoke_in(tmp_path, "shard", "Qwen3-30B-A3B", "--gpus", "2xH100", *given)
    (cost,) = json.loads(shown.out)["costs"]
    assert cost["hours"] == pytest.approx(1.0)
    assert cost["usd"] == pytest.approx(6.0)
    assert not cost["speed"]["is_published"]


def test_json_of_a_layout_adds_up(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "qwen3_moe", **CONFIGS["qwen3_moe"]}), encoding="utf-8"
    )
    shown = invoke_in(tmp_path, "shard", ".", "--gpus", "2x8GB", "--context", "64", "--json")
    for layout in json.loads(shown.out)["layouts"]:
        parts = sum(layout["weights"].values()) + layout["cache_bytes"]
        assert parts + layout["work"] + layout["server"] == layout["total_bytes"]


def test_the_command_that_serves_it_can_be_printed_alone(tmp_path: Path) -> None:
    given = ("DeepSeek-R1", "--gpus", "16x80GB", "--print")
    vllm = invoke_in(tmp_path, "shard", *given, "vllm")
    assert vllm.out.count("vllm serve deepseek-ai/DeepSeek-R1") == 2, vllm.err
    assert "HEAD_ADDRESS is the address of node 1" in vllm.out
    assert "--enable-expert-parallel" in vllm.out
    sglang = invoke_in(tmp_path, "shard", *given, "sglang")
    assert "--enable-dp-attention" in sglang.out


@pytest.mark.parametrize("text", ["16", "x80GB", "0x80GB", "twox80GB", "2xB9000", "2x"])
def test_what_are_no_gpus_is_answered_with_an_example(text: str) -> None:
    with pytest.raises(RecipeError, match="not a number of GPUs"):
        read_gpus(text)


def test_main_memory_is_planned_with_its_runtime_and_the_rows_that_fit(tmp_path: Path) -> None:
    given = ("shard", "Qwen3-30B-A3B", "--context", "8k", "--memory")
    shown = invoke_in(tmp_path, *given, "80GB")
    assert shown.code == 0, shown.err
    assert "runtime: Python, torch (measured)" in shown.out
    plan = json.loads(invoke_in(tmp_path, *given, "80GB", "--json").out)
    assert plan["weights"] + plan["cache"] + plan["work"] + plan["runtime"] == plan["total_bytes"]
    assert plan["total_bytes"] <= 80 * 1024**3
    refused = invoke_in(tmp_path, *given, "80GB", "--batch", str(plan["rows_that_fit"] + 1))
    assert refused.code == 6
    assert f"--batch {plan['rows_that_fit']}," in refused.err
    too_small = invoke_in(tmp_path, *given, "24GB")
    assert too_small.code == 6
    enough = too_small.err.partition("--memory ")[2].split(",")[0]
    assert invoke_in(tmp_path, *given, enough).code == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((), "neither --gpus nor --memory"),
        (("--gpus", "8xH200", "--memory", "64GB"), "both are given"),
        (("--memory", "much"), "not a size of memory"),
        (("--memory", "64GB", "--prompts", "10"), "--prompts: for GPUs only"),
    ],
)
def test_a_place_that_is_not_clear_is_asked_for(
    tmp_path: Path, given: tuple[str, ...], said: str
) -> None:
    shown = invoke_in(tmp_path, "shard", "Qwen3-30B-A3B", *given)
    assert shown.code == 2
    assert said in shown.err
