r"""Finding ``\boxed{...}`` in text, with balanced braces and in one pass."""

import re
from dataclasses import dataclass

_BOX = re.compile(r"\\boxed\s*\{")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)  # an escaped brace is a sign, not a group


@dataclass(frozen=True, slots=True)
class Boxes:
    """The outermost boxes of a text.

    Attributes:
        contents: What stands in each closed box, in order.
        is_cut: Whether a last box was opened and never closed.
    """

    contents: tuple[str, ...]
    is_cut: bool = False


def find_boxes(text: str) -> Boxes:
    r"""Find the boxes of a text; a box inside a box belongs to the outer one.

    Example:
        >>> find_boxes(r"\boxed{3}, or rather \boxed{\frac{1}{2}}").contents
        ('3', '\\frac{1}{2}')
        >>> find_boxes(r"\boxed{\frac{1}{2}").is_cut
        True
    """
    contents: list[str] = []
    opening = _BOX.search(text)
    while opening is not None:
        end = _closing_brace(text, opening.end())
        if end is None:
            return Boxes(tuple(contents), is_cut=True)
        contents.append(text[opening.end() : end])
        opening = _BOX.search(text, end)
    return Boxes(tuple(contents))


def _closing_brace(text: str, start: int) -> int | None:
    """Index of the brace that closes a group whose content begins at ``start``."""
    depth = 1
    for brace in _BRACE.finditer(text, start):
        if brace.group() == "{":
            depth += 1
        elif brace.group() == "}":
            depth -= 1
        if depth == 0:
            return brace.start()
    return None
