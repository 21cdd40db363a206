"""``distill eval MODEL --benchmark``: any model on any benchmark, resumed at no loss."""

import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from distill.eval_result import read_result
from distill.journal import read_journal
from engine.vllm_program import PROGRAM_VARIABLE
from students.load import EMBEDDED
from tests.cli.conftest import Invoke, Shown, invoke_in
from tests.conftest import clean_environment
from tests.servers.gguf_file import write_gguf
from tests.servers.recipes import write_sums
from tests.servers.running import Server, running_stub
from tests.servers.settings import Settings

QUESTIONS = [
    {"id": f"q{n}", "text": f"Ann has {n} pens and gets 2 more. How many?", "answer": str(n + 2)}
    for n in range(5)
]


def write_questions(path: Path, rows: list[dict[str, str]] = QUESTIONS) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def traces_in(run: Path, who: str) -> list[dict[str, Any]]:
    """Stored traces with their verdicts, in the order of the journal."""
    records = list(read_journal(run / "eval" / f"{who}.jsonl"))
    return records[1:]


def keys_in(run: Path, who: str) -> list[tuple[str, int]]:
    return [
        (one["trace"]["prompt_id"], one["trace"]["sample_index"]) for one in traces_in(run, who)
    ]


def on_stub(server: Server, folder: Path, *more: str | Path) -> list[str | Path]:
    """Arguments that put the stub on its sums."""
    return [
        *("eval", "vllm/stub", "--base-url", server.base_url),
        *("--benchmark", folder / "sums.jsonl", "--run-dir", folder / "run"),
        *("--max-tokens", "4096", "--set", "attempts=2", "--json", *more),
    ]


@pytest.fixture(scope="module")
def base_run(tiny_job: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Shown]:
    """A random model of two layers on five questions, cut after 12 tokens."""
    folder = tmp_path_factory.mktemp("base")
    write_questions(folder / "mine.jsonl")
    command = ["eval", tiny_job / "base", "--benchmark", "mine.jsonl", "--samples", "4"]
    return folder, invoke_in(folder, *command, "--max-tokens", "12")


def test_a_folder_is_evaluated_and_every_figure_is_that_of_its_journal(
    base_run: tuple[Path, Shown],
) -> None:
    folder, shown = base_run
    assert shown.code == 0, shown.err
    assert "base on mine: 5 problems, 4 samples each" in shown.out
    run = folder / "runs" / "eval-base-mine"
    traces = traces_in(run, "base")
    report = read_result(run / "eval" / "results" / "base.json").report
    right = Counter(one["trace"]["prompt_id"] for one in traces if one["verdict"]["is_accepted"])
    assert [problem.right for problem in report.problems] == [
        right[question["id"]] for question in QUESTIONS
    ]
    cut = [one for one in traces if one["trace"]["completion"]["finish"] == "length"]
    assert cut, "a random model does not end by itself within 12 tokens"
    assert report.truncated == len(cut) / 20
    assert not any(one["verdict"]["is_accepted"] for one in cut)
    assert all("cut at the token limit" in one["verdict"]["reason"] for one in cut)
    assert f"{100 * len(cut) / 20:.0f} % at the token limit" in shown.out
    assert "distill explain runs/eval-base-mine q" in shown.out


def test_the_same_command_draws_nothing_again_and_another_setting_is_refused(
    base_run: tuple[Path, Shown], tiny_job: Path
) -> None:
    folder, _ = base_run
    journal = folder / "runs" / "eval-base-mine" / "eval" / "base.jsonl"
    before = journal.read_bytes()
    command = ["eval", tiny_job / "base", "--benchmark", "mine.jsonl", "--max-tokens", "12"]
    again = invoke_in(folder, *command, "--samples", "4", "--json")
    assert again.code == 0, again.err
    assert json.loads(again.out)["report"]["outcome"]["resumed"] == 20
    assert journal.read_bytes() == before
    for options, message in (
        (["--samples", "4", "--temperature", "1"], "sampling.temperature: 0.6 -> 1.0"),
        (["--samples", "2"], "they may be raised, not lowered"),
        (["--samples", "4", "--seed", "9"], "sampling.seed: 0 -> 9"),
    ):
        refused = invoke_in(folder, *command, *options)
        assert refused.code == 4
        assert message in refused.err


