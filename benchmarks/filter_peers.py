"""Language check and near-duplicates beside the libraries that one would take instead, in one run.

    pip install --target peers lingua-language-detector datasketch
    PYTHONPATH=peers python benchmarks/filter_peers.py

The same traces of 4 KB for both. lingua looks for parts in other languages of the eight that are
told apart here, with its models loaded beforehand; datasketch has 128 hashes over the same
five-word runs and an index for similarity 0.8. CPU-seconds of one process, median of three.

Expected before the first measurement: 20 times lingua, 3 times datasketch with numpy alone.
"""

import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import datasketch
import lingua
import reasoning_texts
import results_file
from dedup import made_traces

from distill.dedup import near_duplicates
from distill.language import check_language

TRACES = 300


def cpu_rate(work: Callable[[], Any], count: int) -> float:
    """Items per CPU-second."""
    rates = []
    for _ in range(3):
        started = time.process_time()
        work()
        rates.append(count / (time.process_time() - started))
    return round(statistics.median(rates), 1)


def languages() -> dict[str, float]:
    """Traces a second that are looked through for other languages."""
    rng = random.Random(0)
    texts = [reasoning_texts.trace("en", rng) for _ in range(TRACES)]
    prompt = reasoning_texts.prompt("en", rng)
    names = ["ENGLISH", "GERMAN", "FRENCH", "SPANISH", "RUSSIAN", "KOREAN", "CHINESE", "JAPANESE"]
    known = [getattr(lingua.Language, name) for name in names]
    detector = lingua.LanguageDetectorBuilder.from_languages(
        *known
    ).with_preloaded_language_models()
    peer = detector.build()
    peer.detect_multiple_languages_of(texts[0])
    few = texts[:40]
    return {
        "ours": cpu_rate(lambda: [check_language(text, prompt) for text in texts], TRACES),
        "lingua": cpu_rate(
            lambda: [peer.detect_multiple_languages_of(text) for text in few], len(few)
        ),
    }


def duplicates() -> dict[str, float]:
    """Traces a second that are compared with all the others."""
    texts = made_traces(1000, 0)

    def peer() -> None:
        index = datasketch.MinHashLSH(threshold=0.8, num_perm=128)
        for place, text in enumerate(texts):
            words = text.split()
            sketch = datasketch.MinHash(num_perm=128)
            runs = {" ".join(words[at : at + 5]).encode() for at in range(len(words) - 4)}
            sketch.update_batch(sorted(runs))
            if not index.query(sketch):
                index.insert(str(place), sketch)

    return {
        "ours with rensa": cpu_rate(lambda: near_duplicates(texts, backend="rensa"), len(texts)),
        "ours with numpy": cpu_rate(lambda: near_duplicates(texts, backend="numpy"), len(texts)),
        "datasketch": cpu_rate(peer, len(texts)),
    }


def main() -> None:
    """Measure, print, write the results."""
    figures = {"language, traces/s": languages(), "near-duplicates, traces/s": duplicates()}
    for what, found in figures.items():
        print(f"{what}: {found}")
    print(results_file.write("filter_peers", figures))


if __name__ == "__main__":
    main()
