"""``distill serve``: the same tests on each back end, by the clients that people use."""

import asyncio
import gc
import json
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import openai
import pytest

import students
from distill.problems import embedded_prompts
from distill.types import Prompt, Request, Sampling
from engine.vllm_program import PROGRAM_VARIABLE, find_vllm
from students.load import EMBEDDED
from students.serve.app import Limits
from students.serve.backend import Backend
from students.serve.completer import BackendCompleter
from tests.cli.conftest import invoke_in
from tests.servers.recipes import stored_traces, write_recipe
from tests.students.serving import (
    KEY,
    MODEL,
    Served,
    engine_backend,
    llama_cpp_backend,
    served,
    vllm_backend,
)

LIMITS = Limits(choices=24, max_tokens=200, body_bytes=100_000, body_seconds=1.0)
PROBLEM = embedded_prompts("eval", 1, 0, levels=[1])[0].text
ASKED: list[Any] = [{"role": "user", "content": PROBLEM}]


@pytest.fixture(scope="module", params=["own", "llama.cpp", "vllm"])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    if request.param == "own":
        opened = engine_backend()
    elif request.param == "llama.cpp":
        opened = llama_cpp_backend(tmp_path_factory.mktemp("served"))
    elif find_vllm() is None:
        pytest.skip(f"vLLM is not installed, and {PROGRAM_VARIABLE} names none")
    else:
        opened = vllm_backend()
    with opened as backend, served(backend, LIMITS) as found:
        yield found


@pytest.fixture
def client(running: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=running.url, api_key=KEY, max_retries=0) as found:
        yield found


def test_the_openai_client_gets_reasoning_answer_and_usage(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model=MODEL, messages=ASKED, temperature=0)
    message = reply.choices[0].message
    assert message.content is not None
    assert "boxed" in message.content
    assert "think>" not in message.content
    assert message.reasoning_content  # type: ignore[attr-defined]
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage is not None
    assert reply.usage.completion_tokens > 5
    assert reply.usage.prompt_tokens > 5


