"""What the API client costs: CPU per answer, rows per second, memory, start.

    python benchmarks/api_speed.py [--rows 5000] [--runs 3] [--latency 0.2] [--memory 5000 50000]

Answers hold 4 KB of reasoning; 256 requests are under way; the journal is synced. The bare loop
(`api_bare_loop.py`) runs between the client's runs, against the same server, and streams where the
client does.

Expected before the first measurement: 0.3 CPU seconds per 1,000 plain answers, 0.6 streamed;
0.85 of the bare loop's rows per second; 60 MiB at 5,000 prompts and 80 MiB at 50,000; 0.6 s start.
"""

import argparse
import json
import statistics
from dataclasses import asdict
from pathlib import Path
from typing import Any

import results_file
from api_measuring import (
    Bar,
    Ran,
    at_least,
    at_most,
    median,
    new_folder,
    run_generate,
    run_measured,
)

from tests.servers.running import Server, running_stub
from tests.servers.settings import Settings

BARE_LOOP = Path(__file__).with_name("api_bare_loop.py")
IMPORTS = (
    "import sys, time; import cli.main, cli.job, cli.stages, distill.generate, distill.prompts,"
    " distill.verify.answer, teachers.connect;"
    " print(time.process_time(), 'torch' in sys.modules)"
)
MODES = {"plain": "stream = false", "streamed": "stream = true"}
BARE_OPTIONS = {"plain": [], "streamed": ["--stream"]}


def main() -> None:
    """Measure, print, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--latency", type=float, nargs="+", default=[0.2, 0.0])
    parser.add_argument("--memory", type=int, nargs="*", default=[5000, 50_000])
    arguments = parser.parse_args()
    bars, figures = import_bars(arguments.runs)
    for latency in arguments.latency:
        with running_stub(Settings(latency_seconds=latency)) as server:
            speed_bars, figures[f"latency {latency:g} s"] = speed(
                server, arguments.rows, arguments.runs, latency
            )
        bars += speed_bars
    if arguments.memory:
        memory_bars, figures["memory"] = memory(arguments.memory)
        bars += memory_bars
    print(results_file.write("api_speed", {"bars": [asdict(bar) for bar in bars], **figures}))


def shown(bars: list[Bar]) -> list[Bar]:
    """Print bars as soon as they are known."""
    for bar in bars:
        print(bar, flush=True)
    return bars


def import_bars(runs: int) -> tuple[list[Bar], dict[str, Any]]:
    """CPU of importing what ``generate`` with an endpoint needs."""
    with new_folder() as folder:
        printed = [run_measured(["-c", IMPORTS], folder).out.split() for _ in range(runs)]
    seconds = [float(cpu) for cpu, _ in printed]
    bars = [
        at_most("import of the generate path, CPU s", statistics.median(seconds), 0.8),
        at_most("imports of torch", sum(loaded == "True" for _, loaded in printed), 0),
    ]
    return shown(bars), {"import_cpu_seconds": seconds}


def speed(server: Server, rows: int, runs: int, latency: float) -> tuple[list[Bar], dict[str, Any]]:
    """CPU and rows per second, plain and streamed, beside the bare loop."""
    bare: dict[str, list[dict[str, float]]] = {mode: [] for mode in MODES}
    ran: dict[str, list[Ran]] = {mode: [] for mode in MODES}
    start: dict[str, list[Ran]] = {mode: [] for mode in MODES}
    for _ in range(runs):
        for mode, line in MODES.items():
            bare[mode].append(bare_loop(server, rows, *BARE_OPTIONS[mode]))
            start[mode].append(measured(server, 1, line))
            ran[mode].append(measured(server, rows, line))
    figures: dict[str, Any] = {"rows": rows}
    bars = []
    for mode in MODES:
        whole = median(ran[mode], lambda each: each.cpu_seconds)
        begin = median(start[mode], lambda each: each.cpu_seconds)
        rate = rows / median(ran[mode], lambda each: each.summary["outcome"]["seconds"])
        bare_rate = rows / statistics.median(each["seconds"] for each in bare[mode])
        bare_cpu = statistics.median(each["cpu_seconds"] for each in bare[mode])
        print(
            f"        bare loop, {mode}: {bare_rate:,.0f} rows/s,"
            f" {bare_cpu / rows * 1000:.3f} CPU s per 1,000"
        )
        name = f"{mode}, latency {latency:g} s"
        bars += [
            at_most(f"CPU s per 1,000 answers, {name}", whole / rows * 1000, 0.35),
            at_least(f"rows/s by those of the bare loop, {name}", rate / bare_rate, 0.8),
        ]
        figures[mode] = {
            "cpu_per_1000": whole / rows * 1000,
            "cpu_per_1000_without_start": (whole - begin) / rows * 1000,
            "cpu_of_start": begin,
            "cpu_by_bare_loop": whole / bare_cpu,
            "bare_loop": bare[mode],
            "rows_per_second": rate,
            "cpu_seconds": [each.cpu_seconds for each in ran[mode]],
            "seconds": [each.summary["outcome"]["seconds"] for each in ran[mode]],
            "process_seconds": [each.seconds for each in ran[mode]],
        }
    return shown(bars), figures


def measured(server: Server, rows: int, line: str) -> Ran:
    """One run in a new folder, checked for completeness."""
    with new_folder() as folder:
        ran = run_generate(folder, server, prompts=rows, teacher=[line])
    if ran.code or ran.summary["samples"] != rows:
        raise RuntimeError(f"exit code {ran.code}: {ran.err[-2000:]}")
    return ran


def bare_loop(server: Server, rows: int, *options: str) -> dict[str, float]:
    """The yardstick on the same server."""
    with new_folder() as folder:
        found: dict[str, float] = json.loads(
            run_measured([BARE_LOOP, server.base_url, str(rows), *options], folder).out
        )
    if found["rows"] != rows:
        raise RuntimeError(f"the bare loop got {found['rows']} of {rows} answers")
    return found


def memory(sizes: list[int]) -> tuple[list[Bar], dict[str, Any]]:
    """Peak memory by number of prompts, streamed, as fast as the server can."""
    peaks = {}
    with running_stub(Settings()) as server:
        for size in sizes:
            peaks[size] = measured(server, size, MODES["plain"]).peak_mib
    bars = [at_most(f"peak MiB at {size:,} prompts", peak, 110) for size, peak in peaks.items()]
    return shown(bars), {str(size): peak for size, peak in peaks.items()}


if __name__ == "__main__":
    main()
