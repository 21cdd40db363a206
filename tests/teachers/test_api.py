"""What the user of an endpoint meets: each mistake has one clear message and loses nothing."""

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from distill.allowance import Wait
from distill.journal import Journal
from distill.sampling import sample_prompts
from distill.schedule import SamplingPlan
from distill.types import Prompt, Sampling, Usage
from distill.verify.answer import AnswerVerifier
from teachers.api import ApiTeacher
from teachers.connection import Connection
from tests.conftest import RunDistill
from tests.servers.recipes import stored_traces, write_recipe, write_sums
from tests.servers.running import running_stub
from tests.servers.settings import Settings

KEY = "sk-canary-5f1c9e"


def lines_of(stderr: str) -> str:
    return " ".join(stderr.split())


def generate(
    run_distill: RunDistill, folder: Path, base_url: str, *more: str, **options: Any
) -> Any:
    count = options.pop("count", 8)
    write_sums(folder / "prompts.jsonl", count)
    recipe = write_recipe(
        folder,
        base_url=base_url,
        teacher=options.pop("teacher", ()),
        generate=options.pop("generate", ()),
    )
    return run_distill("generate", recipe, *more, cwd=folder, **options)


@pytest.mark.parametrize(
    ("refuses", "words"),
    [
        (401, "401: Authentication Fails"),
        (402, "402: Insufficient Balance"),
        (400, "400: max_tokens must be at most 8192"),
        (404, "404: The model does not exist"),
    ],
)
def test_what_stops_every_request_stops_the_run_in_the_servers_words(
    refuses: int, words: str, run_distill: RunDistill, tmp_path: Path
) -> None:
    with running_stub(Settings(refuses=refuses)) as server:
        shown = generate(run_distill, tmp_path, server.base_url)
        refused = server.ledger()["counts"]["refused"]
    assert shown.returncode == 9
    assert words in lines_of(shown.stderr)
    assert server.base_url in shown.stderr
    assert "Traceback" not in shown.stderr
    assert refused <= 4  # the canary's first ones, nothing after them


def test_a_wrong_model_is_answered_with_those_that_there_are(
    run_distill: RunDistill, tmp_path: Path
) -> None:
    with running_stub(Settings()) as server:
        shown = generate(run_distill, tmp_path, server.base_url, teacher=['model = "stab"'])
    assert shown.returncode == 9
    assert "404: The model `stab` does not exist." in shown.stderr
    assert "It has the models: stub" in lines_of(shown.stderr)