def test_a_stream_gives_the_same_text_and_ends_with_its_usage(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model=MODEL, messages=ASKED, temperature=0)
    chunks = list(
        client.chat.completions.create(
            model=MODEL,
            messages=ASKED,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    content = "".join(delta.content or "" for delta in deltas)
    reasoning = "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas)
    assert content == whole.choices[0].message.content
    assert reasoning == whole.choices[0].message.reasoning_content  # type: ignore[attr-defined]
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage == whole.usage


def test_several_choices_come_together_and_a_seed_repeats_them(client: openai.OpenAI) -> None:
    hard = embedded_prompts("eval", 1, 0, levels=[5])[0].text  # the student is not sure of it

    def drawn(seed: int) -> list[str]:
        reply = client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": hard}],
            n=6,
            seed=seed,
            temperature=2,
            top_p=1.0,
            max_tokens=20,
        )
        assert [choice.index for choice in reply.choices] == [*range(6)]
        return [f"{one.message.reasoning_content} {one.message.content}" for one in reply.choices]  # type: ignore[attr-defined]

    first = drawn(1)
    assert len(set(first)) > 1
    assert drawn(1) == first


def test_a_completion_ends_before_a_stop_text(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model=MODEL, messages=ASKED, temperature=0, stop=["boxed", "never"]
    )
    content = reply.choices[0].message.content
    assert content is not None
    assert "boxed" not in content
    assert content.startswith("The answer")
    assert reply.choices[0].finish_reason == "stop"


def test_a_completion_that_reaches_its_limit_says_so(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model=MODEL, messages=ASKED, temperature=0, max_completion_tokens=4
    )
    assert reply.choices[0].finish_reason == "length"
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 4


def test_log_probabilities_come_with_their_tokens(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(
        model=MODEL, messages=ASKED, temperature=0, logprobs=True
    )
    assert reply.choices[0].logprobs is not None
    content = reply.choices[0].logprobs.content
    assert content
    assert all(one.logprob <= 1e-6 and math.isfinite(one.logprob) for one in content)
    assert "boxed" in "".join(one.token for one in content)


def test_the_models_are_listed(client: openai.OpenAI, running: Served) -> None:
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")
    assert running.get("/health")[0] == 200


def test_a_student_can_be_a_teacher(
    running: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_TEST", KEY)
    recipe = write_recipe(
        tmp_path,
        base_url=running.url,
        prompts='kind = "embedded"\nsplit = "train"\ncount = 4\nlevels = [1]',
        teacher=[f'model = "{MODEL}"', 'key_variable = "OF_THE_TEST"', "choices_per_call = 3"],
        generate=["samples = 3", "max_tokens = 200"],
    )
    shown = invoke_in(tmp_path, "generate", recipe, "--run-dir", "run", "--json")
    assert shown.code == 0, shown.err
    traces = stored_traces(tmp_path / "run")
    assert sorted(traces.keys) == [(f"train-0/{rank}", n) for rank in range(4) for n in range(3)]
    completions = [each["trace"]["completion"] for each in traces.records]
    assert sum(bool(one["reasoning"]) for one in completions) > 6
    assert KEY not in (tmp_path / "run/traces.jsonl").read_text()


class Listed:
    """Requests for one sample of each prompt."""

    def __init__(self, prompts: Sequence[Prompt]) -> None:
        self._requests = [Request(prompt, 0) for prompt in prompts]

    def take(self, n: int) -> Sequence[Request]:
        taken, self._requests = self._requests[:n], self._requests[n:]
        return taken

    def seconds_to_wait(self) -> float | None:
        return None


def test_an_evaluation_gets_what_the_sampling_loop_of_a_folder_gets(running: Served) -> None:
    prompts = embedded_prompts("eval", 12, 0, levels=[1])
    greedy = Sampling(temperature=0, max_tokens=64, keeps_logprobs=True)
    served_ = BackendCompleter(running.backend, name="x", fingerprint="", rows=4)
    plain = students.build(EMBEDDED, batch_size=4)
    found, expected = (
        {answer.request.prompt.id: answer.completion for answer in one.complete(source, greedy)}
        for one, source in ((served_, Listed(prompts)), (plain, Listed(prompts)))
    )
    assert len(found) == len(expected) == 12
    for name, completion in expected.items():
        other = found[name]
        assert (other.reasoning, other.text) == (completion.reasoning, completion.text)
        if running.backend.name != "llama.cpp":  # it tells text, and attends in half precision
            assert (other.finish, other.usage) == (completion.finish, completion.usage)
            assert completion.logprobs is not None
            assert other.logprobs == pytest.approx(completion.logprobs, abs=1e-3)


def test_vllm_draws_for_more_prompts_with_seeds_than_one_step_reads() -> None:
    """On a CPU it ended when a step cut such a prompt in two."""
    if find_vllm() is None:
        pytest.skip(f"vLLM is not installed, and {PROGRAM_VARIABLE} names none")
    rows = 200
    prompts = embedded_prompts("eval", rows, 0)
    with vllm_backend(rows) as backend:
        completer = BackendCompleter(backend, name="x", fingerprint="", rows=rows)
        answers = list(completer.complete(Listed(prompts), Sampling(seed=1, max_tokens=16)))
    assert {answer.request.prompt.id for answer in answers} == {one.id for one in prompts}
    assert all(answer.completion.usage.output_tokens for answer in answers)


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        (b"{", 400, "no valid JSON"),
        (b"\xff\xfe", 400, "no valid JSON"),
        (b"[" * 50_000, 400, "no valid JSON"),
        (b"[]", 400, "must be a JSON object"),
        ({"messages": []}, 400, "at least one message"),
        ({"messages": [{"role": "tool", "content": "x"}]}, 400, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 3}]}, 400, "messages[0].content"),
        ({"messages": [*ASKED, {"role": "assistant", "content": "x"}]}, 400, "nothing to answer"),
        ({"messages": ASKED, "n": 0}, 400, "n must be a whole number"),
        ({"messages": ASKED, "temperature": "hot"}, 400, "temperature must be a number"),
        ({"messages": ASKED, "top_p": 0}, 400, "top_p must be a number above 0"),
        ({"messages": ASKED, "max_tokens": 10**9}, 400, "max_tokens"),
        ({"messages": ASKED, "tools": [{}]}, 400, "tools is not supported"),
        ({"messages": ASKED, "flavour": 1}, 400, "unknown field flavour"),
        ({"messages": ASKED, "model": "gpt-4o"}, 404, "there is no model 'gpt-4o'"),
        ({"messages": [{"role": "user", "content": "x" * 200_000}]}, 413, ""),
        ({"messages": [{"role": "user", "content": "1 + 1 " * 9_000}]}, 400, ""),
    ],
)
def test_what_cannot_be_met_is_refused_by_name(
    running: Served, body: object, status: int, word: str
) -> None:
    found, answer = running.post(body)
    assert found == status, answer
    assert word in answer["error"]["message"]
    assert running.backend.running == 0


def test_a_neutral_value_of_an_unsupported_field_is_no_reason_to_refuse(running: Served) -> None:
    body = {"messages": ASKED, "max_tokens": 2, "frequency_penalty": 0, "tools": None, "user": "me"}
    assert running.post(body)[0] == 200


