"""Workers: warm, killed from outside, replaced, and not shared with a forked child."""

import asyncio
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from distill.types import Completion, Prompt
from distill.verify import algebra
from distill.verify.answer import AnswerVerifier
from distill.verify.keeper import WAIT_FACTOR
from distill.verify.pool import WorkerPool

LATEST_SECONDS = 60.0
"""When a busy machine has judged, too; the true times are those of benchmarks/verify_answers.py."""

HANGING = "x^{9^{9^{9^{9}}}} + 1000000!"


def load_test_work(_: object) -> Callable[[str], object]:
    """What the pool under test runs."""

    def work(what: str) -> object:
        if what == "hang":
            while True:
                pass
        if what in {"nap", "sleep"}:
            time.sleep(0.6 if what == "nap" else 60)
        if what == "compute":
            end = time.process_time() + 0.12
            while time.process_time() < end:
                pass
        if what == "memory":
            return len(bytearray(1 << 32))
        if what == "die":
            os._exit(1)
        return [what, os.getpid()]

    return work


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(
        f"{__name__}:load_test_work" if "." in __name__ else "test_pool:load_test_work",
        seconds=0.3,
        memory_bytes=1 << 28,
        workers=2,
    ) as made:
        yield made


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker finds this file by its name."""
    monkeypatch.syspath_prepend(os.path.dirname(__file__))  # noqa: PTH120


def test_a_worker_stays_warm(pool: WorkerPool) -> None:
    first, second = pool.ask("a"), pool.ask("b")
    assert (first.status, first.value[0], second.value[0]) == ("done", "a", "b")
    assert first.value[1] == second.value[1] != os.getpid()


def test_what_hangs_is_killed_at_the_limit_and_the_pool_goes_on(pool: WorkerPool) -> None:
    pool.ask("warm")
    start = time.monotonic()
    assert pool.ask("hang").status == "timeout"
    assert 0.3 <= time.monotonic() - start < LATEST_SECONDS
    assert pool.ask("after").value[0] == "after"


def test_what_waits_may_take_longer_than_what_computes(pool: WorkerPool) -> None:
    assert pool.ask("nap").value[0] == "nap"  # longer than the limit, without computing
    start = time.monotonic()
    assert pool.ask("sleep").status == "timeout"
    assert 0.3 * WAIT_FACTOR <= time.monotonic() - start < LATEST_SECONDS
    assert pool.ask("after").value[0] == "after"


def test_what_others_do_with_the_processor_does_not_count(pool: WorkerPool) -> None:
    """Four processes share each core: by the clock, the work takes longer than its limit."""
    busy = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(3 * (os.cpu_count() or 1))
    ]
    try:
        assert [pool.ask("compute").status for _ in range(3)] == ["done"] * 3
    finally:
        for process in busy:
            process.kill()
            process.wait()


def test_what_takes_too_much_memory_or_dies_is_lost_and_the_pool_goes_on(pool: WorkerPool) -> None:
    for what in ("memory", "die"):
        assert pool.ask(what).status == "lost"
        assert pool.ask("after").value[0] == "after"


def test_threads_share_the_workers(pool: WorkerPool) -> None:
    with ThreadPoolExecutor(8) as threads:
        replies = list(threads.map(pool.ask, [str(number) for number in range(40)]))
    assert [reply.value[0] for reply in replies] == [str(number) for number in range(40)]
    assert len({reply.value[1] for reply in replies}) <= 2


def test_a_closed_pool_starts_anew(pool: WorkerPool) -> None:
    first = pool.ask("a")
    pool.close()
    assert pool.ask("b").value[0] == "b"
    assert pool.ask("b").value[1] != first.value[1]


def test_work_that_cannot_be_loaded_is_broken_with_its_reason() -> None:
    with WorkerPool("no_such_module:load", seconds=1, workers=1) as made:
        reply = made.ask("a")
    assert (reply.status, reply.value) == ("broken", "No module named 'no_such_module'")


SUM = r"\sum_{k=1}^{n} k", r"\frac{n(n+1)}{2}"
"""A pair that only computer algebra decides."""


def verify_sum(number: int = 1) -> bool | None:
    """Judge it afresh; the number keeps the memo out of it."""
    gold, answer = SUM[0] + f"+{number}", SUM[1] + f"+{number}"
    prompt = Prompt("p", "?", answer=gold)
    return AnswerVerifier().verify(prompt, Completion(rf"\boxed{{{answer}}}")).is_accepted


def _verify_in_child(queue: "multiprocessing.Queue[object]", number: int) -> None:
    queue.put((verify_sum(number), os.getpid()))


@pytest.fixture
def patient_pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """For tests that are not about the limit, on a machine of any speed."""
    load, memory_bytes = "distill.verify.algebra:load", algebra.MEMORY_BYTES
    with WorkerPool(load, seconds=LATEST_SECONDS, memory_bytes=memory_bytes) as pool:
        monkeypatch.setattr(algebra, "shared_pool", lambda: pool)
        yield


@pytest.mark.usefixtures("patient_pool")
def test_verifying_works_from_threads() -> None:
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(verify_sum, range(2, 8))) == [True] * 6


@pytest.mark.usefixtures("patient_pool")
def test_verifying_works_beside_asyncio() -> None:
    async def both() -> tuple[list[bool | None], int]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.001)

        clock = asyncio.create_task(tick())
        verdicts = await asyncio.gather(*(asyncio.to_thread(verify_sum, n) for n in range(10, 13)))
        clock.cancel()
        return list(verdicts), ticks

    verdicts, ticks = asyncio.run(both())
    assert verdicts == [True] * 3
    assert ticks > 0


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_verifying_works_in_a_child_process(method: str) -> None:
    assert verify_sum(20) is True  # the parent has a worker, which the child must leave alone
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=_verify_in_child, args=(queue, 21))
    child.start()
    is_accepted, pid = queue.get(timeout=60)
    child.join(timeout=10)
    assert (is_accepted, child.exitcode) == (True, 0)
    assert pid != os.getpid()
    assert verify_sum(22) is True


def test_a_fork_while_another_thread_holds_the_pool_does_not_hang() -> None:
    shared = algebra.shared_pool()
    held = threading.Event()
    done = threading.Event()

    def hold() -> None:
        with shared._changed:
            held.set()
            done.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if verify_sum(30) else 1)
    _, status = os.waitpid(pid, 0)
    done.set()
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 0


@pytest.mark.parametrize(
    "text",
    [
        "9^9^9^9",
        "9^{9^{9^{9}}}",
        "1000000!",
        "((1000000!)!)!",
        HANGING,
        "(" * 5000 + "1" + ")" * 5000,
        "{" * 5000 + "1" + "}" * 5000,
        r"\sqrt{" * 100 + "2" + "}" * 100,
        r"\frac{1}{" * 60 + "x" + "}" * 60,
        "x^" * 200 + "x",
        "1+" * 150 + "x",
        "(1,2)," * 3000 + "3",
        "(x+1)^{100000}",
        r"\sum_{k=1}^{10^{12}} \frac{1}{k!}",
        "x" * 1_000_000,
        "1," * 500_000,
        "|" * 300,
        r"\binom{10^9}{10^8}",
        "10^{-10^{10}}",
        "a " * 400_000,
        r"\pm" * 200,
    ],
    ids=lambda text: text[:16],
)
def test_an_answer_meant_to_hang_is_judged_within_the_limit(text: str) -> None:
    verify_sum(40)  # the time is that of judging, not of starting
    start = time.monotonic()
    prompt = Prompt("p", "?", answer="x+7")
    verdict = AnswerVerifier().verify(prompt, Completion(rf"\boxed{{{text}}}"))
    assert time.monotonic() - start < LATEST_SECONDS
    assert verdict.is_accepted is not True
    assert verify_sum(41) is True
