"""The window finds what a server takes; the rate keeps to a minute."""

import heapq
import random

import pytest

from teachers.pacing import Rate, Window


def simulate(capacity: int, limit: int, requests: int, latency: float = 1.0) -> tuple[float, int]:
    """A server that takes ``capacity`` at once and refuses the rest at once: time and refusals."""
    window, rng = Window(limit), random.Random(1)
    now, refused, done, to_send = 0.0, 0, 0, requests
    under_way: list[tuple[float, float]] = []  # end, sent
    waiting: list[float] = []
    while done < requests:
        room = window.room(len(under_way), now)
        while room and ((waiting and waiting[0] <= now) or to_send):
            if waiting and waiting[0] <= now:
                heapq.heappop(waiting)
            else:
                to_send -= 1
            room -= 1
            if len(under_way) >= capacity:
                refused += 1
                window.refused(now, 0.1, now)
                heapq.heappush(waiting, now + 0.1 + rng.random() * 0.05)
                room = min(room, window.room(len(under_way), now))
            else:
                heapq.heappush(under_way, (now + latency * rng.uniform(0.5, 1.5), now))
        ends = [under_way[0][0]] if under_way else []
        now = min([*ends, *(at for at in waiting[:1] if at > now)], default=now + 0.01)
        while under_way and under_way[0][0] <= now:
            heapq.heappop(under_way)
            window.accepted(len(under_way))
            done += 1
    return now, refused


def test_a_server_that_takes_fewer_than_allowed_is_kept_busy_with_few_refusals() -> None:
    seconds, refused = simulate(capacity=64, limit=256, requests=10_000)
    assert refused <= 200 * 10
    assert 10_000 / 64 / seconds >= 0.8


def test_a_server_that_takes_all_is_used_to_the_limit() -> None:
    seconds, refused = simulate(capacity=10_000, limit=256, requests=10_000)
    assert refused == 0
    assert 10_000 / 256 / seconds >= 0.8


def test_the_window_stays_between_one_and_its_limit() -> None:
    window = Window(4)
    for _ in range(100):
        window.accepted(3)
    assert window.size == 4
    for moment in range(500):
        window.refused(float(moment), 0.0, moment + 0.5)
    assert window.size == 1


def test_refusals_of_one_moment_shrink_the_window_once() -> None:
    window = Window(100)
    before = window.size
    sizes = set()
    for _ in range(20):
        window.refused(1.0, 0.0, 2.0)
        sizes.add(window.size)
    assert len(sizes) == 2
    assert before * 0.9 < window.size < before


def test_refusals_that_have_nothing_to_do_with_the_load_leave_the_window_open() -> None:
    window, rng = Window(256), random.Random(2)
    for moment in range(20_000):
        if rng.random() < 0.03:
            window.refused(float(moment), 0.0, moment + 0.5)
        else:
            window.accepted(int(window.size) - 1)
    assert window.size > 128


def test_nothing_is_sent_for_as_long_as_a_server_asks_that_takes_nothing() -> None:
    window = Window(8)
    for _ in range(9):
        window.refused(1.0, 30.0, 2.0)
    assert window.room(0, 31.9) == 0
    assert window.pause_left(12.0) == pytest.approx(20.0)
    assert window.room(0, 32.1) > 0


def test_requests_of_a_minute_are_counted() -> None:
    rate = Rate(requests=3)
    for second in (0.0, 1.0, 2.0):
        assert rate.room(0, second) >= 1
        rate.sent(second)
    assert rate.room(0, 3.0) == 0
    assert rate.room(0, 60.5) == 1


def test_tokens_of_a_minute_count_with_what_is_under_way() -> None:
    rate = Rate(tokens=1000)
    assert rate.room(0, 0.0) == float("inf")
    rate.answered(100, 0.0)
    assert rate.room(4, 1.0) == pytest.approx(5.0)
    assert rate.room(20, 1.0) == 0
    assert rate.room(0, 61.0) == pytest.approx(10.0)
