"""Whether what code gave is what was expected: printed lines and returned values.

Lines are compared without white space at their ends and without empty lines at the end. Numbers
that are expected with a point may differ by a relative or absolute 1e-6; whole numbers may not.
"""

import json
import math
import re
from typing import cast

_TOLERANCE = 1e-6
_SHOWN = 80
_DECIMAL = re.compile(r"[-+]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][-+]?\d+)?")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


def is_same_output(found: str, expected: str) -> bool:
    r"""Whether two texts are the same, line by line.

    Example:
        >>> is_same_output("3 \n0.33333333\n\n", "3\n0.333333")
        True
        >>> is_same_output("3.0", "3"), is_same_output("3 4", "3\n4")
        (False, False)
    """
    ours, theirs = _lines(found), _lines(expected)
    return len(ours) == len(theirs) and all(map(_is_same_line, ours, theirs))


def is_same_value(found: object, expected: object) -> bool:
    """Whether two values of JSON are the same.

    Example:
        >>> is_same_value([1, 0.3], [1, 0.1 + 0.2]), is_same_value(1, True), is_same_value(1.0, 1)
        (True, False, True)
    """
    if isinstance(found, bool) or isinstance(expected, bool):
        return found is expected
    if isinstance(found, int | float) and isinstance(expected, int | float):
        return found == expected or (
            (isinstance(found, float) or isinstance(expected, float)) and _is_near(found, expected)
        )
    if isinstance(found, list) and isinstance(expected, list):
        ours, theirs = cast("list[object]", found), cast("list[object]", expected)
        return len(ours) == len(theirs) and all(map(is_same_value, ours, theirs))
    if isinstance(found, dict) and isinstance(expected, dict):
        return found.keys() == expected.keys() and all(
            is_same_value(value, expected[key]) for key, value in found.items()
        )
    return type(found) is type(expected) and found == expected


def shown(value: object) -> str:
    """A value on one short line, for a reason."""
    try:
        text = value if isinstance(value, str) else json.dumps(value)
    except (ValueError, RecursionError):
        text = f"a {type(value).__name__} too deep to show"
    text = " ".join(text[: 4 * _SHOWN].split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().split("\n")]


def _is_same_line(found: str, expected: str) -> bool:
    if found == expected:
        return True
    ours, theirs = found.split(), expected.split()
    return len(ours) == len(theirs) and all(map(_is_same_word, ours, theirs))


def _is_same_word(found: str, expected: str) -> bool:
    if found == expected:
        return True
    if not (_DECIMAL.fullmatch(expected) and _NUMBER.fullmatch(found)):
        return False
    return _is_near(float(found), float(expected))


def _is_near(found: float, expected: float) -> bool:
    try:
        return math.isclose(found, expected, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    except OverflowError:  # a whole number beyond all floats
        return False
