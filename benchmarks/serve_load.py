"""200 requests to a served student, 32 at once, half streams, a tenth broken off by the client.

    python benchmarks/serve_load.py [--requests 200] [--at-once 32] [--model FOLDER_OR_GGUF]

Prints answers lost, places leaked, and the memory of the server before, half-way and after, and
sends garbage, huge and slow requests in between.

Expected before the first measurement: nothing lost, nothing leaked, memory within 5 % of what it
was after warming up, 400, 413 and 408 for the three.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import results_file

from students.load import EMBEDDED

_BODY = {"messages": [{"role": "user", "content": "What is 3 + 4?"}], "temperature": 0}


async def ask(session: aiohttp.ClientSession, url: str, number: int) -> str:
    """One request: ``"answered"``, ``"left"`` or what went wrong."""
    body: dict[str, Any] = {**_BODY, "stream": number % 2 == 0, "n": 1 + number % 3}
    async with session.post(f"{url}/chat/completions", json=body) as answer:
        if number % 10 == 0:
            await answer.content.readany()
            answer.close()
            return "left"
        text = await answer.text()
    if answer.status != 200:  # noqa: PLR2004 - of HTTP
        return f"status {answer.status}"
    ended = text.count('"finish_reason": "stop"')
    return "answered" if ended == body["n"] else f"{ended} of {body['n']} choices"


async def disturb(session: aiohttp.ClientSession, url: str) -> dict[str, int]:
    """Status of a broken, a huge and a slow request."""
    found = {}
    for name, data in (("garbage", b"{"), ("huge", b"x" * 20_000_000)):
        async with session.post(f"{url}/chat/completions", data=data) as answer:
            found[name] = answer.status

    async def slowly() -> Any:  # noqa: ANN401 - a generator of bytes
        yield b"{"
        await asyncio.sleep(45)
        yield b"}"

    async with session.post(f"{url}/chat/completions", data=slowly()) as answer:
        found["slow"] = answer.status
    return found


async def measure(url: str, pid: int, requests: int, at_once: int) -> dict[str, Any]:
    """Ask, and look at the server's memory and metrics."""
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=600)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        places = asyncio.Semaphore(at_once)

        async def placed(number: int) -> str:
            async with places:
                return await ask(session, url, number)

        await asyncio.gather(*(placed(number + 1) for number in range(at_once)))  # warm
        memory = [resident_mib(pid)]
        disturbing = asyncio.create_task(disturb(session, url))
        started = time.monotonic()
        outcomes: list[str] = []
        for half in range(2):
            numbers = range(half * requests // 2, (half + 1) * requests // 2)
            outcomes += await asyncio.gather(*map(placed, numbers))
            memory.append(resident_mib(pid))
        seconds = time.monotonic() - started
        refused = await disturbing
        await asyncio.sleep(1)
        async with session.get(f"{url.removesuffix('/v1')}/metrics") as answer:
            lines = [line.split() for line in (await answer.text()).splitlines()]
        figures = {line[0]: float(line[1]) for line in lines if len(line) == 2}  # noqa: PLR2004
    return {
        "requests": requests,
        "at_once": at_once,
        "outcomes": {name: outcomes.count(name) for name in sorted(set(outcomes))},
        "lost": sum(one not in {"answered", "left"} for one in outcomes),
        "leaked": figures["distill_open_completions"] + figures["distill_running_completions"],
        "refused_with": refused,
        "memory_mib": memory,
        "requests_per_second": round(requests / seconds, 1),
    }


def resident_mib(pid: int) -> int:
    """Resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    (line,) = [line for line in lines if line.startswith("VmRSS")]
    return int(line.split()[1]) // 1024


def main() -> None:
    """Start the server, measure, end it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--model", default=str(EMBEDDED))
    given = parser.parse_args()
    command = [sys.executable, "-m", "distill", "serve", given.model, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = next(line for line in process.stderr if " at http" in line)
        url = line.split(" at ")[1].split()[0]
        try:
            found = asyncio.run(measure(url, process.pid, given.requests, given.at_once))
        finally:
            process.terminate()
    found["model"] = Path(given.model).name
    print(json.dumps(found, indent=1))
    results_file.write("serve_load", found)


if __name__ == "__main__":
    main()