def test_a_server_that_is_not_there_is_named(run_distill: RunDistill, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        shown = generate(run_distill, tmp_path, url)
    assert shown.returncode == 9
    assert "cannot reach 127.0.0.1" in shown.stderr
    assert "Is the server running" in shown.stderr


def test_a_missing_key_names_its_variable(run_distill: RunDistill, tmp_path: Path) -> None:
    shown = generate(
        run_distill,
        tmp_path,
        "https://api.deepseek.com/v1",
        teacher=['endpoint = "deepseek"', 'model = "deepseek-flash"'],
        env={"DEEPSEEK_API_KEY": ""},
    )
    assert shown.returncode == 9
    assert "DEEPSEEK_API_KEY is not set" in shown.stderr
    assert "export DEEPSEEK_API_KEY=" in shown.stderr


@pytest.mark.parametrize(
    ("teacher", "words"),
    [
        (
            ['endpoint = "deepseek"', 'model = "deepseek-reasoner"'],
            "'deepseek-reasoner' was retired on 2026-07-24 Its successor: deepseek-v4-pro",
        ),
        (['endpoint = "deepsek"', 'model = "x"'], "did you mean 'deepseek'?"),
        (['endpoint = "azure"', 'model = "x"'], "teacher.base_url: missing"),
        (['model = "x"'], "teacher.base_url: missing"),
        (
            ['model = "x"', 'base_url = "http://me:secret@host/v1"'],
            "holds a user name or a password",
        ),
        (
            ['model = "x"', 'base_url = "http://h/v1"', "thinking = true"],
            "has no known switch for it",
        ),
        (
            ['endpoint = "deepseek"', 'model = "deepseek-flash"', 'reasoning_effort = "medium"'],
            "endpoint 'deepseek' has low, high, max",
        ),
        (
            ['model = "x"', 'base_url = "http://h/v1"', "override = {consurrency = 3}"],
            "teacher.override.consurrency: unknown field; did you mean 'concurrency'?",
        ),
        (
            ['model = "x"', 'base_url = "http://h/v1"', 'override = {concurrency = "3"}'],
            "teacher.override.concurrency: found '3'",
        ),
    ],
)
def test_a_mistake_in_the_teachers_table_is_named(
    teacher: list[str], words: str, run_distill: RunDistill, tmp_path: Path
) -> None:
    shown = generate(run_distill, tmp_path, "", teacher=teacher, env={"DEEPSEEK_API_KEY": KEY})
    assert shown.returncode == 2
    assert words in lines_of(shown.stderr)
    assert "secret" not in shown.stderr


def test_the_key_is_in_no_artefact(run_distill: RunDistill, tmp_path: Path) -> None:
    teacher = ['model = "stub"', 'key_variable = "MY_KEY"']
    with running_stub(Settings(key=KEY)) as server:
        good = generate(
            run_distill, tmp_path, server.base_url, "--json", teacher=teacher, env={"MY_KEY": KEY}
        )
    assert good.returncode == 0, good.stderr
    with running_stub(Settings(key="another")) as server:
        bad = generate(
            run_distill,
            tmp_path,
            server.base_url,
            "--run-dir",
            "other",
            teacher=teacher,
            env={"MY_KEY": KEY},
        )
    assert bad.returncode == 9
    assert "Is the key in MY_KEY right?" in bad.stderr
    shown = good.stdout + good.stderr + bad.stdout + bad.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 6
    assert KEY not in shown
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_a_key_that_a_server_repeats_is_blotted_out() -> None:
    connection = Connection("x", "http://x", headers={"Authorization": KEY}, secrets=(KEY,))
    assert KEY not in connection.without_secrets(f"Incorrect API key provided: {KEY}")
    assert KEY not in repr(connection)


def test_a_teacher_that_does_not_reason_is_noticed_before_the_rest_is_paid_for(
    run_distill: RunDistill, tmp_path: Path
) -> None:
    with running_stub(Settings(reasoning="none")) as server:
        shown = generate(run_distill, tmp_path, server.base_url, count=500)
        paid = server.ledger()["counts"]["paid"]
        assert shown.returncode == 9
        assert "does not reason: the first 3 answers hold no reasoning" in lines_of(shown.stderr)
        assert "teacher.expects_reasoning = false" in lines_of(shown.stderr)
        assert paid <= 6
        stored = stored_traces(tmp_path / "runs/asked")
        assert len(stored.records) == paid  # what was paid for is kept
        more = ['model = "stub"', "expects_reasoning = false"]
        shown = generate(run_distill, tmp_path, server.base_url, count=500, teacher=more)
    assert shown.returncode == 0, shown.stderr


@pytest.mark.parametrize("honours_n", [True, False])
@pytest.mark.parametrize("streams", [True, False])
def test_samples_asked_for_at_once_are_filled_up_where_the_server_sends_fewer(
    honours_n: bool, streams: bool, run_distill: RunDistill, tmp_path: Path
) -> None:
    teacher = ['model = "stub"', "choices_per_call = 3", f"stream = {str(streams).lower()}"]
    with running_stub(Settings(honours_n=honours_n)) as server:
        shown = generate(
            run_distill, tmp_path, server.base_url, teacher=teacher, generate=["samples = 3"]
        )
        counts = server.ledger()["counts"]
    assert shown.returncode == 0, shown.stderr
    stored = stored_traces(tmp_path / "runs/asked")
    assert len(stored.records) == 24
    assert counts["paid"] == 24
    tokens = [record["trace"]["completion"]["usage"]["output_tokens"] for record in stored.records]
    assert all(tokens)


@pytest.mark.parametrize("form", ["reasoning_content", "reasoning", "think", "think-unopened"])
@pytest.mark.parametrize("streams", [True, False])
def test_reasoning_is_stored_wherever_the_server_puts_it(
    form: Any, streams: bool, run_distill: RunDistill, tmp_path: Path
) -> None:
    settings = Settings(reasoning=form, keep_alive=True, sends_done=not streams, writes=5)
    teacher = ['model = "stub"', f"stream = {str(streams).lower()}"]
    with running_stub(settings) as server:
        shown = generate(run_distill, tmp_path, server.base_url, teacher=teacher)
    assert shown.returncode == 0, shown.stderr
    for record in stored_traces(tmp_path / "runs/asked").records:
        completion = record["trace"]["completion"]
        assert len(completion["reasoning"]) > 3000
        assert "think>" not in completion["text"] + completion["reasoning"]
        assert "boxed" in completion["text"]


def test_spending_stops_at_the_budget_across_resumes(
    run_distill: RunDistill, tmp_path: Path
) -> None:
    teacher = [
        'model = "stub"',
        "concurrency = 4",
        "price = {input_usd = 0.0, output_usd = 1000.0}",
    ]
    usd = []
    with running_stub(Settings(latency_seconds=0.01)) as server:
        for budget in ("20", "20", "40"):
            shown = generate(
                run_distill,
                tmp_path,
                server.base_url,
                "--budget-usd",
                budget,
                count=200,
                teacher=teacher,
            )
            assert shown.returncode == 10, shown.stderr
            assert f"of {budget} USD are spent" in shown.stderr
            stored = stored_traces(tmp_path / "runs/asked").records
            usd.append(sum(record["trace"]["receipt"]["usd"] for record in stored))
    one = usd[0] / 20
    assert usd[0] + 4 * one >= 20
    assert usd[0] <= 20 + 4 * one
    assert usd[1] == pytest.approx(usd[0])  # nothing more was asked
    assert usd[2] <= 40 + 4 * one


def test_tokens_and_time_have_limits_too(run_distill: RunDistill, tmp_path: Path) -> None:
    with running_stub(Settings(latency_seconds=0.05)) as server:
        shown = generate(
            run_distill, tmp_path, server.base_url, "--budget-tokens", "10K", count=300
        )
        assert shown.returncode == 10
        assert "of 10,000 tokens are spent" in shown.stderr
        shown = generate(run_distill, tmp_path, server.base_url, "--deadline", "1s", count=2000)
    assert shown.returncode in (4, 10)  # 4: the prompts are others


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--budget-usd", "3", "needs a price, and none is known"),
        ("--budget-tokens", "many", "this is no number of tokens"),
        ("--deadline", "soon", "this is neither a span nor a moment"),
        ("--deadline", "2020-01-01", "that is over"),
    ],
)
def test_a_limit_that_cannot_be_kept_is_refused_before_anything_is_asked(
    option: str, value: str, words: str, run_distill: RunDistill, tmp_path: Path
) -> None:
    with running_stub(Settings()) as server:
        shown = generate(run_distill, tmp_path, server.base_url, option, value)
        assert not server.ledger()["counts"]
    assert shown.returncode == 2
    assert words in shown.stderr


