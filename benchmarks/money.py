"""What counting money costs, and whether a pilot's range holds the truth.

    python benchmarks/money.py

*Price*: microseconds of CPU for the cost of one answer, with peak hours and two dated prices.
*Cost*: ``distill cost`` on runs of 5,000 and of 50,000 traces of 4 KB, in processes of their own:
CPU seconds and peak memory. *Range*: simulated pilots of 20 prompts, pass rates spread in four
ways, log-normal answers that are longer for hard prompts; how many of 1,000 ranges hold the true
mean, beside the range that takes answers as independent and the pass rate as known (what
``distill plan`` printed before). Expected before measuring: below 3 microseconds; memory below
110 MiB and flat; at least 90 % of the ranges hold it. Prints them, writes ``results/money.json``.
"""

import json
import math
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, Final

import results_file

from distill.early_stop import expected_samples, pass_rates
from distill.journal import Journal
from distill.pilot import _Prompt, _totals
from distill.traces import trace_line
from distill.types import Completion, JudgedTrace, Receipt, Trace, Usage, Verdict
from teachers.catalog import find_endpoint, find_model

REPEATS: Final = 7
CALLS: Final = 20_000
SIZES: Final = (5_000, 50_000)
SHAPES: Final = ((0.8, 0.5), (2.0, 2.0), (0.3, 0.3), (3.0, 0.4))
PILOTS: Final = 1_000
PROMPTS: Final = 20
MOST: Final = 8
PEAK: Final = 1_795_572_000.0  # Tuesday, 2026-11-24, 02:00 UTC

RECIPE: Final = """
name = "long"
[teacher]
kind = "api"
model = "m"
base_url = "http://127.0.0.1:9/v1"
price = { input_usd = 1.0, output_usd = 2.0 }
[prompts]
kind = "file"
path = "prompts.jsonl"
[student]
kind = "embedded"
[eval.prompts]
kind = "embedded"
split = "eval"
count = 1
"""

Answers = list[tuple[int, bool]]


def price_microseconds() -> dict[str, float]:
    """Median CPU time of one call."""
    known = find_model(find_endpoint("deepseek"), "deepseek-flash").prices
    older = replace(known.entries[0], since=date(2026, 1, 1))
    lists = {"one price": known, "two prices": replace(known, entries=(*known.entries, older))}
    usage = Usage(100, 4000, 3600, 50)
    found = {}
    for name, prices in lists.items():
        times = []
        for _ in range(REPEATS):
            begun = time.process_time()
            for _ in range(CALLS):
                prices.cost(usage, PEAK)
            times.append((time.process_time() - begun) / CALLS * 1e6)
        found[name] = round(statistics.median(times), 2)
    return found


def make_run(folder: Path, traces: int) -> Path:
    """A run folder as ``distill generate`` leaves it: made by it, then its journal lengthened."""
    (folder / "prompts.jsonl").write_text('{"id": "0", "text": "1 + 1", "answer": "2"}\n')
    (folder / "recipe.toml").write_text(RECIPE)
    command = [sys.executable, "-m", "distill", "generate", "recipe.toml"]
    subprocess.run(command, cwd=folder, check=False, capture_output=True)  # nobody answers
    run = folder / "runs" / "long"
    write_traces(run, traces)
    return run


def write_traces(run: Path, traces: int) -> None:
    """Traces of 4 KB, four of each prompt."""
    text = "Let us count on from there. " * 146
    with Journal.open(run / "traces.jsonl") as journal:
        if journal.safe_records == 0:
            journal.append({"kind": "header"})
        for number in range(traces):
            completion = Completion("2", text, usage=Usage(50, 1000, 900))
            receipt = Receipt("2026-11-24T02:00:00Z", 30.0, usd=0.002)
            trace = Trace(f"p{number // 4}", number % 4, "m", completion, receipt)
            journal.append(trace_line(JudgedTrace(trace, Verdict(number % 3 > 0, "", "v"))))
            journal.write()


def cost_of_cost(traces: int) -> dict[str, float]:
    """CPU seconds and peak memory of ``distill cost --json``."""
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(Path(folder), traces)
        code = (
            "import re, sys, time; from distill.__main__ import main;"
            " sys.argv = ['distill', 'cost', sys.argv[1], '--json']; code = main();"
            # The peak that getrusage knows is that of the process which started this one.
            " peak = re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1];"
            " print(time.process_time(), peak, file=sys.stderr); sys.exit(code)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, run], capture_output=True, text=True, check=True
        )
        assert json.loads(done.stdout)["total"]["samples"] == traces
        seconds, kibibytes = map(float, done.stderr.split())
    return {"cpu_seconds": round(seconds, 2), "peak_mib": round(kibibytes / 1024, 1)}


def pilot(rng: random.Random, shape: tuple[float, float], prompts: int) -> list[Answers]:
    """Answers of some prompts, sampled until one is right."""
    found = []
    for _ in range(prompts):
        rate = rng.betavariate(*shape)
        base = 3000 * math.exp(rng.gauss(0, 0.4) + 1 - rate)
        answers: Answers = []
        while len(answers) < MOST and not (answers and answers[-1][1]):
            answers.append((round(base * math.exp(rng.gauss(0, 0.4))), rng.random() < rate))
        found.append(answers)
    return found


def new_range_holds(prompts: Sequence[Answers], truth: float) -> bool:
    """Whether the range of ``distill plan`` does."""
    counted = [
        _Prompt(len(answers), int(answers[-1][1]), sum(tokens for tokens, _ in answers))
        for answers in prompts
    ]
    totals = _totals(counted, 0, MOST)
    assert totals is not None
    mean = totals.output_tokens
    return totals.low * mean <= truth <= totals.high * mean


def old_range_holds(prompts: Sequence[Answers], truth: float) -> bool:
    """Whether the range does that takes answers as independent and the pass rate as known."""
    tokens = [tokens for answers in prompts for tokens, _ in answers]
    right = sum(answers[0][1] for answers in prompts)
    each = expected_samples(MOST, 1, *pass_rates(len(prompts), right))
    error = statistics.stdev(tokens) / math.sqrt(len(tokens))
    mean = statistics.fmean(tokens)
    return (mean - 2 * error) * each <= truth <= (mean + 2 * error) * each


def ranges(shape: tuple[float, float]) -> dict[str, float]:
    """Shares of the pilots whose range holds the truth."""
    rng = random.Random(0)
    large = pilot(rng, shape, 50_000)
    truth = sum(tokens for answers in large for tokens, _ in answers) / len(large)
    pilots = [pilot(rng, shape, PROMPTS) for _ in range(PILOTS)]
    return {
        "whole prompts": sum(new_range_holds(one, truth) for one in pilots) / PILOTS,
        "answers": sum(old_range_holds(one, truth) for one in pilots) / PILOTS,
    }


def main() -> None:
    """Measure, print, write."""
    figures: dict[str, Any] = {
        "price_microseconds": price_microseconds(),
        "cost": {f"{size:,} traces": cost_of_cost(size) for size in SIZES},
        "ranges_that_hold": {f"Beta{shape}": ranges(shape) for shape in SHAPES},
    }
    for name, figure in figures.items():
        print(name, figure)
    print(results_file.write("money", figures))


if __name__ == "__main__":
    main()
