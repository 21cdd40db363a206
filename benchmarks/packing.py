"""How full best-fit packing makes the rows, beside padding and filling in order.

    python benchmarks/packing.py

Lengths are log-normal, as those of reasoning traces are, cut at the row's length. *Best fit* is
``students.packing.pack``, *in order* ``pack_in_order``, *padded* batches of 8 at random, each
padded to its longest. Prints the share of the room that holds tokens and the seconds that packing
takes, and writes ``results/packing.json``.
"""

import random
import statistics
import time

import results_file

from students.packing import pack, pack_in_order

ROW_TOKENS = 16_384
SEEDS = range(5)


def lengths_of(count: int, seed: int) -> list[int]:
    """Tokens of so many traces: the median has 2,980, one in twenty more than 10,000."""
    rng = random.Random(seed)
    return [min(ROW_TOKENS, max(1, int(rng.lognormvariate(8.0, 0.75)))) for _ in range(count)]


def padded_fill(lengths: list[int], batch: int = 8) -> float:
    """Share of tokens in random batches that are padded to their longest."""
    order = list(lengths)
    random.Random(0).shuffle(order)
    batches = [order[start : start + batch] for start in range(0, len(order), batch)]
    return sum(lengths) / sum(len(each) * max(each) for each in batches)


def fill(lengths: list[int], rows: list[list[int]]) -> float:
    """Share of the rows' room that holds tokens."""
    return sum(lengths) / (ROW_TOKENS * len(rows))


def measured(count: int) -> dict[str, float]:
    """Medians over the seeds."""
    found: dict[str, list[float]] = {}
    for seed in SEEDS:
        lengths = lengths_of(count, seed)
        started = time.process_time()
        rows = pack(lengths, ROW_TOKENS, seed=str(seed))
        seconds = time.process_time() - started
        for name, value in {
            "best_fit": fill(lengths, rows),
            "in_order": fill(lengths, pack_in_order(lengths, ROW_TOKENS)),
            "padded": padded_fill(lengths),
            "seconds": seconds,
        }.items():
            found.setdefault(name, []).append(value)
    return {name: round(statistics.median(values), 4) for name, values in found.items()}


def main() -> None:
    """Measure, print, write."""
    figures = {}
    for count in (256, 2_000, 20_000, 100_000):
        figures[str(count)] = measured(count)
        print(count, figures[str(count)])
    results_file.write("packing", {"row_tokens": ROW_TOKENS, "by_examples": figures})


if __name__ == "__main__":
    main()
