"""Each failure is met in its own way, in the server's words."""

import json
import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from teachers.refusals import Action, backoff, classify, retry_after


@pytest.mark.parametrize(
    ("status", "action"),
    [
        (429, "wait"),
        (503, "wait"),
        (408, "wait"),
        (500, "retry"),
        (502, "retry"),
        (504, "retry"),
        (400, "stop"),
        (401, "stop"),
        (402, "stop"),
        (403, "stop"),
        (404, "stop"),
        (422, "stop"),
        (413, "give up"),
    ],
)
def test_what_a_status_means(status: int, action: Action) -> None:
    assert classify(status, {}, b"").action == action


def test_a_fault_of_one_prompt_does_not_stop_the_others() -> None:
    body = json.dumps({"error": {"code": "content_filter", "message": "no"}}).encode()
    assert classify(400, {}, body).action == "give up"


def test_an_empty_account_stops_even_where_it_looks_like_too_many_requests() -> None:
    body = json.dumps({"error": {"code": "insufficient_quota", "message": "pay"}}).encode()
    assert classify(429, {}, body).action == "stop"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": {"message": "no such key"}}', "401: no such key"),
        (b'{"error": "no such key"}', "401: no such key"),
        (b'{"detail": "no such key"}', "401: no such key"),
        (b'{"message": "no such key"}', "401: no such key"),
        (b"<h1>no such\n key</h1>", "401: <h1>no such key</h1>"),
        (b"", "401 without a word"),
        (b"\xff", "401: \ufffd"),
    ],
)
def test_the_servers_words_are_found_in_any_form(body: bytes, words: str) -> None:
    assert classify(401, {}, body).words == words


def test_what_a_server_asks_to_wait_is_read_in_each_form() -> None:
    assert retry_after({"retry-after": "3"}) == 3
    assert retry_after({"retry-after-ms": "250"}) == 0.25
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 25 < retry_after({"retry-after": date}) <= 30
    assert retry_after({"retry-after": "soon"}) == 0
    assert retry_after({"retry-after": "9999999"}) == 120
    assert retry_after({}) == 0


def test_waits_grow_with_jitter_and_never_undercut_the_server() -> None:
    rng = random.Random(0)
    for attempt in range(1, 12):
        wait = backoff(attempt, 0.0, rng)
        assert min(0.5 * 2**attempt, 60) / 2 <= wait <= 60
        assert backoff(attempt, 7.0, rng) >= 7.0
    assert len({backoff(3, 0.0, rng) for _ in range(10)}) == 10
