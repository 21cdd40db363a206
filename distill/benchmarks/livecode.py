"""Rows of LiveCodeBench as prompts whose answers are tests.

Hidden tests stand in the data as base64 of a compressed pickle of JSON text. A pickle can run code,
so this one is read by a reader that knows text and nothing else.

Source of the form: Jain et al. 2024, *LiveCodeBench*, and its data card.
"""

import base64
import io
import json
import pickle
import zlib
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from distill.types import Prompt

FIRST_DAY: Final = "2024-08-01"
LAST_DAY: Final = "2025-01-31"
"""The window that DeepSeek-R1 reports (2501.12948, section 3.1), both days included."""

SETUP: Final = "\n".join(
    [
        "import bisect, collections, functools, heapq, itertools, math, operator, re, string, sys",
        "from bisect import *",
        "from collections import *",
        "from functools import *",
        "from heapq import *",
        "from itertools import *",
        "from math import *",
        "from typing import *",
        "from builtins import *",  # pow and others that math shadows
    ]
)
"""Contest sites import these for everybody."""

_PROGRAM: Final = (
    "Write a Python program that solves this problem. It reads the input from stdin and writes the"
    " answer to stdout. Put the whole program into one ```python block."
)
_METHOD: Final = (
    "Complete this Python code so that it solves the problem, and put the whole class into one"
    " ```python block.\n\n```python\n{starter}\n```"
)

_LARGEST_BYTES: Final = 1 << 30

Row = Mapping[str, Any]


def read(row: Row, place: int) -> Prompt | None:
    """A problem of the window; ``None`` for an older or newer one."""
    del place
    day = str(row["contest_date"])[:10]
    if not FIRST_DAY <= day <= LAST_DAY:
        return None
    starter = str(row.get("starter_code") or "").rstrip()
    task = _METHOD.format(starter=starter) if starter else _PROGRAM
    cases = [*json.loads(row["public_test_cases"]), *hidden_cases(row["private_test_cases"])]
    return Prompt(
        id=str(row["question_id"]),
        text=f"{str(row['question_content']).strip()}\n\n{task}",
        answer=json.dumps(_tests(cases, row), ensure_ascii=False),
        kind=str(row.get("difficulty") or row.get("platform") or ""),
    )


def hidden_cases(text: str) -> list[dict[str, Any]]:
    """The hidden tests of a problem, plain or packed.

    Raises:
        ValueError: If they are neither.
    """
    try:
        found = json.loads(text)
    except ValueError:
        found = json.loads(_unpacked(text))
    if not isinstance(found, list):
        raise ValueError("the hidden tests are no list")  # noqa: TRY004 - of a file's content
    return found


def _unpacked(text: str) -> str:
    try:
        machine = zlib.decompressobj()
        data = machine.decompress(base64.b64decode(text, validate=True), _LARGEST_BYTES)
        value = _TextUnpickler(io.BytesIO(data)).load()
    except (ValueError, zlib.error, EOFError, pickle.UnpicklingError, IndexError) as error:
        raise ValueError(f"the hidden tests cannot be unpacked: {error}") from None
    if not isinstance(value, str):
        raise ValueError("the hidden tests hold no text")  # noqa: TRY004 - of a file's content
    return value


class _TextUnpickler(pickle.Unpickler):
    """Reads plain values; whatever would have to be imported is refused."""

    def find_class(self, module_name: str, global_name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it would import {module_name}.{global_name}")


def _tests(cases: list[dict[str, Any]], row: Row) -> dict[str, Any]:
    """The tests as ``CodeVerifier`` reads them."""
    if all(case["testtype"] == "stdin" for case in cases):
        listed = [{"stdin": case["input"], "stdout": case["output"]} for case in cases]
        return {"kind": "stdio", "setup": SETUP, "cases": listed}
    name = json.loads(row["metadata"])["func_name"]
    calls = [
        {
            "args": [json.loads(line) for line in case["input"].split("\n") if line.strip()],
            "expected": json.loads(case["output"]),
        }
        for case in cases
    ]
    return {"kind": "function", "name": name, "setup": SETUP, "cases": calls}
