"""Texts on which two tokenizers must agree: many scripts, numbers, code, white space, think tags.

Made by code, the same every time, in Unicode's composed form (NFC): llama.cpp does not compose.
"""

import random
import unicodedata
from collections.abc import Sequence

from distill.problems import embedded_prompts

COUNT = 600
_WORDS = (
    *("the", "answer", "is", "Therefore", "we", "multiply", "don't", "It's", "THEY'LL", "I'd"),
    *(
        "caf\u00e9",
        "na\u00efve",
        "\u00fcber",
        "Stra\u00dfe",
        "\u0141\u00f3d\u017a",
        "\u00e5ngstr\u00f6m",
    ),
    *("\u041f\u0440\u0438\u0432\u0435\u0442", "\u039a\u03b1\u03bb\u03b7\u03bc\u03ad\u03c1\u03b1"),
    *(
        "\u6570\u5b66",
        "\u95ee\u9898",
        "\u7b54\u6848\u662f",
        "\u3053\u3093\u306b\u3061\u306f",
        "\ud55c\uad6d\uc5b4",
    ),
    *(
        "\u0645\u0631\u062d\u0628\u0627",
        "\u05e9\u05dc\u05d5\u05dd",
        "\u0928\u092e\u0938\u094d\u0924\u0947",
        "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35",
    ),
    *(
        "\U0001f600",
        "\U0001f469\u200d\U0001f4bb",
        "\U0001f1eb\U0001f1f7",
        "\u2764\ufe0f",
        "\U00020bb7",
    ),
    *(
        "0",
        "7",
        "12",
        "345",
        "2024",
        "3.14159",
        "1,000,000",
        "-5",
        "1e-9",
        "\u00bd",
        "\u0663\u0664",
    ),
    *("\\boxed{42}", "\\frac{1}{2}", "x^2+y^2=z^2", "\u2211\u222b\u221a", "a<b", "!=", "->", "..."),
    *("def f(x):", "return x**2", "{'k': [1, 2]}", "//", "/* c */", "<tag/>", "&amp;", "#!/bin/sh"),
)
_SPACES = (*[" "] * 12, "  ", "   ", "\n", "\n\n", "\t", "\r\n", " \n ", "\u00a0", "\u3000", "")
_TAGS = ("<think>", "</think>", "<think>\n", "\n</think>\n\n", "<", ">", "</", "think")


def check_texts(special: Sequence[str], *, seed: int = 0) -> list[str]:
    """At least 500 different texts.

    Args:
        special: The tokenizer's special tokens; they stand in some of the texts.
        seed: The same seed gives the same texts.
    """
    draw = random.Random(seed)
    texts = [prompt.text for prompt in embedded_prompts("eval", 100, seed)]
    texts += [
        text for word in (*_WORDS, *_TAGS, *special) for text in (word, f" {word}", f"{word}\n")
    ]
    while len(texts) < COUNT:
        texts.append(_mixed(draw, [*_TAGS, *special]))
    return list(dict.fromkeys(unicodedata.normalize("NFC", text) for text in texts))


def _mixed(draw: random.Random, marks: Sequence[str]) -> str:
    parts = []
    for _ in range(draw.randint(3, 24)):
        pool = marks if draw.random() < 0.12 else _WORDS  # noqa: PLR2004 - a mark in eight
        parts += [draw.choice(pool), draw.choice(_SPACES)]
    return "".join(parts)
