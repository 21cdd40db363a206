"""``distill generate`` against real servers, whose model solves problems of one step.

``transformers serve`` ignores ``n`` and leaves the reasoning between think tags; llama.cpp's server
honours ``n`` and sends the reasoning in a field of its own.
"""

import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from distill.problems import embedded_prompts
from students.load import EMBEDDED
from tests.cli.conftest import invoke_in
from tests.conftest import clean_environment
from tests.servers.real import llama_cpp_server, transformers_server
from tests.servers.recipes import stored_traces, write_recipe
from tests.servers.running import Server

PROMPTS = 'kind = "embedded"\nsplit = "train"\ncount = {count}\nlevels = [1]'


@dataclass(frozen=True, slots=True)
class Running:
    """A real server and its log.

    Attributes:
        endpoint: Its name in the catalogue.
        server: Where it is.
        log: What it wrote.
    """

    endpoint: str
    server: Server
    log: Path

    def calls(self) -> int:
        """Requests for completions so far, by its own log."""
        return self.log.read_text().count("/v1/chat/completions")

    def recipe(
        self, folder: Path, *, count: int, samples: int, concurrency: int = 4, stream: bool = False
    ) -> Path:
        teacher = [
            f'endpoint = "{self.endpoint}"',
            f'model = "{EMBEDDED}"',
            f"choices_per_call = {samples}",
            f"concurrency = {concurrency}",
            f"stream = {str(stream).lower()}",
        ]
        return write_recipe(
            folder,
            base_url=self.server.base_url,
            prompts=PROMPTS.format(count=count),
            teacher=teacher,
            generate=[f"samples = {samples}", "max_tokens = 200"],
        )


@pytest.fixture(scope="module")
def transformers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("transformers")
    with transformers_server(folder) as server:
        yield Running("transformers", server, folder / "transformers.log")


@pytest.fixture(scope="module")
def llama_cpp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("llama-cpp")
    with llama_cpp_server(folder) as server:
        yield Running("llama-cpp", server, folder / "llama-cpp.log")


@pytest.fixture(params=["transformers", "llama_cpp"])
def running(request: pytest.FixtureRequest) -> Running:
    found: Running = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize("stream", [False, True], ids=["body", "stream"])
def test_every_prompt_gets_its_samples_with_reasoning(
    running: Running, tmp_path: Path, stream: bool
) -> None:
    recipe = running.recipe(tmp_path, count=6, samples=3, stream=stream)
    shown = invoke_in(tmp_path, "generate", recipe, "--run-dir", "run")
    assert shown.code == 0, shown.err
    traces = stored_traces(tmp_path / "run")
    assert sorted(traces.keys) == [(f"train-0/{rank}", n) for rank in range(6) for n in range(3)]
    completions = [each["trace"]["completion"] for each in traces.records]
    reasoned = [each for each in completions if each["reasoning"] and each["finish"] == "stop"]
    assert len(reasoned) > 9
    assert all("boxed" in each["text"] for each in reasoned)
    assert not any("think>" in each["text"] + each["reasoning"] for each in reasoned)
    accepted = sum(each["verdict"]["is_accepted"] for each in traces.records)
    assert accepted > 6  # about seven in ten are right
    # llama.cpp counts the tokens of one choice however many it sends: then they are unknown.
    counted = [each["usage"]["output_tokens"] > 0 for each in completions]
    assert not any(counted) if running.endpoint == "llama-cpp" else all(counted)


def test_samples_are_topped_up_where_the_server_ignores_n(
    transformers: Running, tmp_path: Path
) -> None:
    before = transformers.calls()
    shown = invoke_in(tmp_path, "generate", transformers.recipe(tmp_path, count=2, samples=3))
    assert shown.code == 0, shown.err
    assert transformers.calls() - before == 6


def test_one_call_brings_all_samples_where_the_server_honours_n(
    llama_cpp: Running, tmp_path: Path
) -> None:
    shown = invoke_in(
        tmp_path, "generate", llama_cpp.recipe(tmp_path, count=2, samples=3), "--run-dir", "run"
    )
    assert shown.code == 0, shown.err
    answered = {
        prompt: [
            each["trace"]["receipt"]["at"]
            for each in stored_traces(tmp_path / "run").records
            if each["trace"]["prompt_id"] == prompt
        ]
        for prompt in ("train-0/0", "train-0/1")
    }
    assert all(len(times) == 3 and len(set(times)) == 1 for times in answered.values())


def test_a_killed_run_goes_on_where_it_was(running: Running, tmp_path: Path) -> None:
    recipe = running.recipe(tmp_path, count=12, samples=2, concurrency=2)
    journal = tmp_path / "run/traces.jsonl"
    stored = kill_after(["generate", recipe, "--run-dir", "run"], journal, lines=6)
    lost = asked_samples(tmp_path / "run/requests.jsonl") - stored
    before = journal.read_bytes()
    shown = invoke_in(tmp_path, "generate", recipe, "--run-dir", "run", "--json")
    assert shown.code == 0, shown.err
    assert journal.read_bytes().startswith(before[: before.rfind(b"\n") + 1])
    traces = stored_traces(tmp_path / "run")
    assert sorted(traces.keys) == sorted(
        (f"train-0/{rank}", n) for rank in range(12) for n in range(2)
    )
    stage = json.loads(shown.out)["stages"]["generate"]
    assert stage["outcome"]["resumed"] >= stored
    # Under way at the kill, or arrived and not yet on the disk: reported, every one.
    assert stage["unanswered"] == lost


def kill_after(arguments: list[str | Path], journal: Path, *, lines: int) -> int:
    """Kill ``distill`` once its journal has so many lines; the samples that it had then."""
    command = [sys.executable, "-m", "distill", *map(str, arguments)]
    process = subprocess.Popen(
        command,
        cwd=journal.parents[1],
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not journal.exists() or journal.read_bytes().count(b"\n") < lines:
        assert process.poll() is None, "it ended before it was killed"
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    return journal.read_bytes().count(b"\n") - 1


def asked_samples(requests: Path) -> int:
    """Samples that were asked for, by the log that is written before anything is sent."""
    lines = [json.loads(line) for line in requests.read_text().splitlines()]
    return sum(len(line["samples"]) for line in lines if line.get("kind") == "asked")


def test_a_wrong_model_comes_back_in_the_words_of_the_server(
    transformers: Running, tmp_path: Path
) -> None:
    recipe = transformers.recipe(tmp_path, count=2, samples=1)
    shown = invoke_in(tmp_path, "generate", recipe, "--set", "teacher.model=other")
    assert shown.code == 9
    assert "Server is pinned to" in shown.err
    assert "Traceback" not in shown.err


def test_both_servers_run_the_same_model(transformers: Running, llama_cpp: Running) -> None:
    """Greedy text agrees, so the GGUF holds the same weights, tokens and template."""
    for prompt in embedded_prompts("dev", 12, 0, levels=[1]):
        reasoned = ask(llama_cpp.server, prompt.text)
        tagged = ask(transformers.server, prompt.text)
        think = f"<think>\n{reasoned['reasoning_content'].strip()}\n</think>\n\n"
        assert tagged["content"] == think + reasoned["content"]


def ask(server: Server, text: str) -> dict[str, Any]:
    """The message that a server answers with when it draws nothing."""
    body = {
        "model": str(EMBEDDED),
        "messages": [{"role": "user", "content": text}],
        "max_tokens": 100,
        "temperature": 0,
    }
    request = urllib.request.Request(
        f"{server.base_url}/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=20) as reply:
        message: dict[str, Any] = json.load(reply)["choices"][0]["message"]
        return message
