"""Verified sampling against a fixed number of samples: what a covered prompt takes.

    python benchmarks/api_sampling.py [--prompts 1500]

Pass rates are drawn from Beta(0.8, 0.5). One run asks 8 times for every prompt, the other stops at
the first accepted answer. Both draw the same answers, so both cover the same prompts.

Expected before the first measurement, by the formula: 2.33 samples per prompt against 8, coverage
0.908 for both, 3.44 times fewer samples per covered prompt.
"""

import argparse
from dataclasses import asdict
from typing import Any

import results_file
from api_measuring import at_least, at_most, new_folder, run_generate

from tests.servers.running import running_stub
from tests.servers.settings import Settings

WAYS = {
    "fixed n = 8": ["samples = 8", "max_tokens = 4096"],
    "until 1 correct, at most 8": ["samples = 8", "max_tokens = 4096", "until_correct = 1"],
}


def main() -> None:
    """Measure, print, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=1500)
    prompts: int = parser.parse_args().prompts
    figures: dict[str, Any] = {"prompts": prompts}
    per_covered, coverage, paid = [], [], []
    for way, lines in WAYS.items():
        with running_stub(Settings(latency_seconds=0.05)) as server, new_folder() as folder:
            ran = run_generate(
                folder, server, prompts=prompts, teacher=["stream = false"], generate=lines
            )
            ledger = server.ledger()
        summary = ran.summary
        paid.append(ledger["counts"]["paid"])
        per_covered.append(paid[-1] / summary["covered"])
        coverage.append(summary["covered"] / prompts)
        figures[way] = {
            "paid_answers": paid[-1],
            "coverage": coverage[-1],
            "samples_per_prompt": paid[-1] / prompts,
            "seconds": summary["outcome"]["seconds"],
        }
        print(f"{way}: {paid[-1] / prompts:.2f} samples a prompt, coverage {coverage[-1]:.3f}")
    bars = [
        at_least("times fewer samples per covered prompt", per_covered[0] / per_covered[1], 3),
        at_most("difference in coverage", abs(coverage[0] - coverage[1]), 0.0),
    ]
    for bar in bars:
        print(bar)
    print(results_file.write("api_sampling", {"bars": [asdict(bar) for bar in bars], **figures}))


if __name__ == "__main__":
    main()
