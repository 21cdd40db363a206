r"""Mixed language, sentence by sentence: speed, false alarms, and what is found.

    python benchmarks/language.py

Traces of 4 KB put together from ``data/reasoning.toml``. Expected before measuring: at least 5,000
English traces per second on one core, none of 300 flagged, none of 100 in the seven other
languages, and at least 95 % of traces flagged in which 2 % is in another language. The
sentences were written together with the rule's word lists, so the shares found are an upper
estimate; ``tests/distill/test_language.py`` has sentences that were not.
Prints medians and writes them to ``results/language.json``.
"""

import argparse
import random
import statistics
import time
from collections.abc import Sequence
from typing import Final

import reasoning_texts
import results_file

from distill.language import check_language

SHARES: Final = (0.02, 0.05, 0.1)


def per_second(texts: Sequence[str], prompt: str, repeats: int) -> int:
    """Median of texts per CPU-second."""
    speeds = []
    for _ in range(repeats):
        start = time.process_time()
        for text in texts:
            check_language(text, prompt)
        speeds.append(len(texts) / (time.process_time() - start))
    return round(statistics.median(speeds))


def flagged(language: str, count: int, rng: random.Random) -> int:
    """How many traces in one language are called mixed."""
    return sum(
        not check_language(
            reasoning_texts.trace(language, rng), reasoning_texts.prompt(language, rng)
        ).ok
        for _ in range(count)
    )


def found(language: str, foreign: str, share: float, count: int, rng: random.Random) -> float:
    """Share of mixed traces that are flagged."""
    hits = 0
    for _ in range(count):
        text, _ = reasoning_texts.mixed(language, foreign, share, rng)
        hits += not check_language(text, reasoning_texts.prompt(language, rng)).ok
    return hits / count


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--mixed", type=int, default=30, help="traces for each pair and share")
    arguments = parser.parse_args()
    rng = random.Random(0)
    others = [one for one in reasoning_texts.LANGUAGES if one != "en"]
    speeds = {}
    for language in reasoning_texts.LANGUAGES:
        texts = [reasoning_texts.trace(language, rng) for _ in range(300)]
        prompt = reasoning_texts.prompt(language, rng)
        speeds[language] = per_second(texts, prompt, arguments.repeats)
    for share in SHARES:
        texts = [reasoning_texts.mixed("en", rng.choice(others), share, rng)[0] for _ in range(300)]
        prompt = reasoning_texts.prompt("en", rng)
        speeds[f"en with {share:.0%}"] = per_second(texts, prompt, arguments.repeats)
    alarms = {
        one: flagged(one, 300 if one == "en" else 100, rng) for one in reasoning_texts.LANGUAGES
    }
    shares = {
        f"{share:.0%}": {
            language: round(
                statistics.mean(
                    found(language, foreign, share, arguments.mixed, rng)
                    for foreign in reasoning_texts.LANGUAGES
                    if foreign != language
                ),
                3,
            )
            for language in reasoning_texts.LANGUAGES
        }
        for share in SHARES
    }
    figures = {
        "traces_per_cpu_second": speeds,
        "own_traces_flagged": {"of": {"en": 300, "others": 100}, **alarms},
        "share_of_mixed_traces_flagged": shares,
    }
    for name, figure in figures.items():
        print(f"{name}: {figure}")
    results_file.write("language", figures)


if __name__ == "__main__":
    main()
