"""Running the server until it is told to end."""

import asyncio
import errno
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager

from aiohttp import web

from distill.errors import DistillError
from students.serve.app import StudentServer


async def run_server(
    server: StudentServer, host: str, port: int, *, on_ready: Callable[[str], None]
) -> None:
    """Serve until SIGTERM or Ctrl-C; requests under way are answered first.

    Args:
        server: What is served.
        host: Address to listen at.
        port: 0 for any that is free.
        on_ready: Called with the base URL once requests are taken.

    Raises:
        DistillError: If the port is taken, or the address is none of this machine.
    """
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    async with listening(server, host, port) as url:
        on_ready(url)
        await told.wait()
        await server.drain()


@contextmanager
def in_background(server: StudentServer) -> Iterator[str]:
    """Serve at a free port of this machine, on a thread, as long as the block; gives the base URL.

    Raises:
        DistillError: If no port can be had.
    """
    ready: Future[str] = Future()
    with asyncio.Runner() as runner:
        loop, told = runner.get_loop(), asyncio.Event()

        async def serve() -> None:
            try:
                async with listening(server, "127.0.0.1", 0) as url:
                    ready.set_result(url)
                    await told.wait()
            except DistillError as error:
                ready.set_exception(error)

        thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), name="server")
        thread.start()
        try:
            yield ready.result()
        finally:
            loop.call_soon_threadsafe(told.set)
            thread.join()


@asynccontextmanager
async def listening(server: StudentServer, host: str, port: int) -> AsyncIterator[str]:
    """Take requests as long as the block; gives the base URL, up to ``/v1``.

    Raises:
        DistillError: If the port is taken, or the address is none of this machine.
    """
    runner = web.AppRunner(server.app(), handler_cancellation=True, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise _refused(host, port, error) from error
        bound = runner.addresses[0][1]
        yield f"http://{f'[{host}]' if ':' in host else host}:{bound}/v1"
    finally:
        await runner.cleanup()


def _refused(host: str, port: int, error: OSError) -> DistillError:
    if error.errno == errno.EADDRINUSE:
        return DistillError(
            f"port {port} of {host} is in use", hint="choose another one: --port 0 takes any"
        )
    why = os.strerror(error.errno) if error.errno else str(error)
    return DistillError(
        f"cannot listen at {host}:{port}: {why}",
        hint="127.0.0.1 is this machine alone, 0.0.0.0 every network that it is in",
    )
