"""Which back end is taken and why; vLLM's stream as it was recorded; programs that die."""

import asyncio
import json
import os
import shlex
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import pytest
import torch
from aiohttp import web

from distill.errors import MissingDependencyError, ModelError
from distill.types import Message
from engine.folder import load_tokenizer
from engine.server_process import RunningServer, ServerProcess, running_server
from engine.vllm_program import PROGRAM_VARIABLE
from students.load import EMBEDDED, folder_end_ids, load_student
from students.serve.backend import ChatRequest, Delta, End, RequestError
from students.serve.choosing import choose_backend
from students.serve.vllm import VllmBackend
from students.template import end_ids

REPOSITORY = Path(__file__).parents[2]
RECORDED = Path(__file__).with_name("vllm_stream.json")
Shim = Callable[[str], Path]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shim:
    """Puts a program named vllm in place that runs some Python."""

    def put(code: str) -> Path:
        path = tmp_path / "vllm"
        path.write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(code)}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv(PROGRAM_VARIABLE, str(path))
        return path

    return put


@pytest.fixture
def without_vllm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PROGRAM_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    if Path(sys.executable).with_name("vllm").exists():
        pytest.skip("a vLLM is installed beside this Python")


@pytest.mark.usefixtures("without_vllm")
def test_without_vllm_our_own_engine_draws_and_who_asks_for_vllm_learns_how_to_install_it() -> None:
    assert choose_backend(EMBEDDED, None, 512).name == "own"
    assert choose_backend(EMBEDDED, None, 512).why == "vLLM is not installed"
    with pytest.raises(MissingDependencyError) as refused:
        choose_backend(EMBEDDED, "vllm", 512)
    assert "pip install vllm" in refused.value.hint


def test_with_vllm_and_no_gpu_it_draws_only_when_asked_for(
    program: Shim, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = program("")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_backend(EMBEDDED, None, 512).name == "own"
    assert "there is no GPU" in choose_backend(EMBEDDED, None, 512).why
    asked = choose_backend(EMBEDDED, "vllm", 512)
    assert asked.name == "vllm"
    assert str(path) in asked.why
    assert choose_backend(EMBEDDED, "own", 512).name == "own"


@pytest.mark.parametrize(("free_gib", "name"), [(8.0, "vllm"), (0.001, "own")])
def test_on_a_gpu_vllm_draws_if_the_student_fits_in_bf16(
    program: Shim, monkeypatch: pytest.MonkeyPatch, free_gib: float, name: str
) -> None:
    program("")
    free_bytes = int(free_gib * 1024**3)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (free_bytes, free_bytes))
    assert choose_backend(EMBEDDED, None, 512).name == name


def test_a_back_end_that_cannot_read_the_student_is_refused_with_what_can(
    program: Shim, tmp_path: Path
) -> None:
    program("")
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    for path, asked, words in (
        (tmp_path / "x.gguf", "vllm", "is a GGUF file"),
        (EMBEDDED, "llama.cpp", "distill export"),
        (adapter, "vllm", "merged"),
    ):
        with pytest.raises(ModelError) as refused:
            choose_backend(path, asked, 512)  # type: ignore[arg-type]
        assert words in str(refused.value)
    assert choose_backend(adapter, None, 512).name == "own"
    assert choose_backend(tmp_path / "x.gguf", None, 512).name == "llama.cpp"


def test_a_named_program_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROGRAM_VARIABLE, "/nowhere/vllm")
    with pytest.raises(MissingDependencyError, match="/nowhere/vllm is no program"):
        choose_backend(EMBEDDED, "vllm", 512)


def test_a_server_that_ends_before_it_is_ready_is_told_in_its_own_words(tmp_path: Path) -> None:
    code = "import sys; print('CUDA driver is too old'); sys.exit(3)"
    with (
        pytest.raises(ModelError) as failed,
        running_server(
            [sys.executable, "-c", code], {}, "http://127.0.0.1:9/", name="vLLM", ready_seconds=60
        ),
    ):
        pass
    assert "vLLM ended with exit code 3 before it was ready" in failed.value.problem
    assert "CUDA driver is too old" in failed.value.problem