def test_other_problems_under_the_same_name_are_refused(
    base_run: tuple[Path, Shown], tiny_job: Path, tmp_path: Path
) -> None:
    folder, _ = base_run
    run = tmp_path / "run"
    shutil.copytree(folder / "runs" / "eval-base-mine", run)
    write_questions(tmp_path / "mine.jsonl", [{**QUESTIONS[0], "answer": "7"}, *QUESTIONS[1:]])
    refused = invoke_in(
        tmp_path,
        *("eval", tiny_job / "base", "--benchmark", "mine.jsonl", "--run-dir", run),
        *("--samples", "4", "--max-tokens", "12"),
    )
    assert refused.code == 4
    assert "benchmark.prompts_hash" in refused.err
    assert "files.mine.jsonl" in refused.err


def test_more_samples_are_drawn_into_the_same_folder(
    base_run: tuple[Path, Shown], tiny_job: Path, tmp_path: Path
) -> None:
    folder, _ = base_run
    run = tmp_path / "run"
    shutil.copytree(folder / "runs" / "eval-base-mine", run)
    write_questions(tmp_path / "mine.jsonl")
    before = keys_in(run, "base")
    shown = invoke_in(
        tmp_path,
        *("eval", tiny_job / "base", "--benchmark", "mine.jsonl", "--run-dir", run),
        *("--samples", "6", "--max-tokens", "12", "--json"),
    )
    assert shown.code == 0, shown.err
    keys = keys_in(run, "base")
    assert keys[:20] == before
    assert sorted(keys) == sorted((f"q{n}", sample) for n in range(5) for sample in range(6))
    assert json.loads(shown.out)["report"]["samples"] == 6


def test_greedy_is_warned_about_and_draws_one_sample(tiny_job: Path, tmp_path: Path) -> None:
    write_questions(tmp_path / "mine.jsonl")
    shown = invoke_in(
        tmp_path, "eval", tiny_job / "base", "--benchmark", "mine.jsonl", "--greedy", "--dry-run"
    )
    assert shown.code == 0, shown.err
    assert "5, 1 of each problem" in shown.out
    assert "repeat themselves" in shown.out
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--k", "0"], "k must be at least 1"),
        (["--k", "8"], "there are 4 samples of each problem, and pass@k needs at least k"),
        (["--k", "a"], "write numbers with commas"),
        (["--samples", "0"], "--samples"),
        (["--top-p", "0"], "it must be above 0"),
        (["--greedy", "--temperature", "1"], "leave one of the two out"),
        (["--who", "base"], "--who goes with a run folder or a recipe"),
        (["--base", "."], "--base goes with an adapter"),
        (["--data", "."], "--data says where the files of a known benchmark are"),
        (["--controls"], "goes with a recipe"),
        (["--base-url", "http://127.0.0.1:1/v1"], "not a folder"),
        (["--verifier", "anwser"], "did you mean 'answer'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_option_is_one_clear_message(
    tiny_job: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    write_questions(tmp_path / "mine.jsonl")
    command = ["eval", tiny_job / "base", "--benchmark", "mine.jsonl", *options]
    shown = invoke_in(tmp_path, *command)
    assert shown.code == 2, shown.err
    assert message in shown.err
    assert "Traceback" not in shown.err


def test_options_of_a_benchmark_do_not_go_with_a_recipe(tiny_job: Path, invoke: Invoke) -> None:
    shown = invoke("eval", tiny_job / "tiny.toml", "--samples", "2", "--greedy")
    assert shown.code == 2
    assert "--samples, --greedy goes with --benchmark; a recipe says it in [eval]" in shown.err


def test_no_model_and_a_model_without_a_template_are_told(tiny_job: Path, tmp_path: Path) -> None:
    write_questions(tmp_path / "mine.jsonl")
    shown = invoke_in(tmp_path, "eval", "nothing-there", "--benchmark", "mine.jsonl")
    assert shown.code == 6
    assert "there is no model 'nothing-there' here" in shown.err
    assert "a .gguf file" in shown.err
    bare = tmp_path / "bare"
    shutil.copytree(tiny_job / "base", bare)
    for name in ("chat_template.jinja",):
        (bare / name).unlink()
    shown = invoke_in(tmp_path, "eval", bare, "--benchmark", "mine.jsonl")
    assert shown.code == 6
    assert "chat template" in shown.err
    assert not list(tmp_path.rglob("results"))


def test_a_benchmark_without_gold_is_refused_before_the_model_loads(
    tiny_job: Path, tmp_path: Path
) -> None:
    write_questions(tmp_path / "mine.jsonl", [{"text": "Who knows?"}])
    shown = invoke_in(tmp_path, "eval", tiny_job / "base", "--benchmark", "mine.jsonl")
    assert shown.code == 3
    assert "1 of 1 prompts to evaluate on have no gold answer" in shown.err


def make_adapter(base: Path, folder: Path) -> None:
    """A LoRA adapter that changes what its base writes."""
    import torch

    from distill.train_sections import LoraSection
    from students.adapters import attach_adapter, save_adapter
    from students.load import load_student

    torch.manual_seed(0)
    model = attach_adapter(load_student(base).model, LoraSection(r=4, alpha=64))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.5)
    save_adapter(model, folder, base)


