"""The whole filter stage without code runs: traces a second on one core, and memory by size.

    python benchmarks/filter_stage.py [--sizes 10000 200000] [--speed 8000]

Traces of 4 KB put together from ``data/reasoning.toml``, four samples a prompt: 70 % right, 3 %
cut, some mixed, looping or repeated. Every trace is verified (nothing is stored), meets all rules,
duplicates are looked for within its prompt, and both Parquet files and the page are written.
Expected before measuring: at least 400 traces per CPU-second of one process, and peak memory that
grows by less than a quarter from 10,000 to 1,000,000 traces. There is no peer: no other toolkit has
such a command. Each measurement runs in a process of its own. For memory the traces are short,
which keeps the run short: their number is what memory could depend on, and a shard holds 2,048 of
them or 8 MiB. Prints the results and writes them to ``results/filter_stage.json``.
"""

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import reasoning_texts
import results_file

SAMPLES = 4
RIGHT, CUT, MIXED = 0.7, 0.03, 0.03
POOL = 400
"""Texts that large files are put together from; making each anew would take longer than judging."""


def write_traces(path: Path, count: int, size: int) -> None:
    """A file of traces, the samples of a prompt side by side."""
    rng = random.Random(0)
    texts = [_text(rng, size) for _ in range(min(POOL, count))]
    with path.open("w", encoding="utf-8") as file:
        for prompt in range(count // SAMPLES):
            asked = f"{reasoning_texts.prompt('en', rng)} ({prompt})"
            gold = rng.randint(2, 5000)
            for sample in range(SAMPLES):
                answer = gold if rng.random() < RIGHT else gold + 1
                own = f"Attempt {sample} at problem {prompt}. {rng.choice(texts)}"
                row = {
                    "prompt_id": f"p{prompt}",
                    "prompt": asked,
                    "answer": str(gold),
                    "reasoning": f"{own} So the answer is {answer}.",
                    "text": rf"The answer is \boxed{{{answer}}}.",
                    "finish": "length" if rng.random() < CUT else "stop",
                }
                file.write(json.dumps(row) + "\n")


def _text(rng: random.Random, size: int) -> str:
    if rng.random() < MIXED:
        return reasoning_texts.mixed("en", "de", 0.1, rng, size)[0]
    return reasoning_texts.trace("en", rng, size)


def child(path: Path, workers: int) -> None:
    """Filter one file and print what it took."""
    from distill.filter import FilterInput, filter_traces
    from distill.filter_setup import FilterSetup
    from distill.layout import RunLayout

    begun, cpu = time.perf_counter(), _cpu()
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        report = filter_traces(
            FilterInput(path), FilterSetup(), RunLayout(Path(folder)), workers=workers
        )
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    found = {
        "traces": report.traces,
        "kept": report.kept,
        "cpu_seconds": round(_cpu() - cpu, 2),
        "seconds": round(time.perf_counter() - begun, 2),
        "peak_mib": round(own),
        "largest_worker_mib": round(worker) if workers > 1 else 0,
    }
    sys.stdout.write(json.dumps(found))


def _cpu() -> float:
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    used = [resource.getrusage(kind) for kind in kinds]
    return sum(one.ru_utime + one.ru_stime for one in used)


def measure(path: Path, workers: int) -> dict[str, Any]:
    """One measurement in a process of its own."""
    command = [sys.executable, __file__, "--child", str(path), "--workers", str(workers)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 200_000])
    parser.add_argument("--speed", type=int, default=8_000, help="traces of the speed test")
    parser.add_argument("--bytes", type=int, default=256, help="of a trace of the memory test")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child, given.workers)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "traces.jsonl"
        write_traces(path, given.speed, 4096)
        runs = [measure(path, 1) for _ in range(given.repeats)]
        speeds = [run["traces"] / run["cpu_seconds"] for run in runs]
        print(f"{statistics.median(speeds):,.0f} traces per CPU-second (4 KB, median)")
        figures: dict[str, Any] = {
            "traces_per_cpu_second": round(statistics.median(speeds)),
            "all_runs": [round(speed) for speed in speeds],
            "speed_traces": given.speed,
            "workers": given.workers,
            "memory_trace_bytes": given.bytes,
            "memory": [],
        }
        for size in given.sizes:
            write_traces(path, size, given.bytes)
            found = {**measure(path, given.workers), "file_mib": path.stat().st_size >> 20}
            figures["memory"].append(found)
            print(
                f"{size:>9,} traces: peak {found['peak_mib']} MiB, worker"
                f" {found['largest_worker_mib']} MiB, {found['seconds']} s"
            )
            path.unlink()
    print(results_file.write("filter_stage", figures))


if __name__ == "__main__":
    main()
