"""The yardstick: a bare aiohttp loop that asks, reads the answer's JSON, and does nothing else.

    python benchmarks/api_bare_loop.py URL REQUESTS [--stream]

With ``--stream`` it reads each event of a stream when it arrives, as the openai SDK does.

Prints one JSON object: rows, seconds, CPU seconds, peak resident memory.
"""

import asyncio
import json
import resource
import sys
import time
from itertools import count

import aiohttp

CONCURRENCY = 256


async def ask_all(
    url: str, texts: list[str], concurrency: int = CONCURRENCY, *, streams: bool = False
) -> int:
    """Ask every text once; the number of answers with a finish reason."""
    numbers = count()
    answered = 0

    async def work(session: aiohttp.ClientSession) -> None:
        nonlocal answered
        while (number := next(numbers)) < len(texts):
            message = {"role": "user", "content": texts[number]}
            body = {"model": "stub", "messages": [message], "stream": streams}
            async with session.post(f"{url}/chat/completions", json=body) as reply:
                if streams:
                    finish = await _read_stream(reply)
                else:
                    finish = json.loads(await reply.read())["choices"][0]["finish_reason"]
                answered += finish == "stop"  # no await in here: others count as well

    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(work(session) for _ in range(concurrency)))
    return answered


async def _read_stream(reply: aiohttp.ClientResponse) -> str:
    """The finish reason; the text is put together as well, for that is what a client is for."""
    text, finish = [], ""
    async for line in reply.content:
        if line.startswith(b"data:") and line[5:].strip() != b"[DONE]":
            for choice in json.loads(line[5:])["choices"]:
                text.append(choice["delta"].get("reasoning_content") or "")
                finish = choice["finish_reason"] or finish
    return finish if "".join(text) else ""


def main() -> None:
    """Measure one run, without the import of aiohttp."""
    url, requests = sys.argv[1], int(sys.argv[2])
    texts = [f"Problem {number}: what is {number} + 1?" for number in range(requests)]
    started, cpu = time.perf_counter(), time.process_time()
    rows = asyncio.run(ask_all(url, texts, streams="--stream" in sys.argv))
    figures = {
        "rows": rows,
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - cpu,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    json.dump(figures, sys.stdout)


if __name__ == "__main__":
    main()