def test_an_adapter_is_its_merged_base_and_its_base_is_asked_for(
    tiny_job: Path, tmp_path: Path
) -> None:
    base, adapter = tiny_job / "base", tmp_path / "adapter"
    make_adapter(base, adapter)
    config = json.loads((adapter / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "somewhere/else"
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    write_questions(tmp_path / "mine.jsonl")
    command = ["eval", adapter, "--benchmark", "mine.jsonl", "--samples", "1", "--max-tokens", "8"]
    refused = invoke_in(tmp_path, *command)
    assert refused.code == 6
    assert "it names 'somewhere/else', which is no folder here" in refused.err
    assert "--base FOLDER" in refused.err
    shown = invoke_in(tmp_path, *command, "--base", base)
    assert shown.code == 0, shown.err
    merge(base, adapter, tmp_path / "merged")
    merged = invoke_in(tmp_path, "eval", tmp_path / "merged", *command[2:])
    assert merged.code == 0, merged.err
    texts = [
        [one["trace"]["completion"] for one in traces_in(tmp_path / "runs" / name, who)]
        for name, who in (("eval-adapter-mine", "adapter"), ("eval-merged-mine", "merged"))
    ]
    assert texts[0] == texts[1]
    of_base = invoke_in(tmp_path, "eval", base, *command[2:])
    assert of_base.code == 0
    plain = traces_in(tmp_path / "runs" / "eval-base-mine", "base")
    assert [one["trace"]["completion"] for one in plain] != texts[0]


def merge(base: Path, adapter: Path, folder: Path) -> None:
    from students.adapters import load_adapter, merge_adapter
    from students.load import load_student, save_student

    loaded = load_student(base)
    folder.mkdir()
    save_student(merge_adapter(load_adapter(loaded, adapter)), loaded, folder)


def test_a_gguf_file_is_evaluated_through_llama_cpp(tmp_path: Path) -> None:
    from distill.problems import embedded_prompts
    from distill.prompts import write_prompts

    write_gguf(EMBEDDED, tmp_path / "student.gguf")
    write_prompts(tmp_path / "easy.jsonl", embedded_prompts("eval", 6, 0, levels=(1,)))
    command = ["eval", "student.gguf", "--benchmark", "easy.jsonl", "--samples", "1", "--json"]
    shown = invoke_in(tmp_path, *command, "--max-tokens", "128")
    assert shown.code == 0, shown.err
    result = json.loads(shown.out)
    assert result["report"]["pass_at_1"]["value"] > 0.5  # the base solves single steps
    assert result["report"]["outcome"]["usd"] is None
    (tmp_path / "not.gguf").write_text("text")
    shown = invoke_in(tmp_path, "eval", "not.gguf", "--benchmark", "easy.jsonl")
    assert shown.code == 6
    assert "this is no GGUF file" in shown.err


@pytest.fixture
def failing_vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program named vllm that tells its key, writes many lines and ends."""
    program = tmp_path / "bin" / "vllm"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\necho "first line, key $VLLM_API_KEY"\nseq 40\necho no kernel\nexit 3\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv(PROGRAM_VARIABLE, str(program))


@pytest.mark.usefixtures("failing_vllm")
def test_a_server_that_fails_at_its_start_leaves_its_whole_log_without_its_key(
    tmp_path: Path, tiny_job: Path
) -> None:
    write_questions(tmp_path / "mine.jsonl")
    command = ["eval", tiny_job / "base", "--benchmark", "mine.jsonl", "--run-dir", "run"]
    command += ["--samples", "1", "--max-tokens", "8", "--backend"]
    failed = invoke_in(tmp_path, *command, "vllm")
    assert failed.code == 6
    assert "vLLM ended with exit code 3 before it was ready" in failed.err
    assert "| no kernel" in failed.err
    assert "its whole log: run/logs/server-1.log" in failed.err
    assert "--backend own" in failed.err
    log = (tmp_path / "run" / "logs" / "server-1.log").read_text()
    assert "first line, key [removed]\n1\n" in log
    assert invoke_in(tmp_path, *command, "own").code == 0


@pytest.mark.usefixtures("failing_vllm")
def test_a_folder_of_something_else_is_refused_before_a_server_is_started(
    tmp_path: Path, tiny_job: Path
) -> None:
    write_questions(tmp_path / "mine.jsonl")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "letter.txt").write_text("mine")
    command = ["eval", tiny_job / "base", "--benchmark", "mine.jsonl", "--run-dir", "run"]
    refused = invoke_in(tmp_path, *command, "--backend", "vllm")
    assert "it holds letter.txt" in refused.err
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["letter.txt"]


def test_llama_cpp_that_cannot_read_a_file_leaves_its_whole_log(tmp_path: Path) -> None:
    write_questions(tmp_path / "mine.jsonl")
    (tmp_path / "cut.gguf").write_bytes(b"GGUF" + bytes(60))
    failed = invoke_in(tmp_path, "eval", "cut.gguf", "--benchmark", "mine.jsonl")
    assert failed.code == 6
    kept = "runs/eval-cut-mine/logs/server-1.log"
    assert f"its whole log: {kept}" in failed.err
    assert "cut.gguf" in (tmp_path / kept).read_text()


def test_an_endpoint_is_evaluated_and_counted(tmp_path: Path) -> None:
    write_sums(tmp_path / "sums.jsonl", 30)
    with running_stub(Settings(reasoning_chars=200, length_share=0.2)) as server:
        shown = invoke_in(tmp_path, *on_stub(server, tmp_path, "--samples", "4", "--k", "1,3"))
        paid = server.ledger()["counts"]["paid"]
    assert shown.code == 0, shown.err
    report = json.loads(shown.out)["report"]
    assert paid == 120 == len(keys_in(tmp_path / "run", "stub"))
    traces = traces_in(tmp_path / "run", "stub")
    accepted = sum(one["verdict"]["is_accepted"] is True for one in traces)
    assert report["pass_at_1"]["value"] == pytest.approx(accepted / 120)
    assert report["truncated"] > 0
    cost = json.loads(invoke_in(tmp_path, "cost", tmp_path / "run", "--json").out)
    assert cost["samples"] == 120
    assert cost["usage"]["output_tokens"] == report["outcome"]["output_tokens"]
    assert "spent    unknown (no price)" in invoke_in(tmp_path, "cost", tmp_path / "run").out


def test_samples_without_an_answer_count_as_wrong_and_are_told(tmp_path: Path) -> None:
    write_sums(tmp_path / "sums.jsonl", 40)
    with running_stub(Settings(reasoning_chars=200, broken_share=0.06)) as server:
        shown = invoke_in(tmp_path, *on_stub(server, tmp_path, "--samples", "1"))
    assert shown.code == 11, shown.err
    report = json.loads(shown.out)["report"]
    failed = [problem for problem in report["problems"] if problem["failed"]]
    assert failed
    assert all(problem["right"] == 0 for problem in failed)
    assert "got no answer and count as wrong" in invoke_in(tmp_path, "status", tmp_path / "run").out


def test_an_endpoint_that_dies_half_way_leaves_no_result_and_is_gone_on_with(
    tmp_path: Path,
) -> None:
    write_sums(tmp_path / "sums.jsonl", 40)
    run, settings = tmp_path / "run", Settings(latency_seconds=0.05, reasoning_chars=200)
    with running_stub(settings) as server:
        command = on_stub(server, tmp_path, "--samples", "4", "--set", "concurrency=4")
        process = start(command, tmp_path)
        wait_for_rows(process, run / "eval" / "stub.jsonl", 20)
    assert process.wait(timeout=120) != 0
    assert not (run / "eval" / "results").exists()
    seen = keys_in(run, "stub")
    status = invoke_in(tmp_path, "status", run)
    assert "of 160 completions" in status.out
    assert "not finished" in invoke_in(tmp_path, "eval", "compare", run, run).err
    with running_stub(settings) as server:
        shown = invoke_in(tmp_path, *on_stub(server, tmp_path, "--samples", "4"))
    assert shown.code == 0, shown.err
    whole = {(f"sum-{n}", sample) for n in range(40) for sample in range(4)}
    assert keys_in(run, "stub")[: len(seen)] == seen
    answered = [
        (one["trace"]["prompt_id"], one["trace"]["sample_index"])
        for one in traces_in(run, "stub")
        if one["trace"]["completion"]["finish"] != "error"
    ]
    assert sorted(answered) == sorted(whole)  # each exactly once


def test_kill_9_loses_and_repeats_no_finished_sample(tmp_path: Path) -> None:
    write_sums(tmp_path / "sums.jsonl", 40)
    run = tmp_path / "run"
    seen: list[tuple[str, int]] = []
    with running_stub(Settings(latency_seconds=0.05, reasoning_chars=200)) as server:
        command = on_stub(server, tmp_path, "--samples", "4", "--set", "concurrency=8")
        for rows in (10, 60):
            process = start(command, tmp_path)
            wait_for_rows(process, run / "eval" / "stub.jsonl", rows)
            process.kill()
            process.wait()
            stored = keys_in(run, "stub")
            assert stored[: len(seen)] == seen
            assert not (run / "eval" / "results").exists()
            seen = stored
        shown = invoke_in(tmp_path, *command)
    assert shown.code == 0, shown.err
    keys = keys_in(run, "stub")
    assert keys[: len(seen)] == seen
    assert sorted(keys) == sorted((f"sum-{n}", sample) for n in range(40) for sample in range(4))
    outcome = json.loads(shown.out)["report"]["outcome"]
    assert outcome["resumed"] == len(seen)


def start(command: list[str | Path], folder: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "distill", *map(str, command)],
        cwd=folder,
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait_for_rows(process: "subprocess.Popen[bytes]", journal: Path, rows: int) -> None:
    deadline = time.monotonic() + 120
    while not journal.exists() or journal.read_bytes().count(b"\n") <= rows:
        assert process.poll() is None, "it ended before it was to"
        assert time.monotonic() < deadline
        time.sleep(0.005)
