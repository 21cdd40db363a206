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
    rest = [(found, expected)]  # no recursion: JSON may be as deep as Python's own limit
    while rest:
        ours, theirs = rest.pop()
        if isinstance(ours, list) and isinstance(theirs, list):
            is_same = len(ours) == len(theirs)
            rest.extend(zip(ours, cast("list[object]", theirs), strict=False))
        elif isinstance(ours, dict) and isinstance(theirs, dict):
            is_same = ours.keys() == theirs.keys()
            rest.extend((value, theirs.get(key)) for key, value in ours.items())
        else:
            is_same = _is_same_single(ours, theirs)
        if not is_same:
            return False
    return True


def shown(value: object) -> str:
    """A value on one short line, for a reason."""
    try:
        text = value if isinstance(value, str) else json.dumps(value)
    except (ValueError, RecursionError):
        text = f"a {type(value).__name__} too deep to show"
    text = " ".join(text[: 4 * _SHOWN].split())
    # Lone surrogates cannot be stored, and control characters move a terminal.
    text = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _is_same_single(found: object, expected: object) -> bool:
    if isinstance(found, bool) or isinstance(expected, bool):
        return found is expected
    if isinstance(found, int | float) and isinstance(expected, int | float):
        return found == expected or (
            (isinstance(found, float) or isinstance(expected, float)) and _is_near(found, expected)
        )
    return type(found) is type(expected) and found == expected


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