def test_a_wrong_key_is_refused_and_health_needs_none(running: Served) -> None:
    for key in ("", "wrong", KEY + "x"):
        status, answer = running.post({"messages": ASKED}, key=key)
        assert status == 401
        assert KEY not in json.dumps(answer)
    assert running.get("/health")[0] == 200
    assert running.get("/metrics")[0] == 200


def test_a_request_that_arrives_too_slowly_is_ended_and_others_are_not(running: Served) -> None:
    with running.connect() as slow:
        slow.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n"
            b"Authorization: Bearer " + KEY.encode() + b"\r\n\r\n{"
        )
        assert running.post({"messages": ASKED, "max_tokens": 3})[0] == 200
        assert b" 408 " in slow.recv(4096).partition(b"\r\n")[0]


def test_bytes_that_are_no_http_hurt_nobody(running: Served) -> None:
    with running.connect() as garbage:
        garbage.sendall(b"\x16\x03\x01\x02\x00garbage\r\n\r\n")
        assert b" 400 " in garbage.recv(4096).partition(b"\r\n")[0]
    assert running.post({"messages": ASKED, "max_tokens": 3})[0] == 200


def test_many_clients_at_once_of_whom_some_leave_lose_nothing(running: Served) -> None:
    count = 60 if running.backend.name == "own" else 20

    async def one(client: openai.AsyncOpenAI, number: int) -> str:
        is_stream = number % 2 == 0
        leaves = number % 10 == 0
        if not is_stream:
            reply = await client.chat.completions.create(
                model=MODEL, messages=ASKED, temperature=0, n=1 + number % 2
            )
            return str(reply.choices[-1].message.content)
        stream = await client.chat.completions.create(
            model=MODEL, messages=ASKED, temperature=0, stream=True
        )
        text = ""
        async for chunk in stream:
            text += chunk.choices[0].delta.content or ""
            if leaves:
                await stream.close()
                return "left"
        return text

    async def all_of_them() -> list[str]:
        client = openai.AsyncOpenAI(base_url=running.url, api_key=KEY, max_retries=0)
        places = asyncio.Semaphore(6)

        async def placed(number: int) -> str:
            async with places:
                return await one(client, number)

        async with client:
            return await asyncio.gather(*map(placed, range(count)))

    gc.disable()  # the server's threads would finalise what the clients' loop still reads
    try:
        answers = asyncio.run(all_of_them())
    finally:
        gc.enable()
    assert answers.count("left") == count // 10
    assert len({answer for answer in answers if answer != "left"}) == 1
    deadline = time.monotonic() + 60
    while running.figure("distill_open_completions") or running.figure(
        "distill_running_completions"
    ):
        assert time.monotonic() < deadline, "places were leaked"
        time.sleep(0.05)


def test_more_than_may_wait_are_told_to_come_back(running: Served) -> None:
    most = LIMITS.choices
    status, answer = running.post({"messages": ASKED, "n": most, "max_tokens": 1})
    assert status == 200
    assert len(answer["choices"]) == most
    status, answer = running.post({"messages": ASKED, "n": most + 1, "max_tokens": 1})
    assert status == 429
    assert f"{most} may be" in answer["error"]["message"]


class Stuck:
    """A back end that never draws a token."""

    name = "stuck"
    drawn_tokens = 0

    def __init__(self) -> None:
        self.running = 0
        self.broken = ""

    async def complete(self, request: object, choice: int) -> Any:
        del request, choice
        self.running += 1
        try:
            await asyncio.Event().wait()
            yield None
        finally:
            self.running -= 1

    def fault(self) -> str:
        return self.broken

    def close(self) -> None:
        pass


def test_health_means_that_tokens_are_advancing() -> None:
    stuck = Stuck()
    backend: Backend = stuck  # type: ignore[assignment]
    with served(backend, Limits(stall_seconds=0.2)) as found:
        assert found.get("/health")[0] == 200  # nobody waits for anything
        connection = found.connect()
        body = json.dumps({"messages": ASKED}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        connection.sendall(f"{head}Authorization: Bearer {KEY}\r\n\r\n".encode() + body)
        wait_for(lambda: found.get("/health")[0] == 503)
        assert found.get("/health")[1]["status"].startswith("no token for")
        connection.close()  # the client leaves, and its place is free
        wait_for(lambda: stuck.running == 0)
        wait_for(lambda: found.get("/health")[0] == 200)
        stuck.broken = "out of memory"
        status, answer = found.get("/health")
        assert (status, answer["status"]) == (503, "failed: out of memory")


def wait_for(is_so: Any) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)