def test_an_unknown_price_is_unknown_and_never_nothing(
    run_distill: RunDistill, tmp_path: Path
) -> None:
    with running_stub(Settings()) as server:
        shown = generate(run_distill, tmp_path, server.base_url, "--json")
    assert json.loads(shown.stdout)["stages"]["generate"]["usd"] is None


def test_a_pilot_is_the_beginning_of_the_run(run_distill: RunDistill, tmp_path: Path) -> None:
    with running_stub(Settings()) as server:
        shown = generate(run_distill, tmp_path, server.base_url, "--pilot", "5", count=30)
        assert shown.returncode == 0, shown.stderr
        assert server.ledger()["counts"]["paid"] == 5
        assert "distill plan" in shown.stdout
        shown = generate(run_distill, tmp_path, server.base_url, count=30)
        assert shown.returncode == 0, shown.stderr
        assert server.ledger()["counts"]["paid"] == 30


def test_answers_of_another_run_are_not_paid_for_again(
    run_distill: RunDistill, tmp_path: Path
) -> None:
    with running_stub(Settings()) as server:
        shown = generate(run_distill, tmp_path, server.base_url, count=20)
        assert shown.returncode == 0, shown.stderr
        more = ["--reuse", "runs/asked", "--run-dir"]
        shown = generate(
            run_distill, tmp_path, server.base_url, *more, "x", count=30, generate=["samples = 2"]
        )
        assert shown.returncode == 4
        assert "max_tokens was 4096, is 32768" in shown.stderr
        same = ["samples = 2", "max_tokens = 4096"]
        shown = generate(
            run_distill, tmp_path, server.base_url, *more, "more", count=30, generate=same
        )
        assert shown.returncode == 0, shown.stderr
        assert server.ledger()["counts"]["paid"] == 60
    assert "reused 20 traces of 20 prompts" in shown.stderr
    assert len(set(stored_traces(tmp_path / "more").keys)) == 60


