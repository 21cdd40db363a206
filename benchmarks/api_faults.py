"""What becomes of answers when the endpoint fails, refuses, or cuts every answer off.

    python benchmarks/api_faults.py [--rows 10000]

Three runs against the stub, whose ledger says what was paid:

- 20 % of the requests end in 429, 500, a cut connection, a hang, half a JSON or nothing, in equal
  shares; 0.2 % of the prompts always get 500. Every prompt must end as an answer or as a listed
  failure.
- The server takes 64 requests at once, the client would send 256.
- The token limit cuts every answer. Each must be paid for once.

Expected before the first measurement: nothing missing; 50 answers 429 per 1,000 and 0.85 of the
ideal time under the limit; exactly one paid answer for a cut sample.
"""

import argparse
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import results_file
from api_measuring import Bar, Ran, at_least, at_most, new_folder, run_generate

from tests.servers.answers import Answers, sum_prompt
from tests.servers.ledger import read_ledger
from tests.servers.recipes import stored_traces
from tests.servers.running import running_stub
from tests.servers.settings import FAULTS, Settings

PATIENCE = ("answer_seconds = 3.0", "idle_seconds = 3.0")


def main() -> None:
    """Measure, print, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    rows: int = parser.parse_args().rows
    bars: list[Bar] = []
    figures: dict[str, Any] = {"rows": rows}
    for name, measure in (
        ("faults, plain", lambda: faults(rows, "stream = false")),
        ("faults, streamed", lambda: faults(rows, "stream = true")),
        ("limit", lambda: limit(rows)),
        ("truncated", lambda: truncated(rows // 10)),
    ):
        print(f"== {name}", flush=True)
        found, figures[name] = measure()
        for bar in found:
            print(bar, flush=True)
        bars += found
    print(results_file.write("api_faults", {"bars": [asdict(bar) for bar in bars], **figures}))


def faults(rows: int, mode: str) -> tuple[list[Bar], dict[str, Any]]:
    """A fifth of the requests fail, and some prompts always."""
    shares = dict.fromkeys(FAULTS, 0.2 / len(FAULTS))
    settings = Settings(latency_seconds=0.1, faults=shares, broken_share=0.002)
    answers = Answers(settings)
    broken = {f"sum-{number}" for number in range(rows) if answers.is_broken(sum_prompt(number)[0])}
    with running_stub(settings) as server, new_folder() as folder:
        ran = run_generate(folder, server, prompts=rows, teacher=[mode, *PATIENCE])
        stored = stored_traces(folder / "run").records
        ledger = server.ledger()
    got = {each["trace"]["prompt_id"] for each in stored}
    failed = {
        each["trace"]["prompt_id"]: each["trace"]["completion"]["error"]
        for each in stored
        if each["trace"]["completion"]["finish"] == "error"
    }
    undelivered = ledger["counts"]["undelivered"]
    reported = ran.summary["unanswered"] if ran.out else math.nan
    bars = [
        at_most("prompts without answer or listed failure", rows - len(got), 0),
        at_most("rows stored twice", len(stored) - len(got), 0),
        at_most("failures other than the broken prompts", len(failed.keys() ^ broken), 0),
        at_most("failures without a reason", sum(not reason for reason in failed.values()), 0),
        at_least("exit code when some failed", ran.code, 1),
        at_most("answers paid without need", paid_without_need(ledger, rows - len(broken)), 0),
        at_most("billed and lost, but not reported", undelivered - reported, 0),
    ]
    return bars, {
        **_figures(ran),
        "broken_prompts": len(broken),
        "reasons": sorted(set(failed.values())),
        "counts": ledger["counts"],
        "reported_as_unanswered": reported,
    }


def paid_without_need(ledger: dict[str, Any], wanted: int) -> int:
    """Answers that reached the client, less those that were wanted."""
    counts = ledger["counts"]
    return int(counts["paid"] - counts["undelivered"] - wanted)


def limit(rows: int) -> tuple[list[Bar], dict[str, Any]]:
    """The server takes a quarter of what the client would send."""
    settings = Settings(latency_seconds=0.1, capacity=64)
    mean = settings.latency_seconds * math.exp(settings.latency_sigma**2 / 2)
    ideal = rows * mean / settings.capacity
    with running_stub(settings) as server, new_folder() as folder:
        ran = run_generate(folder, server, prompts=rows, teacher=["stream = false"])
        ledger = server.ledger()
    seconds = ran.summary["outcome"]["seconds"]
    refused = ledger["counts"].get("over_capacity", 0)
    bars = [
        at_most("prompts without an answer", rows - ran.summary["samples"], 0),
        at_most("answers 429 per 1,000 rows", refused / rows * 1000, 200),
        at_least("ideal time by time taken", ideal / seconds, 0.8),
    ]
    return bars, {**_figures(ran), "ideal_seconds": ideal, "counts": ledger["counts"]}


def truncated(rows: int) -> tuple[list[Bar], dict[str, Any]]:
    """The token limit cuts every answer."""
    with new_folder() as folder:
        path = folder / "ledger"
        settings = Settings(latency_seconds=0.05, length_share=1.0, ledger=str(path))
        with running_stub(settings) as server:
            ran = run_generate(
                folder, server, prompts=rows, generate=["samples = 2", "max_tokens = 4096"]
            )
        paid = sum(line.answers for line in read_ledger(Path(path)))
        marked = sum(
            each["trace"]["completion"]["finish"] == "length"
            for each in stored_traces(folder / "run").records
        )
    bars = [
        at_most("paid answers per sample", paid / (2 * rows), 1),
        at_least("samples stored and marked as cut", marked / (2 * rows), 1),
    ]
    return bars, {**_figures(ran), "paid": paid}


def _figures(ran: Ran) -> dict[str, Any]:
    return {
        "exit_code": ran.code,
        "seconds": ran.seconds,
        "cpu_seconds": ran.cpu_seconds,
        "ended_with": ran.err.strip().rpartition("\n")[2],
    }


if __name__ == "__main__":
    main()
