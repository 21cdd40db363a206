"""Reasoning texts for the benchmarks: sentences of ``data/reasoning.toml`` put together.

Deterministic from the seed. The sentences were written for this project; nothing is downloaded.
"""

import random
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

DATA: Final[dict[str, Any]] = tomllib.loads(
    (Path(__file__).parent / "data" / "reasoning.toml").read_text(encoding="utf-8")
)
LANGUAGES: Final = tuple(DATA["prompts"])
SPACELESS: Final = ("zh", "ja")
PARAGRAPH: Final = 0.2
"""Chance that a sentence ends its paragraph."""
SHORTEST: Final = 15
"""Letters of a foreign sentence, at least."""
NAMES: Final = ("Maria", "Tom", "Aisha", "Wei", "José", "Chloé", "Jürgen", "Priya", "Olga", "Kenji")


def fill(template: str, rng: random.Random) -> str:
    """Put numbers, a variable and a name into a sentence."""
    a, b = rng.randint(2, 97), rng.randint(2, 97)
    return template.format(
        a=a, b=b, c=a * b, n=rng.randint(100, 5000), x=rng.choice("xyzkmt"), name=rng.choice(NAMES)
    )


def prompt(language: str, rng: random.Random) -> str:
    """A problem in a language."""
    return fill(rng.choice(DATA["prompts"][language]), rng)


def sentences(language: str, size: int, rng: random.Random) -> list[str]:
    """Sentences of one language, ``size`` bytes at least."""
    chosen: list[str] = []
    while sum(len(one.encode()) + 1 for one in chosen) < size:
        chosen.append(fill(rng.choice(DATA["sentences"][language]), rng))
    return chosen


def join(parts: Sequence[str], language: str, rng: random.Random) -> str:
    """Put sentences into paragraphs."""
    space = "" if language in SPACELESS else " "
    text = ""
    for part in parts:
        is_block = "\n" in part
        text += part + ("\n\n" if is_block or rng.random() < PARAGRAPH else space)
    return text.strip()


def trace(language: str, rng: random.Random, size: int = 4096) -> str:
    """A text in one language, of ``size`` bytes or a little more."""
    return join(sentences(language, size, rng), language, rng)


def mixed(
    language: str, foreign: str, share: float, rng: random.Random, size: int = 4096
) -> tuple[str, int]:
    """A text of which about ``share`` of the bytes is in a foreign language, at random places.

    Returns:
        The text, and how many foreign sentences are in it.
    """
    own = sentences(language, int(size * (1 - share)), rng)
    plain = [one for one in DATA["sentences"][foreign] if "`" not in one and len(one) > SHORTEST]
    strange: list[str] = []
    while sum(len(one.encode()) for one in strange) < size * share:
        strange.append(fill(rng.choice(plain), rng))
    for one in strange:
        own.insert(rng.randint(0, len(own)), one)
    return join(own, language, rng), len(strange)
