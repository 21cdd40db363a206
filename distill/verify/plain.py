r"""One way to write an answer: plain signs, one LaTeX command per meaning, no formatting.

``plain`` knows nothing of mathematics. It turns ``½`` into ``\frac{1}{2}``, full-width digits into
digits, ``\text{cm}`` into ``cm`` and drops what only changes the looks, in linear time.
"""

import re
import unicodedata

LONGEST = 4_000
"""Longer texts are no answers that a person wrote: they only get the cheap part."""

_MINUSES = dict.fromkeys(map(ord, "\u2212\u2010\u2011\u2012\u2013\ufe63"), "-")
_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u202f"))
_FULL_WIDTH = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
_SIGNS = {
    "\u2044": "/", "\u3002": ".", "\u3001": ",", "\uff61": ".", "\u00d7": "*", "\u00b7": "*",
    "\u22c5": "*", "\u2219": "*", "\u00f7": "/", "\u2264": "<=", "\u2265": ">=", "\u2a7d": "<=",
    "\u2a7e": ">=", "\u2260": r"\ne ", "\u00b1": r"\pm ", "\u222a": r"\cup ", "\u2229": r"\cap ",
    "\u2208": r"\in ", "\u221e": r"\infty ", "\u03c0": r"\pi ", "\u221a": r"\sqrt ",
    "\u221b": r"\sqrt[3]", "\u2248": r"\approx ", "\u2205": r"\emptyset ", "\u211d": r"\mathbb{R}",
    "\u2124": r"\mathbb{Z}", "\u2115": r"\mathbb{N}", "\u211a": r"\mathbb{Q}", "\u00ba": "\u00b0",
    "\u2220": r"\angle ", "\u03b1": r"\alpha ", "\u03b2": r"\beta ", "\u03b8": r"\theta ",
    "\u03bb": r"\lambda ", "\u2236": ":", "\u2192": r"\to ", "\u201c": '"', "\u201d": '"',
    "\u2019": "'", "\u2018": "'", "\u2032": "'", "\u2103": "\u00b0C", "\u300c": "", "\u300d": "",
}  # fmt: skip
_TABLE = {**_FULL_WIDTH, **_MINUSES, **_INVISIBLE, **{ord(key): to for key, to in _SIGNS.items()}}

_SUPERSCRIPTS = dict(zip("\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207a\u207b\u207f", "0123456789+-n", strict=True))  # fmt: skip # noqa: E501
_SUBSCRIPTS = dict(zip("\u2080\u2081\u2082\u2083\u2084\u2085\u2086\u2087\u2088\u2089", "0123456789", strict=True))  # fmt: skip # noqa: E501
_SUPERSCRIPT = re.compile(f"[{''.join(_SUPERSCRIPTS)}]+")
_SUBSCRIPT = re.compile(f"[{''.join(_SUBSCRIPTS)}]+")

_DROPPED = (
    "left right big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr displaystyle textstyle limits"
    " ! ( ) [ ] bf rm it sf tt mathstrut nolimits vphantom"
)
_COMMANDS = {
    **{f"\\{name}": "" for name in _DROPPED.split()},
    **{f"\\{name}": " " for name in [*",;: /", "quad", "qquad", "enspace", "thinspace"]},
    **{f"\\{name}frac": r"\frac" for name in "dtc"},
    **{f"\\{name}": "<=" for name in ("le", "leq", "leqslant", "leqq")},
    **{f"\\{name}": ">=" for name in ("ge", "geq", "geqslant", "geqq")},
    **{f"\\{name}": "*" for name in ("cdot", "times", "ast")},
    **{f"\\{name}": r"\ne" for name in ("neq", "not=")},
    **{f"\\{name}": r"\approx" for name in ("approx", "approxeq", "simeq")},
    **{f"\\{name}": r"\emptyset" for name in ("varnothing", "emptyset")},
    "\\lt": "<", "\\gt": ">", "\\div": "/", "\\%": "%", "\\degree": "\u00b0", "\\lbrace": r"\{",
    "\\rbrace": r"\}", "\\lvert": "|", "\\rvert": "|", "\\vert": "|", "\\mid": "|", "\\colon": ":",
    "\\infin": r"\infty", "\\dbinom": r"\binom", "\\tbinom": r"\binom", "\\land": " and ",
    "\\lor": " or ", "\\wedge": " and ", "\\vee": " or ", "\\euro": "\u20ac", "\\pounds": "\u00a3",
    "\\langle": "(", "\\rangle": ")", "\\lbrack": "[", "\\rbrack": "]", "\\ ": " ", "\\#": "#",
    "\\&": "&", "\\arcdegree": "\u00b0", "\\log": r"\log", "\\imath": "i",
}  # fmt: skip
_COMMAND = re.compile(r"\\(?:[A-Za-z]+|[^A-Za-z])", re.DOTALL)
_NEGATIVE_SPACE = re.compile(r"\\!\s*")
_GROUP_COMMA = re.compile(r"\{\s*,\s*\}")
_WRAPPERS = (
    "boxed|fbox|text|textbf|textit|textrm|textnormal|texttt|textsf|mathrm|mathbf|mathit|mathsf|mathtt"
    "|mbox|hbox|emph|operatorname|underline|overline|boldsymbol|bm|displaylines|ensuremath"
)
_WRAPPED = re.compile(rf"\\(?:{_WRAPPERS})\*?\s*\{{([^{{}}]*)\}}")
_WRAPPED_DEPTH = 4
_COLOUR = re.compile(r"\\(?:textcolor|color|colorbox)\s*(?:\[[^\]{}]*\])?\s*\{[^{}]*\}")
_DEGREE = re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![A-Za-z]))")
_SEPARATED = re.compile(r",\s+")
_ESCAPED_TWICE = re.compile(r"\\\\(?=[A-Za-z{}])")
_DELIMITER = re.compile(r"(?<!\\)\$")
_LOOSE_SPACE = re.compile(r"(?<![\w.\u00b0]) | (?![\w.\\])")
_EDGES = "*_\"'` \t\n"


