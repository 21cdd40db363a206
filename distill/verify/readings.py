r"""What an answer can mean: numbers, quantities, lists, intervals, relations, or mere words.

``read`` gives every reading of a text, because some have two: ``(1, 2)`` is a pair and an open
interval, ``1,22`` a list and, in half of Europe, a number. ``distill.verify.compare`` compares.
"""

import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

from distill.verify.expression import ParseError, Tree, parse_expression
from distill.verify.kinds import (
    Expression,
    Infinity,
    Interval,
    Named,
    Number,
    Quantity,
    Reading,
    Readings,
    Relation,
    Series,
    Words,
)
from distill.verify.plain import LONGEST
from distill.verify.splitting import (
    enclosure,
    matrix_rows,
    split_alternatives,
    split_items,
    split_relation,
)
from distill.verify.units import read_unit

LARGEST_DIGITS = 400
"""Longer numbers are compared as text: ``int`` takes quadratic time, then refuses."""
LONGEST_REMEMBERED = 500
"""What is longer is not kept in memory: a thousand such answers would fill it."""
_DEEPEST = 6
_MOST_ITEMS = 400

_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)"
_DECIMAL = re.compile(rf"([+-]?)({_NUMBER})", re.ASCII)
_SLASHED = re.compile(rf"([+-]?{_NUMBER})/({_NUMBER})", re.ASCII)
_FRACTION = re.compile(rf"([+-]?)\\frac\{{([+-]?{_NUMBER})\}}\{{({_NUMBER})\}}", re.ASCII)
_SCIENTIFIC = re.compile(rf"([+-]?{_NUMBER})[eE]([+-]?\d{{1,3}})", re.ASCII)
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}([,' ])\d{3}(?:\1\d{3})*(?:\.\d*)?", re.ASCII)
_DOTTED = re.compile(r"[+-]?\d{1,3}(?:(?:\.\d{3}){2,}(?:,\d+)?|(?:\.\d{3})+,\d+)", re.ASCII)
_DECIMAL_COMMA = re.compile(r"([+-]?(?:\d+)),(\d+)", re.ASCII)
_CHOICE = re.compile(r"\(?([A-Ja-j])\)(?=.)[.:]?|([A-J])[.:] ")
_CURRENCY = re.compile(r"([+-]?)(\\\$|US\\\$|[€£¥₩₽₹])\s*(\S.*)")
_UNIT = re.compile(
    r"(?P<amount>.*?(?:[\d.)}!|]|\\pi)(?:\^\{?\d+\}?)?)(?P<space>\s*)"
    r"(?P<unit>(?:\\\$|[%€£¥₩₽₹¢°]|[^\W\d_])(?:[^\W_\d]|[\s/.°^{}'-]|(?<=\^)\d|(?<=\{)\d)*)"
)
_COUNTED = re.compile(
    r"(?P<before>\\\$|[€£¥₩₽₹])?(?P<number>[+-]?[\d.][\d.,' /]*(?<=\d))(?P<space> ?)"
    r"(?P<behind>\\\$|[%€£¥₩₽₹¢°]|[^\W\d_]{2}[^\W\d_ ]*|[^\W\d_](?:\^\{?[23]\}?)?|)"
)
_MATHS = re.compile(r"\\[A-Za-z]|[\^|_]|[A-Za-z0-9)]\(|[<>]")  # plain arithmetic is read here
_PLUS_MINUS = re.compile(r"\\(pm|mp)(?![A-Za-z])")
_INFINITE = {r"\infty": 1, r"+\infty": 1, r"-\infty": -1, "oo": 1, "-oo": -1}
_MEMBER = re.compile(r"(.+?)\\in(?![A-Za-z])(.+)", re.DOTALL)
_NAME = (
    r"(?:[A-Za-z]+ )*(?:\\[A-Za-z]+ ?)?[A-Za-z]+(?:_(?:\w|\{[^{}]*\})|_\w+)?'*(?:\([^()=]*\))?"
    r"|\\(?!frac|sqrt|sin|cos|tan|ln|log)[A-Za-z]+(?:_(?:\w|\{[^{}]*\}))?"
)
_NAMED = re.compile(
    rf"(?:{_NAME})|\|(?:{_NAME})\||(?:{_NAME})(?::(?:{_NAME}))+|\((?:{_NAME})(?:[,;](?:{_NAME}))*\)"
    rf"|\\frac\{{(?:{_NAME})\}}\{{(?:{_NAME})\}}"
)
_LONGEST_NAME = 60


def read(text: str) -> Readings:
    r"""Every reading of a plain text, the likeliest first.

    Example:
        >>> read("0.50"), read(r"\frac{1}{2}")
        ((Number(value=Fraction(1, 2), places=2),), (Number(value=Fraction(1, 2), places=None),))
        >>> [type(reading).__name__ for reading in read("(0;1)")]
        ['Series', 'Interval']
    """
    return _read_again(text) if len(text) <= LONGEST_REMEMBERED else _read_once(text)


def _read_once(text: str) -> Readings:
    try:
        return _read(text, 0)
    except RecursionError:  # depth is bounded below it; a caller may be deep itself
        return (Words(text, is_maths=True),)


_read_again = lru_cache(maxsize=8192)(_read_once)


def number(text: str) -> Number | None:
    """The number that a text is, with or without thousands separators."""
    text = text.replace("_", "") if text[:1].isdigit() else text
    if _GROUPED.fullmatch(text):
        text = re.sub(r"[,' ]", "", text)
    elif _DOTTED.fullmatch(text):
        text = text.replace(".", "").replace(",", ".")
    if len(text) > LARGEST_DIGITS:
        return None
    if _DECIMAL.fullmatch(text):
        places = len(text.partition(".")[2])
        return Number(Fraction(text), places or None)
    if match := _SCIENTIFIC.fullmatch(text):
        return Number(Fraction(match[1]) * Fraction(10) ** int(match[2]))
    if match := _SLASHED.fullmatch(text):
        above, below = Fraction(match[1]), Fraction(match[2])
    elif match := _FRACTION.fullmatch(text):
        above, below = Fraction(f"{match[1]}1") * Fraction(match[2]), Fraction(match[3])
    else:
        return None
    return Number(above / below) if below else None


def _read(text: str, depth: int) -> Readings:
    if (value := number(text)) is not None:
        return (value,)
    if len(text) > LONGEST or depth > _DEEPEST:
        return (Words(text, is_maths=True),)
    if (counted := _counted(text)) is not None:
        return counted
    if text in _INFINITE:
        return (Infinity(_INFINITE[text]),)
    found = [
        *_choices(text, depth),
        *_decimal_comma(text),
        *(_series(text, depth) or _relation(text, depth) or _enclosed(text, depth)),
    ]
    if not found:
        found.extend(_scalar(text, depth))
    return tuple(found) or (Words(text, _is_maths(text)),)


def _counted(text: str) -> Readings | None:
    """A plain number with its unit: ``$1,000``, ``5 km``, ``20%``; the commonest quantities."""
    match = _COUNTED.fullmatch(text)
    if match is None or bool(match["before"]) == bool(match["behind"]):
        return None
    value, unit = number(match["number"]), read_unit(match["before"] or match["behind"])
    is_short = match["behind"][:1].isalpha() and match["behind"][1:2] in (
        "",
        "^",
    )  # 5m is 5 times m
    is_product = "," not in match["number"] and (is_short or (unit.is_word and not match["space"]))
    return None if value is None or is_product else (Quantity((value,), unit),)


def _is_maths(text: str) -> bool:
    return bool(_MATHS.search(text))


def _choices(text: str, depth: int) -> list[Reading]:
    """``(B) 5`` is choice B, and 5."""
    match = _CHOICE.match(text)
    if match is None or len(text) == match.end():
        return []
    rest = text[match.end() :].strip()
    if not rest or rest[0] in "+-*/^=<>(_!":
        return []
    letter = (match[1] or match[2]).upper()
    return [Words(letter, is_maths=False), *_read(rest, depth + 1)]


def _decimal_comma(text: str) -> list[Reading]:
    match = _DECIMAL_COMMA.fullmatch(text)
    return [Number(Fraction(f"{match[1]}.{match[2]}"), len(match[2]))] if match else []


def _series(text: str, depth: int) -> list[Reading]:
    """Several answers side by side, or one answer with a sign of both kinds."""
    parts = split_items(text)
    if len(parts) > 1:
        return [Series("list", _items(parts, depth))]
    unions = split_alternatives(text)
    if len(unions) > 1:
        return [Series("list", _items(unions, depth))]
    if _PLUS_MINUS.search(text) and not re.search(r"[=<>(\[{]\S*\\(?:pm|mp).*[,;]", text):
        both = [_PLUS_MINUS.sub(signs, text) for signs in (_upper, _lower)]
        return [Series("list", _items(both, depth))]
    return []


def _upper(sign: re.Match[str]) -> str:
    return "+" if sign[1] == "pm" else "-"


def _lower(sign: re.Match[str]) -> str:
    return "-" if sign[1] == "pm" else "+"


def _items(parts: Sequence[str], depth: int) -> tuple[Readings, ...]:
    r"""Items of a series; a list within it, as ``1 \\pm x`` is one, adds its own items."""
    items: list[Readings] = []
    for part in parts[:_MOST_ITEMS]:
        item = _read(part, depth + 1)
        is_list = len(item) == 1 and isinstance(item[0], Series) and item[0].kind == "list"
        items.extend(item[0].items if is_list else (item,))  # type: ignore[union-attr]
    return tuple(items)


def _relation(text: str, depth: int) -> list[Reading]:
    if (match := _MEMBER.fullmatch(text)) and is_name(match[1]):
        return [Named(match[1], _read(match[2].strip(), depth + 1))]
    parts, signs = split_relation(text)
    if not signs:
        return []
    if set(signs) <= {"=", r"\approx"}:
        return _equation(parts, signs, depth)
    if any(not part for part in parts) or len(set(signs)) > 2:  # noqa: PLR2004
        return []
    return _inequality(parts, signs, depth)


def _equation(parts: list[str], signs: list[str], depth: int) -> list[Reading]:
    r"""A name and its last exact value: ``x = 2/6 = 1/3 \approx 0.33`` is ``x = 1/3``."""
    if "=" in signs and r"\approx" in signs:
        parts = parts[: signs.index(r"\approx") + 1]
    first, last = parts[0], parts[-1]
    if not last:
        return []
    if is_name(first):
        return [Named(first, _read(last, depth + 1))]
    if len(parts) > 2 and not _has_letters(first):  # noqa: PLR2004 - a calculation and its result
        return list(_read(last, depth + 1))
    difference = _difference(first, last)
    if difference is not None and not _has_letters(first) and not _has_letters(last):
        return list(_read(last, depth + 1))
    return [] if difference is None else [Relation("=", difference)]


def _inequality(parts: list[str], signs: list[str], depth: int) -> list[Reading]:
    found: list[Reading] = []
    if signs == [r"\ne"]:
        difference = _difference(parts[0], parts[1])
        return [] if difference is None else [Relation("!=", difference)]
    if all(sign[0] == ">" for sign in signs):
        parts, signs = parts[::-1], [sign.replace(">", "<") for sign in signs[::-1]]
    if any(sign[0] != "<" for sign in signs):
        return []
    if "|" in "".join(parts) and any(part.startswith("|") for part in parts):
        difference = _difference(parts[0], parts[1]) if len(parts) == 2 else None  # noqa: PLR2004
        return [] if difference is None else [Relation(signs[0], difference)]  # |x| is no bound
    if len(parts) == 3 and is_name(parts[1]):  # noqa: PLR2004 - low, name, high
        low, high = (_read(part, depth + 1) for part in (parts[0], parts[2]))
        bounds = Interval(low, high, signs[0] == "<=", signs[1] == "<=")
        return [Named(parts[1], (bounds,))]
    if len(parts) != 2:  # noqa: PLR2004
        return []
    left, right = parts
    is_closed = signs[0] == "<="
    if is_name(left) and not is_name(right):
        bounds = Interval((Infinity(-1),), _read(right, depth + 1), False, is_closed)
        found.append(Named(left, (bounds,)))
    elif is_name(right) and not is_name(left):
        bounds = Interval(_read(left, depth + 1), (Infinity(1),), is_closed, False)
        found.append(Named(right, (bounds,)))
    difference = _difference(left, right)
    return found if difference is None else [*found, Relation(signs[0], difference)]


def _difference(left: str, right: str) -> Tree | None:
    try:
        return ("-", parse_expression(left), parse_expression(right))
    except ParseError:
        return None


def is_name(text: str) -> bool:
    """Whether a text is the name of something rather than an expression."""
    text = text.strip()
    return len(text) <= _LONGEST_NAME and _NAMED.fullmatch(text) is not None


def _has_letters(text: str) -> bool:
    return any(char.isalpha() for char in re.sub(r"\\[A-Za-z]+", "", text))


def _enclosed(text: str, depth: int) -> list[Reading]:
    rows = matrix_rows(text)
    if rows is not None:
        cells = tuple((Series("tuple", _items(row, depth + 1)),) for row in rows)
        column: list[Reading] = [Series("matrix", cells)]
        if all(len(row) == 1 for row in rows) or len(rows) == 1:
            flat = [cell for row in rows for cell in row]
            column.append(Series("tuple", _items(flat, depth)))
        return column
    parts = enclosure(text)
    if parts is None:
        return []
    opening, inner, closing = parts
    items = split_items(inner) if inner else []
    if opening == r"\{":
        return [Series("set", _items(items, depth))] if "|" not in inner else []
    if len(items) == 1 and opening == "(" and closing == ")":
        inside = _read(inner, depth + 1)
        return (
            [] if any(isinstance(one, Words) and one.is_maths for one in inside) else list(inside)
        )
    found: list[Reading] = []
    if (opening, closing) in (("(", ")"), ("[", "]")) and items:
        found.append(Series("tuple" if opening == "(" else "bracket", _items(items, depth)))
    if len(items) == 2:  # noqa: PLR2004
        low, high = _items(items, depth)
        found.append(Interval(low, high, opening == "[", closing == "]"))
    return found


def _scalar(text: str, depth: int) -> list[Reading]:
    """A quantity, a ratio or an expression."""
    found: list[Reading] = []
    if ":" in text and all(parts := text.split(":")):
        return [Series("ratio", _items(parts, depth))]
    if match := _CURRENCY.fullmatch(text):
        amount = _read(match[1] + match[3], depth + 1)
        if isinstance(amount[0], Number | Expression):
            return [Quantity(amount[:1], read_unit(match[2].removeprefix("US")))]
    tree = None
    if not (text.isalpha() and len(text) > 1 and text != "pi"):  # "no" is no product
        try:
            tree = parse_expression(text)
            found.append(Expression(tree))
        except ParseError:
            pass
    if (match := _UNIT.fullmatch(text)) and (tree is None or match["space"]):
        amount = _read(match["amount"], depth + 1)
        if isinstance(amount[0], Number | Expression):
            found.insert(0, Quantity(amount[:1], read_unit(match["unit"])))
    return found
