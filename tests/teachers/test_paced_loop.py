"""The loop reads what arrives within a few milliseconds in one go, and is in time all the same."""

import asyncio
import socket
import threading
import time

from teachers.paced_loop import paced_loop

PIECES = 200


async def reads_of(near: socket.socket, far: socket.socket) -> list[bytes]:
    """What each read brings while somebody sends a piece every half millisecond."""

    def send() -> None:
        for _ in range(PIECES):
            far.send(b"x")
            time.sleep(0.0005)
        far.close()

    reader, writer = await asyncio.open_connection(sock=near)
    sender = threading.Thread(target=send)
    sender.start()
    reads = []
    while data := await reader.read(1000):
        reads.append(data)
    sender.join()
    writer.close()
    return reads


def test_what_arrives_within_a_moment_is_read_in_one_go() -> None:
    near, far = socket.socketpair()
    with asyncio.Runner(loop_factory=paced_loop) as runner:
        reads = runner.run(reads_of(near, far))
    assert b"".join(reads) == b"x" * PIECES
    assert len(reads) < PIECES / 2


def test_a_timer_and_another_thread_are_heard_in_time() -> None:
    async def both() -> tuple[float, float]:
        start = time.monotonic()
        await asyncio.sleep(0.05)
        slept = time.monotonic() - start
        start = time.monotonic()
        await asyncio.to_thread(lambda: None)
        return slept, time.monotonic() - start

    with asyncio.Runner(loop_factory=paced_loop) as runner:
        slept, heard = runner.run(both())
    assert 0.05 <= slept < 1.0
    assert heard < 1.0
