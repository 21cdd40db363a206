r"""Rows of published data sets as prompts, in the form that DeepSeek-R1 reports.

Maths: the problem, and then to reason step by step and to put the final answer within ``\boxed{}``;
no system prompt, no examples. Choices are asked for by their letter in the box.

A row that lacks what it needs raises ``KeyError``; who reads the file says where.
"""

import hashlib
import json
import random
from collections.abc import Mapping
from typing import Any, Final

from distill.types import Prompt

BOXED: Final = r"Please reason step by step, and put your final answer within \boxed{}."
BOXED_LETTER: Final = (
    r"Please reason step by step, and put the letter of your choice within \boxed{}."
)

Row = Mapping[str, Any]


def maths(row: Row, place: int) -> Prompt:
    r"""A problem with its answer; ``subject`` and ``level`` if the data has them.

    Example:
        >>> maths({"problem": "What is 1 + 1?", "answer": 2}, 0).text.splitlines()[-1]
        'Please reason step by step, and put your final answer within \\boxed{}.'
    """
    text = _first(row, "problem", "question")
    level = row.get("level")
    return Prompt(
        id=str(_first(row, "unique_id", "id", "ID", default=place)),
        text=f"{text.strip()}\n{BOXED}",
        answer=str(_first(row, "answer")),
        kind=str(row.get("subject") or ""),
        level=level if isinstance(level, int) else 0,
    )


def gsm8k(row: Row, place: int) -> Prompt:
    """The answer stands behind ``####`` at the end of a worked solution.

    Example:
        >>> gsm8k({"question": "How many?", "answer": "1,000 + 1 = 1,001 #### 1,001"}, 3).answer
        '1001'
    """
    _, mark, answer = str(_first(row, "answer")).rpartition("####")
    if not mark:
        raise KeyError("#### in 'answer'")
    text = _first(row, "question")
    return Prompt(f"test/{place}", f"{text.strip()}\n{BOXED}", answer.strip().replace(",", ""))


def gpqa(row: Row, place: int) -> Prompt:
    """Four choices; their order is drawn from the question, so it is the same in every run."""
    question = str(_first(row, "Question")).strip()
    right = str(_first(row, "Correct Answer")).strip()
    wrong = [str(_first(row, f"Incorrect Answer {number}")).strip() for number in (1, 2, 3)]
    digest = hashlib.sha256(question.encode()).digest()
    choices = [right, *wrong]
    random.Random(digest).shuffle(choices)
    lines = [f"{letter}) {choice}" for letter, choice in zip("ABCD", choices, strict=True)]
    return Prompt(
        id=str(_first(row, "Record ID", default=place)),
        text="\n".join([question, "", *lines, "", BOXED_LETTER]),
        answer="ABCD"[choices.index(right)],
        kind=str(row.get("High-level domain") or ""),
    )


def instructions(row: Row, place: int) -> Prompt:
    """A prompt with instructions that ``InstructionsVerifier`` checks; they stand in the answer."""
    names = _first(row, "instruction_id_list")
    arguments = _first(row, "kwargs")
    listed = [
        {"id": name, **{key: value for key, value in given.items() if value is not None}}
        for name, given in zip(names, arguments, strict=True)
    ]
    return Prompt(
        id=str(_first(row, "key", default=place)),
        text=str(_first(row, "prompt")),
        answer=json.dumps(listed, ensure_ascii=False),
        kind=names[0].partition(":")[0] if len(names) == 1 else "several",
    )


def _first(row: Row, *names: str, default: object = None) -> Any:  # noqa: ANN401 - as the row has it
    """The first of these columns that holds something."""
    for name in names:
        value = row.get(name)
        if value is not None and value != "":
            return value
    if default is None:
        raise KeyError(" or ".join(map(repr, names)))
    return default
