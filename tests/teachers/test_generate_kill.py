"""``distill generate`` against the stub, whose ledger says what was paid for.

The runs of the size that a user has are in ``benchmarks/api_*.py``; these are small ones.
"""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Shown, invoke_in
from tests.conftest import clean_environment
from tests.servers.answers import Answers, sum_prompt
from tests.servers.ledger import read_ledger
from tests.servers.recipes import stored_traces, write_recipe, write_sums
from tests.servers.running import Server, running_stub
from tests.servers.settings import ReasoningField, Settings

STREAM = pytest.mark.parametrize("stream", [False, True], ids=["body", "stream"])
AT_ONCE = 48


def recipe_for(
    server: Server, folder: Path, *, prompts: int, stream: bool = False, samples: str = ""
) -> Path:
    write_sums(folder / "prompts.jsonl", prompts)
    return write_recipe(
        folder,
        base_url=server.base_url,
        teacher=[
            'model = "stub"',
            f"concurrency = {AT_ONCE}",
            f"stream = {str(stream).lower()}",
            "attempts = 5",
            "idle_seconds = 0.5",
            "answer_seconds = 0.5",
        ],
        generate=[samples or "samples = 1", "max_tokens = 4096"],
    )


def summary_of(shown: Shown) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(shown.out)["stages"]["generate"]
    return found


def settled_ledger(server: Server) -> dict[str, Any]:
    """The ledger once the server has finished what it began."""
    while (ledger := server.ledger())["in_flight"]:
        time.sleep(0.02)
    return ledger


