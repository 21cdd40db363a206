"""The stub does what it is told: otherwise what is measured on it says nothing."""

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.answers import Answers, gold_of, sum_prompt
from tests.servers.ledger import read_ledger
from tests.servers.running import Server, running_stub
from tests.servers.settings import Settings, read_settings


def ask(server: Server, number: int = 0, **more: object) -> tuple[int, bytes]:
    """Status and body of one request."""
    message = {"role": "user", "content": sum_prompt(number)[0]}
    body = json.dumps({"model": "stub", "messages": [message], **more}).encode()
    request = urllib.request.Request(f"{server.base_url}/chat/completions", body)
    try:
        with urllib.request.urlopen(request, timeout=5) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def events(body: bytes) -> Iterator[dict[str, Any]]:
    for line in body.split(b"\n"):
        if line.startswith(b"data: {"):
            yield json.loads(line[6:])


def streamed(body: bytes, name: str) -> str:
    deltas = (event["choices"][0]["delta"] for event in events(body) if event["choices"])
    return "".join(delta.get(name, "") for delta in deltas)


def test_pass_rates_follow_the_beta_distribution_and_draws_follow_the_pass_rates() -> None:
    answers = Answers(Settings(seed=3))
    texts = [sum_prompt(number)[0] for number in range(2000)]
    mean = sum(map(answers.pass_rate, texts)) / len(texts)
    assert mean == pytest.approx(0.8 / 1.3, abs=0.03)  # 4 standard errors
    covered = right = 0
    for text in texts:
        drawn = [gold_of(text) in answers.draw(text, ordinal).text for ordinal in range(8)]
        right += sum(drawn)
        covered += any(drawn)
    assert right / 16000 == pytest.approx(mean, abs=0.01)
    assert covered / 2000 == pytest.approx(0.908, abs=0.03)  # 1 - E[(1 - p)^8]


def test_a_prompt_has_one_text_and_its_sum() -> None:
    texts = {sum_prompt(number) for number in range(3000)}
    assert len({text for text, _ in texts}) == 3000
    assert all(gold_of(text) == gold for text, gold in texts)


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="latency"):
        read_settings('{"latency": 1}')
    with pytest.raises(ValueError, match="403"):
        read_settings('{"faults": {"403": 1}}')


def test_bodies_and_streams_hold_the_same_answers_and_the_ledger_counts_them(
    tmp_path: Path,
) -> None:
    ledger = tmp_path / "ledger"
    with running_stub(Settings(ledger=str(ledger), keep_alive=True)) as server:
        status, body = ask(server, n=2)
        assert status == 200
        assert body.startswith(b"\n")
        choices = json.loads(body)["choices"]
        assert len(choices) == 2
        assert len(choices[0]["message"]["reasoning_content"]) == 4096
        assert choices[0]["message"]["content"].startswith("The answer is \\boxed{")
        status, body = ask(server, stream=True)
        assert streamed(body, "reasoning_content") in {
            json.loads(ask(server, number)[1])["choices"][0]["message"]["reasoning_content"]
            for number in range(1, 60)
        }
        assert b": keep-alive\n" in body
        assert body.endswith(b"data: [DONE]\n\n")
        assert server.ledger()["answers_by_prompt"][sum_prompt(0)[0]] == 3
    assert [paid.answers for paid in read_ledger(ledger)] == [2, *[1] * 60]


def test_reasoning_stands_where_the_settings_say() -> None:
    for where, opening in (("think", "<think>\n"), ("think-unopened", "")):
        with running_stub(Settings(reasoning=where, reasoning_chars=50)) as server:  # type: ignore[arg-type]
            content = json.loads(ask(server)[1])["choices"][0]["message"]["content"]
            reasoning, closing, answer = content.partition("</think>")
            assert reasoning.startswith(opening)
            assert len(reasoning) == len(opening) + 51
            assert closing
            assert "boxed" in answer
            assert streamed(ask(server, stream=True)[1], "content").count("</think>") == 1


@pytest.mark.parametrize(
    ("fault", "stream"),
    [("cut", False), ("cut", True), ("half", False), ("empty", False), ("half", True)],
)
def test_a_broken_answer_is_paid_and_not_delivered(
    tmp_path: Path, fault: str, stream: bool
) -> None:
    ledger = tmp_path / "ledger"
    with running_stub(Settings(faults={fault: 1.0}, ledger=str(ledger))) as server:
        try:
            status, body = ask(server, stream=stream)
        except (http.client.IncompleteRead, ConnectionError):
            assert fault == "cut"
        else:
            assert fault != "cut"
            assert status == 200
            assert b"[DONE]" not in body
            with pytest.raises(ValueError, match=r"Expecting|Unterminated|Extra"):
                json.loads(body)
    assert [paid.delivered for paid in read_ledger(ledger)] == [False]


def test_refusals_are_not_paid(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    with running_stub(
        Settings(ledger=str(ledger), key="right", faults={"429": 1.0}, retry_after=2)
    ) as server:
        assert ask(server)[0] == 401
        connection = http.client.HTTPConnection("127.0.0.1", int(server.url.rpartition(":")[2]))
        asked = json.dumps({"model": "stub", "messages": [{"content": "1 + 1"}]})
        connection.request("POST", "/v1/chat/completions", asked, {"Authorization": "Bearer right"})
        reply = connection.getresponse()
        assert (reply.status, reply.headers["Retry-After"]) == (429, "2")
        connection.close()
        assert server.ledger()["counts"] == {"refused": 1, "429": 1}
    assert ledger.read_text() == ""
