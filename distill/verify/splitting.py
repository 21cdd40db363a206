r"""Cutting a plain text where no bracket is open: at commas, at ``and``, at signs, at rows.

Half-open intervals have brackets that do not match, so round and square ones close each other.
"""

import re

_OPENING = ("(", "[", "{", r"\{")
_CLOSING = (")", "]", "}", r"\}")
_PIECE = re.compile(r"\\[A-Za-z]+|\\.|<=|>=|!=|==|[^\\]", re.DOTALL)
_RELATIONS = {"=": "=", "==": "=", "<": "<", ">": ">", "<=": "<=", ">=": ">=", r"\ne": r"\ne",
              "!=": r"\ne", r"\approx": r"\approx"}  # fmt: skip
_JOINED = re.compile(
    r"(?:[,;]\s*|\s|(?<=[\d)\]}]))(?:and|or|und|oder|или)(?=[\s\d(\[\\{A-Z-])"
    r"|(?<=\d)\s(?:et|ou|y|o|и)\s(?=\d)|(?<=[)\]}])(?:et|ou)(?=[(\[\\])"
    r"|\s*(?:和|或|또는|または)\s*"
)
_MATRIX = re.compile(
    r"[\[(]?\\begin\{(?P<name>[pbB]?matrix|smallmatrix|array)\}(?:\{[lcr| ]*\})?(?P<cells>.*)"
    r"\\end\{(?P=name)\}[\])]?",
    re.DOTALL,
)


def split_at(text: str, signs: frozenset[str]) -> tuple[list[str], list[str]]:
    """The parts of a text between top-level signs, and the signs."""
    parts, found, depth, start = [], [], 0, 0
    for piece in _PIECE.finditer(text):
        token = piece.group()
        if token in _OPENING:
            depth += 1
        elif token in _CLOSING:
            depth -= 1
        elif depth <= 0 and token in signs:
            parts.append(text[start : piece.start()].strip())
            found.append(token)
            start = piece.end()
    parts.append(text[start:].strip())
    return parts, found


def split_items(text: str) -> list[str]:
    r"""Items of a list: at semicolons and commas, ``and`` and ``or``.

    Where both signs part items, semicolons part groups: ``a=1,b=2;a=3,b=4`` is two pairs.

    Example:
        >>> split_items("(1;2),(3;4)"), split_items("6 and 8"), split_items("a=1,b=2;a=3,b=4")
        (['(1;2)', '(3;4)'], ['6', '8'], ['(a=1;b=2)', '(a=3;b=4)'])
    """
    text = _JOINED.sub(";", text)
    parts, signs = split_at(text, _COMMAS)
    if len(set(signs)) > 1 and "=" in text:
        groups = [group.replace(",", ";") for group in split_at(text, _SEMICOLON)[0]]
        if len(groups) > 1 and all(";" in group for group in groups):
            return [f"({group})" for group in groups]
    return [part for part in parts if part]


def split_alternatives(text: str) -> list[str]:
    r"""Parts of a union."""
    return [part for part in split_at(text, _UNION)[0] if part]


def split_relation(text: str) -> tuple[list[str], list[str]]:
    """Sides of an equation or inequality, and its signs in one way of writing."""
    parts, signs = split_at(text, _RELATION_SIGNS)
    return parts, [_RELATIONS[sign] for sign in signs]


def enclosure(text: str) -> tuple[str, str, str] | None:
    """Opening bracket, inside and closing bracket, if one pair holds the whole text."""
    opening = text[:2] if text.startswith(r"\{") else text[:1]
    closing = text[-2:] if text.endswith(r"\}") else text[-1:]
    if opening not in _OPENING or closing not in _CLOSING:
        return None
    if (opening == r"\{") != (closing == r"\}") or opening == "{" or closing == "}":
        return None
    depth = 0
    for piece in _PIECE.finditer(text):
        depth += (piece.group() in _OPENING) - (piece.group() in _CLOSING)
        if depth == 0:
            is_whole = piece.end() == len(text)
            return (
                (opening, text[len(opening) : -len(closing)].strip(), closing) if is_whole else None
            )
    return None


def matrix_rows(text: str) -> list[list[str]] | None:
    """Cells of a matrix; ``None`` if the text is not one matrix."""
    match = _MATRIX.fullmatch(text)
    if match is None or r"\begin" in match["cells"]:
        return None
    rows = [row.strip() for row in re.split(r"\\\\(?:\[[^\]]*\])?", match["cells"])]
    cells = [[cell.strip() for cell in row.split("&")] for row in rows if row]
    return cells if cells and len({len(row) for row in cells}) == 1 else None


_COMMAS, _SEMICOLON, _UNION = frozenset(",;"), frozenset(";"), frozenset((r"\cup",))
_RELATION_SIGNS = frozenset(_RELATIONS)