def test_ctrl_c_waits_for_what_is_under_way_and_a_second_one_leaves(tmp_path: Path) -> None:
    write_sums(tmp_path / "prompts.jsonl", 200)
    with running_stub(Settings(latency_seconds=1.0, latency_sigma=0.05)) as server:
        recipe = write_recipe(
            tmp_path, base_url=server.base_url, teacher=['model = "stub"', "stream = false"]
        )
        for signals, lost in ((1, False), (2, True)):
            before = server.ledger()["counts"].get("paid", 0)
            process = subprocess.Popen(
                [sys.executable, "-m", "distill", "generate", recipe],
                cwd=tmp_path,
                stderr=subprocess.PIPE,
                text=True,
            )
            deadline = time.monotonic() + 20
            while server.ledger()["counts"].get("paid", 0) == before:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            time.sleep(0.3)
            for _ in range(signals):
                process.send_signal(signal.SIGINT)
                time.sleep(0.2)
            _, shown = process.communicate(timeout=20)
            assert process.returncode == 130
            assert "Ctrl-C again leaves them" in shown
            stored = len(stored_traces(tmp_path / "runs/asked").records)
            log = (tmp_path / "runs/asked/requests.jsonl").read_text().splitlines()
            asked = sum(len(json.loads(line)["samples"]) for line in log)
            assert (stored < asked) == lost, (stored, asked)


def test_what_fails_for_good_is_listed_and_the_exit_code_says_so(
    run_distill: RunDistill, tmp_path: Path
) -> None:
    teacher = ['model = "stub"', "attempts = 2"]
    with running_stub(Settings(broken_share=0.05, seed=3)) as server:
        shown = generate(run_distill, tmp_path, server.base_url, count=200, teacher=teacher)
        assert shown.returncode == 11, shown.stderr
        failed = [
            record
            for record in stored_traces(tmp_path / "runs/asked").records
            if record["trace"]["completion"]["finish"] == "error"
        ]
        assert 0 < len(failed) < 20
        assert f"{len(failed)} x" in shown.stdout
        assert "500: the server had an error (after 2 attempts)" in shown.stdout
        assert "--reuse runs/asked" in shown.stdout
        paid = server.ledger()["counts"]["paid"]
    with running_stub(Settings()) as server:
        more = ["--run-dir", "again", "--reuse", "runs/asked"]
        shown = generate(run_distill, tmp_path, server.base_url, *more, count=200, teacher=teacher)
        assert shown.returncode == 0, shown.stderr
        assert server.ledger()["counts"]["paid"] == len(failed)
    assert paid == 200 - len(failed)


def test_a_server_that_goes_away_does_not_drain_the_prompts(tmp_path: Path) -> None:
    write_sums(tmp_path / "prompts.jsonl", 3000)
    with running_stub(Settings(latency_seconds=0.02)) as server:
        teacher = ['model = "stub"', "concurrency = 16", "attempts = 3"]
        recipe = write_recipe(tmp_path, base_url=server.base_url, teacher=teacher)
        process = subprocess.Popen(
            [sys.executable, "-m", "distill", "generate", recipe],
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + 20
        while server.ledger()["counts"].get("paid", 0) < 30:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    _, shown = process.communicate(timeout=60)
    assert process.returncode == 7, shown
    assert "cannot reach" in shown
    stored = len(stored_traces(tmp_path / "runs/asked").records)
    log = (tmp_path / "runs/asked/requests.jsonl").read_text().splitlines()
    asked = sum(len(json.loads(line)["samples"]) for line in log)
    assert asked <= stored + 32  # no more than was under way


class Pausing:
    """Says to wait at first, as before the off-peak hours."""

    def __init__(self) -> None:
        self.opens = 0.0
        self.refusals = 0

    def refusal(self, *, in_flight: int) -> Wait | None:
        self.opens = self.opens or time.monotonic() + 1.0
        left = self.opens - time.monotonic()
        self.refusals += left > 0
        return Wait(left, "for the off-peak price") if left > 0 else None

    def room(self, *, in_flight: int) -> int | None:
        return None

    def add(self, usage: Usage, usd: float | None, *, unanswered: int = 0) -> None:
        """Nothing is counted."""


def test_a_run_that_has_to_wait_goes_on_by_itself(tmp_path: Path) -> None:
    prompts = [Prompt(f"p{number}", f"What is {number}?", "1") for number in range(5)]
    allowance = Pausing()
    with running_stub(Settings()) as server, Journal.open(tmp_path / "t.jsonl") as journal:
        teacher = ApiTeacher(Connection("x", f"{server.base_url}/chat/completions"), "stub")
        outcome = sample_prompts(
            prompts,
            teacher,
            AnswerVerifier(),
            sampling=Sampling(),
            plan=SamplingPlan(2),
            journal=journal,
            stage="generate",
            allowance=allowance,
        )
    assert outcome.samples == 10
    assert outcome.seconds >= 1.0
    assert 0 < allowance.refusals < 10  # it sleeps, and does not spin