def test_a_server_and_what_it_started_end_with_whoever_started_it_even_if_that_is_killed(
    tmp_path: Path,
) -> None:
    (tmp_path / "starts.py").write_text(
        "import subprocess, time\n"
        "from pathlib import Path\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        "Path('pid').write_text(f'{child.pid}.')\n"
        "time.sleep(600)\n"
    )
    ours = (
        "import sys, time; from pathlib import Path;"
        "from engine.server_process import ServerProcess;"
        "ServerProcess([sys.executable, 'starts.py'], {}, Path('log')); time.sleep(600)"
    )
    written = tmp_path / "pid"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen([sys.executable, "-c", ours], cwd=tmp_path, env=environment) as process:
        wait_for(lambda: written.exists() and written.read_text().endswith("."))
        process.kill()
    grandchild = int(written.read_text().rstrip("."))
    wait_for(lambda: not is_running(grandchild))


def test_the_ends_of_a_folder_are_those_of_the_loaded_student() -> None:
    loaded = load_student(EMBEDDED)
    assert loaded.model.generation_config is not None
    assert folder_end_ids(EMBEDDED, load_tokenizer(EMBEDDED)) == end_ids(
        loaded.model.generation_config
    )


def test_vllms_recorded_stream_is_read_token_by_token(tmp_path: Path) -> None:
    recorded = json.loads(RECORDED.read_text())
    asked: list[dict[str, object]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append({"key": request.headers["Authorization"], **await request.json()})
        response = web.StreamResponse()
        await response.prepare(request)
        for record in recorded["records"]:
            await response.write(b"data: " + json.dumps(record).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response

    request = ChatRequest(
        [Message("user", recorded["message"])], temperature=0, seed=3, wants_logprobs=True
    )
    items = asyncio.run(asked_of(answer, request, tmp_path))
    end = items[-1]
    tokens = [
        token
        for record in recorded["records"]
        for one in record["choices"]
        for token in one["token_ids"]
    ]
    assert isinstance(end, End)
    assert (end.finish, end.completion_tokens) == ("stop", len(tokens))
    deltas = [item for item in items if isinstance(item, Delta)]
    parts = {
        kind: "".join(one.text for one in deltas if one.kind == kind)
        for kind in ("reasoning", "answer")
    }
    assert parts == {"reasoning": recorded["reasoning"], "answer": recorded["answer"]}
    assert sum(len(one.logprobs) for one in deltas) == len(tokens)
    (body,) = asked
    assert body["key"] == "Bearer of-this-test"
    assert body["stop_token_ids"] == [1]
    assert body["prompt"] == recorded["prompt_ids"]
    assert body["return_token_ids"] is True
    assert (body["temperature"], body["logprobs"]) == (0, 0)
    assert body["max_tokens"] == 64 - len(recorded["prompt_ids"]), "no more than there is room for"


def test_what_vllm_refuses_is_told_in_its_words(tmp_path: Path) -> None:
    async def refuse(request: web.Request) -> web.Response:
        del request
        return web.json_response({"error": {"message": "min_p must be in [0, 1]"}}, status=400)

    with pytest.raises(RequestError, match="min_p must be in"):
        asyncio.run(asked_of(refuse, ChatRequest([Message("user", "x")]), tmp_path))


def test_a_program_that_has_died_is_told_in_its_own_words(tmp_path: Path) -> None:
    code = "print('out of memory'); raise SystemExit(7)"
    process = ServerProcess([sys.executable, "-c", code], {}, tmp_path / "log")
    wait_for(lambda: process.code is not None)
    backend = backend_of(RunningServer("http://127.0.0.1:9/v1", process))
    assert backend.fault().startswith("vLLM ended with exit code 7")
    assert "out of memory" in backend.fault()
    with pytest.raises(ModelError, match="out of memory"):
        asyncio.run(items_of(backend, ChatRequest([Message("user", "x")])))
    assert backend.running == 0
    process.end()


def backend_of(server: RunningServer) -> VllmBackend:
    return VllmBackend(
        server, load_tokenizer(EMBEDDED), end_ids={1}, context_tokens=64, max_tokens=200
    )


async def items_of(backend: VllmBackend, request: ChatRequest) -> list[Delta | End]:
    async with aclosing(backend.complete(request, 0)) as items:
        return [item async for item in items]


async def asked_of(
    handler: Callable[[web.Request], object], request: ChatRequest, folder: Path
) -> list[Delta | End]:
    """What the back end makes of a server's answer; the server runs in this process."""
    app = web.Application()
    app.router.add_post("/v1/completions", handler)  # type: ignore[arg-type]
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    process = ServerProcess(["sleep", "600"], {}, folder / "log")
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        return await items_of(backend_of(RunningServer(url, process, "of-this-test")), request)
    finally:
        process.end()
        await runner.cleanup()


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"


def wait_for(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)
