r"""Near duplicates: speed with rensa and without, and recall against brute force.

    python benchmarks/dedup.py

Traces of 4 KB from ``data/reasoning.toml``; every fifth is an earlier one with up to 30 of its
words changed. *Speed* is the whole work from texts to the list of duplicates, in CPU-seconds of all
threads. *Recall* is the share of what brute force over the plain sets of five-word runs drops at
0.8 that is dropped too. Expected before measuring: at least 8,000 traces per second with rensa,
1,300 without, recall 0.995, and no false drop. Prints medians and writes them to
``results/dedup.json``.
"""

import argparse
import random
import re
import statistics
import time
from collections.abc import Sequence
from typing import Final

import reasoning_texts
import results_file

from distill.dedup import near_duplicates
from distill.minhash import Backend, sketch

BACKENDS: Final[tuple[Backend, ...]] = ("rensa", "numpy")
COPIES: Final = 5
"""One trace in so many is an earlier one, changed."""
MOST_CHANGES: Final = 30
THRESHOLD: Final = 0.8
GROUP: Final = 4
SEPARATORS: Final = re.compile(r"[\s!\"#$'(),.:;?@\[\]_`{}]+")


def made_traces(count: int, seed: int) -> list[str]:
    """Traces, some of them changed copies of earlier ones."""
    rng = random.Random(seed)
    traces: list[str] = []
    for number in range(count):
        if number % COPIES == COPIES - 1:
            words = rng.choice(traces).split(" ")
            for _ in range(rng.randint(0, MOST_CHANGES)):
                words[rng.randrange(len(words))] = str(rng.randint(100, 999))
            traces.append(" ".join(words))
        else:
            traces.append(reasoning_texts.trace("en", rng))
    return traces


def runs_of_five(text: str) -> frozenset[tuple[str, ...]]:
    """The sets that are compared, made plainly."""
    spaced = "".join(f" {char} " if char >= "\u1000" else char for char in text.lower())
    words = [word for word in SEPARATORS.split(spaced) if word]
    return frozenset(zip(*(words[start:] for start in range(5)), strict=False))


def brute_force(traces: Sequence[str]) -> list[int | None]:
    """The first earlier kept trace that is similar enough, by comparing all pairs."""
    runs = [runs_of_five(trace) for trace in traces]
    kept: list[int] = []
    found: list[int | None] = []
    for own in runs:
        similar = (
            other for other in kept if len(own & runs[other]) >= THRESHOLD * len(own | runs[other])
        )
        found.append(next(similar, None))
        if found[-1] is None:
            kept.append(len(found) - 1)
    return found


def per_second(
    traces: Sequence[str], groups: Sequence[int] | None, backend: Backend, repeats: int
) -> int:
    """Median of traces per CPU-second."""
    speeds = []
    for _ in range(repeats):
        start = time.process_time()
        near_duplicates(traces, groups, threshold=THRESHOLD, backend=backend)
        speeds.append(len(traces) / (time.process_time() - start))
    return round(statistics.median(speeds))


def recall(sets: Sequence[Sequence[str]]) -> dict[str, object]:
    """How much of what brute force drops is dropped, and what is dropped beyond it."""
    expected = [brute_force(traces) for traces in sets]
    found: dict[str, object] = {
        "dropped_by_brute_force": sum(one is not None for each in expected for one in each)
    }
    for backend in BACKENDS:
        hits = misses = extra = 0
        for traces, each in zip(sets, expected, strict=True):
            dropped = near_duplicates(traces, threshold=THRESHOLD, backend=backend)
            for one, other in zip(each, dropped, strict=True):
                hits += one is not None and other is not None
                misses += one is not None and other is None
                extra += one is None and other is not None
        found[backend] = {"recall": round(hits / (hits + misses), 4), "false_drops": extra}
    return found


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--recall-traces", type=int, default=600, help="in each of three sets")
    arguments = parser.parse_args()
    traces = made_traces(arguments.traces, 0)
    groups = [place // GROUP for place in range(len(traces))]
    sketches = sketch(traces)
    figures = {
        "traces": len(traces),
        "mean_bytes": round(statistics.mean(len(one.encode()) for one in traces)),
        "traces_per_cpu_second": {
            backend: {
                "across_prompts": per_second(traces, None, backend, arguments.repeats),
                "within_prompts_of_4": per_second(traces, groups, backend, arguments.repeats),
            }
            for backend in BACKENDS
        },
        "sketch_bytes_per_trace": (sketches.bands.nbytes + sketches.fingerprints.nbytes)
        // len(traces),
        "recall_at_0.8": recall(
            [made_traces(arguments.recall_traces, seed) for seed in range(1, 4)]
        ),
    }
    for name, figure in figures.items():
        print(f"{name}: {figure}")
    results_file.write("dedup", figures)


if __name__ == "__main__":
    main()