def plain(text: str) -> str:
    r"""The text in one way of writing; a comma before a space becomes a semicolon.

    Example:
        >>> plain(r"$\dfrac{1}{2}\,\text{cm}$"), plain("3½"), plain("x² ≤ 4")
        ('\\frac{1}{2}cm', '3\\frac{1}{2}', 'x^{2}<=4')
    """
    if not text.isascii():
        text = _plain_signs(text)
    if len(text) > LONGEST:
        return _LOOSE_SPACE.sub("", " ".join(text.split())).strip("$ ").rstrip(".")
    if "$" in text:
        text = _without_delimiters(text)
    if "{" in text:
        text = _GROUP_COMMA.sub(",", text)
    if "\\" in text:
        text = _plain_latex(text)
    text = text.strip(_EDGES).rstrip(".").strip(_EDGES)
    text = _SEPARATED.sub(";", text)
    text = _LOOSE_SPACE.sub("", " ".join(text.split()))
    while text.startswith("{") and _closes_at_end(text):
        text = text[1:-1].strip().rstrip(".")
    return text


def is_balanced(text: str) -> bool:
    """Whether every brace is closed; escaped braces are signs, not groups."""
    depth = 0
    for brace in re.finditer(r"\\.|[{}]", text, re.DOTALL):
        depth += {"{": 1, "}": -1}.get(brace.group(), 0)
        if depth < 0:
            return False
    return depth == 0


def _plain_signs(text: str) -> str:
    text = text.translate(_TABLE)
    if text.isascii():
        return text
    text = _SUPERSCRIPT.sub(lambda run: f"^{{{_mapped(run[0], _SUPERSCRIPTS)}}}", text)
    text = _SUBSCRIPT.sub(lambda run: f"_{{{_mapped(run[0], _SUBSCRIPTS)}}}", text)
    return text if text.isascii() else "".join(map(_plain_char, text))


def _mapped(run: str, table: dict[str, str]) -> str:
    return "".join(table[char] for char in run)


def _plain_char(char: str) -> str:
    """``٣`` becomes ``3``, ``½`` becomes a fraction, and a space of any width a space."""
    if char.isascii():
        return char
    digit = unicodedata.decimal(char, None)
    if digit is not None:
        return str(digit)
    if char.isspace():
        return " "
    above, slash, below = unicodedata.normalize("NFKC", char).partition("\u2044")
    return rf"\frac{{{above}}}{{{below}}}" if slash and below else char


def _without_delimiters(text: str) -> str:
    """Drops ``$`` around mathematics; a single one before or after a digit is a currency."""
    signs = _DELIMITER.findall(text)
    if len(signs) == 1:
        marked = re.sub(r"(?<!\\)\$(?=\s*[\d.])|(?<=\d)\$", r"\\$", text)
        return _DELIMITER.sub("", marked)
    return _DELIMITER.sub("", text)


def _plain_latex(text: str) -> str:
    if "\\\\" in text and "\\begin" not in text:
        text = _ESCAPED_TWICE.sub(r"\\", text)
    text = _NEGATIVE_SPACE.sub("", text)
    text = _DEGREE.sub("\u00b0", _COLOUR.sub("", text))
    for _ in range(_WRAPPED_DEPTH):
        text, found = _WRAPPED.subn(r" \1 ", text)
        if not found:
            break
    return _COMMAND.sub(lambda command: _COMMANDS.get(command[0], command[0]), text)


def _closes_at_end(text: str) -> bool:
    """Whether the group that opens at the first sign is the whole text."""
    if not text.endswith("}") or text.endswith("\\}"):
        return False
    depth = 0
    for index, char in enumerate(text):
        depth += (char == "{") - (char == "}")
        if depth == 0:
            return index == len(text) - 1
    return False