@STREAM
def test_kills_lose_no_row_and_what_is_paid_again_is_reported(tmp_path: Path, stream: bool) -> None:
    run = tmp_path / "run"
    with running_stub(Settings(latency_seconds=0.1, reasoning_chars=400)) as server:
        recipe = recipe_for(server, tmp_path, prompts=450, stream=stream)
        arguments: list[str | Path] = ["generate", recipe, "--run-dir", run, "--json"]
        seen: list[tuple[str, int]] = []
        for rows in (60, 200):
            kill_at(arguments, run / "traces.jsonl", rows=rows)
            stored = stored_traces(run).keys
            assert stored[: len(seen)] == seen
            ledger = settled_ledger(server)
            seen = stored
        shown = invoke_in(tmp_path, *arguments)
        ledger = settled_ledger(server)
    assert shown.code == 0, shown.err
    stored = stored_traces(run).keys
    assert stored[: len(seen)] == seen
    assert sorted(stored) == sorted((f"sum-{number}", 0) for number in range(450))
    lost = ledger["counts"]["paid"] - len(stored)
    reported = summary_of(shown)["unanswered"]
    assert lost <= reported
    # Beside what is under way, a few answers have arrived and are about to be synced.
    assert reported <= 2 * (AT_ONCE + AT_ONCE // 2)
    assert summary_of(shown)["outcome"]["resumed"] == len(seen)


def kill_at(arguments: list[str | Path], journal: Path, *, rows: int) -> None:
    """Start ``distill``; kill it once its journal has so many rows."""
    process = subprocess.Popen(
        [sys.executable, "-m", "distill", *map(str, arguments)],
        cwd=journal.parents[1],
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not journal.exists() or journal.read_bytes().count(b"\n") <= rows:
        assert process.poll() is None, "it ended before it was killed"
        time.sleep(0.003)
    process.kill()
    assert process.wait() == -signal.SIGKILL


@STREAM
def test_faults_leave_no_prompt_without_an_answer(tmp_path: Path, stream: bool) -> None:
    faults = dict.fromkeys(("429", "500", "cut", "hang", "half", "empty"), 0.02)
    ledger_file = tmp_path / "ledger"
    # With this seed each fault happens, and no prompt meets two: that would only take longer.
    settings = Settings(
        seed=1, faults=faults, retry_after=0, reasoning_chars=400, ledger=str(ledger_file)
    )
    with running_stub(settings) as server:
        shown = invoke_in(
            tmp_path,
            *("generate", recipe_for(server, tmp_path, prompts=160, stream=stream)),
            *("--run-dir", "run", "--json"),
        )
        counts = server.ledger()["counts"]
    assert shown.code == 0, shown.err
    traces = stored_traces(tmp_path / "run")
    assert sorted(traces.keys) == sorted((f"sum-{number}", 0) for number in range(160))
    assert {each["trace"]["completion"]["finish"] for each in traces.records} == {"stop"}
    assert all(counts[fault] for fault in faults), "each fault happened"
    paid = read_ledger(ledger_file)
    assert sum(line.delivered for line in paid) == 160
    lost = sum(not line.delivered for line in paid)
    assert lost <= summary_of(shown)["unanswered"] <= lost + counts["hang"] + counts["500"]


def test_an_answer_that_is_always_cut_is_paid_once_per_sample(tmp_path: Path) -> None:
    ledger_file = tmp_path / "ledger"
    with running_stub(Settings(length_share=1.0, ledger=str(ledger_file))) as server:
        recipe = recipe_for(server, tmp_path, prompts=40, samples="samples = 2")
        shown = invoke_in(tmp_path, "generate", recipe, "--run-dir", "run", "--json")
    assert shown.code == 0, shown.err
    assert sum(line.answers for line in read_ledger(ledger_file)) == 80
    assert summary_of(shown)["truncated"] == summary_of(shown)["samples"] == 80


def test_sampling_until_correct_pays_for_as_many_as_the_first_right_one_takes(
    tmp_path: Path,
) -> None:
    settings = Settings(reasoning_chars=400)
    answers, wanted = Answers(settings), {}
    for number in range(120):
        text, gold = sum_prompt(number)
        drawn = [f"{{{gold}}}" in answers.draw(text, ordinal).text for ordinal in range(8)]
        wanted[text] = drawn.index(True) + 1 if any(drawn) else 8
    with running_stub(settings) as server:
        recipe = recipe_for(server, tmp_path, prompts=120, samples="samples = 8\nuntil_correct = 1")
        shown = invoke_in(tmp_path, "generate", recipe, "--run-dir", "run")
        assert server.ledger()["answers_by_prompt"] == wanted
    assert shown.code == 0, shown.err


def test_a_client_finds_the_number_of_requests_that_the_server_takes(tmp_path: Path) -> None:
    settings = Settings(latency_seconds=0.02, capacity=12, retry_after=0.05, reasoning_chars=400)
    with running_stub(settings) as server:
        recipe = recipe_for(server, tmp_path, prompts=400)
        shown = invoke_in(tmp_path, "generate", recipe, "--run-dir", "run", "--json")
        counts = server.ledger()["counts"]
    assert shown.code == 0, shown.err
    assert summary_of(shown)["samples"] == 400
    assert 0 < counts["over_capacity"] <= 80


@pytest.mark.parametrize(
    ("where", "stream"),
    [("reasoning_content", True), ("reasoning", False), ("think", True), ("think-unopened", False)],
)
def test_reasoning_is_read_wherever_it_stands(
    tmp_path: Path, where: ReasoningField, stream: bool
) -> None:
    settings = Settings(
        reasoning=where,
        keep_alive=True,
        sends_done=where != "reasoning_content",
        sends_usage=where != "think",
        honours_n=stream,
        reasoning_chars=500,
        chunk_chars=7,
        writes=9,
    )
    with running_stub(settings) as server:
        recipe = recipe_for(server, tmp_path, prompts=3, stream=stream, samples="samples = 3")
        shown = invoke_in(
            tmp_path,
            *("generate", recipe, "--run-dir", "run"),
            *("--set", "teacher.choices_per_call=3"),
        )
    assert shown.code == 0, shown.err
    traces = stored_traces(tmp_path / "run")
    assert len(set(traces.keys)) == len(traces.keys) == 9
    for record in traces.records:
        completion = record["trace"]["completion"]
        assert completion["text"].startswith("The answer is \\boxed{")
        assert 490 < len(completion["reasoning"]) <= 500
