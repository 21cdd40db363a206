"""``--on``: the same run over workers of a real Ray cluster, some of them killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import invoke_in
from tests.conftest import REPOSITORY, RunDistill, clean_environment
from tests.servers.recipes import write_recipe, write_sums
from tests.servers.running import Server, running_stub
from tests.servers.settings import Settings

pytest.importorskip("ray", reason="pip install 'distill-reasoning[ray]' to test the workers")

PROMPTS = 160
DEADLINE_SECONDS = 90
JOINED = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # it listens on the loopback address
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "5" * 64,
}
STUB = Settings(latency_seconds=0.15, reasoning_chars=400, draws_by_seed=True)


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Address of a cluster with room for two workers."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.servers.ray_head", "2"],
        cwd=REPOSITORY,
        env=clean_environment() | JOINED,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate()


def recipe_in(folder: Path, server: Server, *, limit: str = "") -> Path:
    write_sums(folder / "prompts.jsonl", PROMPTS)
    teacher = ['model = "stub"', "concurrency = 8", "send_seed = true", "stream = false", limit]
    return write_recipe(folder, base_url=server.base_url, teacher=teacher)


def judged(journal: Path) -> dict[str, Any]:
    """What is stored, by trace, without what no two runs share: when, how long and what for."""
    found = {}
    for line in whole_lines(journal)[1:]:
        record = json.loads(line)
        trace = record["trace"]
        del record["crc"], trace["receipt"], record["verdict"]["milliseconds"]
        found[f"{trace['prompt_id']}#{trace['sample_index']}"] = record
    return found


def whole_lines(journal: Path) -> list[str]:
    text = journal.read_text(encoding="utf-8")
    return text[: text.rfind("\n") + 1].splitlines()


def until(condition: Callable[[], Any], process: "subprocess.Popen[str]") -> Any:
    """Wait for something to happen while a process runs; what the condition gives."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (found := condition()):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "nothing happens"
        time.sleep(0.01)
    return found


def busy_journal(run: Path, *, beside: set[int]) -> Callable[[], tuple[int, Path] | None]:
    """Finds a worker, none of those that were killed, that has stored something of its block."""

    def find() -> tuple[int, Path] | None:
        for lock in (run / ".scale" / "blocks").glob("*/traces.jsonl.lock"):
            journal = lock.with_suffix("")
            try:
                pid = int(lock.read_text() or 0)
                if pid and pid not in beside and len(whole_lines(journal)) > 3:
                    return pid, journal
            except FileNotFoundError:
                continue
        return None

    return find


@contextmanager
def started(*arguments: str | Path) -> "Iterator[subprocess.Popen[str]]":
    with subprocess.Popen(
        [sys.executable, "-m", "distill", *map(str, arguments)],
        env=clean_environment() | JOINED,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_workers_that_are_killed_change_nothing_and_pay_nothing_again(
    cluster: str, tmp_path: Path
) -> None:
    run, acknowledged, killed = tmp_path / "over", dict[str, int](), set[int]()
    with running_stub(STUB) as server:
        recipe = recipe_in(tmp_path, server)
        over = ("--on", cluster, "--workers", "2", "--json")
        with started("generate", recipe, "--run-dir", run, *over) as process:
            for _ in range(3):
                pid, journal = until(busy_journal(run, beside=killed), process)
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
                stored = texts(tmp_path, judged(journal))
                paid = server.ledger()["answers_by_prompt"]
                acknowledged = {text: paid[text] for text in stored} | acknowledged
            out, err = process.communicate(timeout=DEADLINE_SECONDS)
        paid = server.ledger()["answers_by_prompt"]
        shown = invoke_in(tmp_path, "generate", recipe, "--run-dir", "alone")
    assert process.returncode == 0, err
    assert err.count("its block goes on with another") == 3
    assert shown.code == 0, shown.err
    traces = judged(run / "traces.jsonl")
    assert list(traces) == [f"sum-{number}#0" for number in range(PROMPTS)]
    assert traces == judged(tmp_path / "alone" / "traces.jsonl")
    assert acknowledged
    assert acknowledged.items() <= paid.items()
    summary = json.loads(out)["stages"]["generate"]
    assert (summary["samples"], summary["outcome"]["resumed"]) == (PROMPTS, 0)
    assert sum(paid.values()) - PROMPTS <= summary["unanswered"] <= 3 * 8
    assert not (run / ".scale").exists()


def texts(folder: Path, traces: Iterable[str]) -> list[str]:
    """What was asked for these traces."""
    prompts = map(json.loads, (folder / "prompts.jsonl").read_text().splitlines())
    text_of = {prompt["id"]: prompt["text"] for prompt in prompts}
    return [text_of[trace.removesuffix("#0")] for trace in traces]


def test_a_run_whose_driver_was_killed_goes_on_with_workers_or_without(
    cluster: str, tmp_path: Path, run_distill: RunDistill
) -> None:
    run = tmp_path / "run"
    with running_stub(STUB) as server:
        recipe = recipe_in(tmp_path, server)
        over = ("--on", cluster, "--workers", "1")
        with started("generate", recipe, "--run-dir", run, *over) as process:
            _, journal = until(busy_journal(run, beside=set()), process)
            process.kill()
            acknowledged = judged(journal)
        limited = run_distill(
            *("generate", recipe, "--run-dir", run, "--on", cluster),
            *("--workers", "2", "--budget-tokens", "12000"),
            env=JOINED,
        )
        assert limited.returncode == 10, limited.stderr
        assert "of 12,000 tokens are spent" in limited.stderr
        between = judged(run / "traces.jsonl")
        shown = invoke_in(tmp_path, "generate", recipe, "--run-dir", run)
        paid = server.ledger()["answers_by_prompt"]
    assert shown.code == 0, shown.err
    stored = judged(run / "traces.jsonl")
    assert 0 < len(acknowledged) < len(between) < len(stored) == PROMPTS
    assert acknowledged.items() <= between.items() <= stored.items()
    assert {paid[text] for text in texts(tmp_path, acknowledged)} == {1}


def test_a_filter_over_workers_writes_the_same_bytes(
    cluster: str, tmp_path: Path, run_distill: RunDistill
) -> None:
    file = tmp_path / "traces.jsonl"
    with file.open("w") as written:
        for number in range(9000):
            row = {
                "prompt": f"{number // 2}?",
                "completion": f"<think>one {number} two</think>\\boxed{{{number}}}",
                "answer": str(number // 2 * 2),
            }
            written.write(json.dumps(row) + "\n")
    alone = invoke_in(tmp_path, "filter", "--traces", file, "--to", "alone", "--workers", "1")
    over = run_distill(
        *("filter", "--traces", file.name, "--to", "over", "--on", cluster, "--workers", "2"),
        env=JOINED,
    )
    assert (alone.code, over.returncode) == (0, 0), alone.err + over.stderr
    for name in ("traces.verdicts.parquet", "train.parquet"):
        assert (tmp_path / "over" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
    assert not (tmp_path / "over" / ".filter").exists()


def test_workers_without_a_place_to_run_are_refused(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text('name = "x"\n')
    shown = invoke_in(tmp_path, "generate", "recipe.toml", "--workers", "2")
    assert shown.code == 2
    assert "--workers goes with --on" in shown.err


def test_ranks_and_workers_are_not_mixed(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text('name = "x"\n')
    shown = invoke_in(tmp_path, "generate", "recipe.toml", "--on", "local", "--procs", "2")
    assert shown.code == 2
    assert "--on local and --procs 2: give one of them" in shown.err
