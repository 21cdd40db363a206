r"""Whether two answers are one, by what they can mean; no computer algebra, no guess.

Three findings: the same, different, or undecided, which is left to computer algebra. All of it is
symmetric.
"""

from collections.abc import Iterable
from fractions import Fraction
from itertools import product

from distill.verify.expression import DEGREE, ParseError, parse_expression
from distill.verify.finding import DIFFERENT, SAME, UNDECIDED, Finding
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
from distill.verify.numeric import compare_expressions, compare_relations
from distill.verify.units import PERCENT

_MOST_UNORDERED = 40
_LONGEST_NAME = 2
_ORDERED = frozenset(("tuple", "bracket", "matrix", "ratio"))


def compare(left: Readings, right: Readings) -> Finding:
    """The best finding over all readings; a difference counts if nothing says the same."""
    findings = [_compare_one(a, b) for a, b in product(left, right)]
    same = [finding for finding in findings if finding.is_same]
    if same:
        return next((finding for finding in same if not finding.missing), same[0])
    noted = [finding for finding in findings if finding.note]
    if noted:
        return noted[0]
    return DIFFERENT if DIFFERENT in findings else UNDECIDED


def _compare_one(left: Reading, right: Reading) -> Finding:
    for kind, function in _BY_KIND:
        if isinstance(left, kind) or isinstance(right, kind):
            return function(left, right)
    return _compare_plain(left, right)


def _compare_plain(left: Reading, right: Reading) -> Finding:
    if isinstance(left, Number | Expression) and isinstance(right, Number | Expression):
        return compare_expressions(left, right)
    if isinstance(left, Interval) and isinstance(right, Interval):
        return _compare_intervals(left, right)
    if isinstance(left, Infinity) and isinstance(right, Infinity):
        return SAME if left.sign == right.sign else DIFFERENT
    if isinstance(left, Relation) and isinstance(right, Relation):
        return compare_relations(left, right)
    return _compare_kinds(left, right)


def _compare_kinds(left: Reading, right: Reading) -> Finding:
    """Readings of two kinds, or words."""
    if isinstance(left, Words) and isinstance(right, Words):
        if left.text == right.text or _is_same_word(left.text, right.text):
            return SAME
        return UNDECIDED if left.is_maths or right.is_maths else DIFFERENT
    for one, other in ((left, right), (right, left)):
        if isinstance(one, Words):
            if isinstance(other, Expression) and one.text.isalpha():
                return _compare_product(one.text, other)
            return UNDECIDED if one.is_maths else DIFFERENT
    if isinstance(left, Relation | Interval) and isinstance(right, Relation | Interval):
        return UNDECIDED
    return DIFFERENT


def _is_same_word(left: str, right: str) -> bool:
    """Whatever the case; but ``AB`` is not ``ab``, nor ``X`` the variable ``x``."""
    if left.casefold() != right.casefold():
        return False
    return len(left) > _LONGEST_NAME or (len(left) > 1 and left[1:] == right[1:])


def _compare_product(letters: str, other: Expression) -> Finding:
    """Letters side by side are a product only against an expression: ``xy`` is ``x*y``."""
    try:
        return compare_expressions(Expression(parse_expression(letters)), other)
    except ParseError:
        return DIFFERENT


def _compare_named(left: Reading, right: Reading) -> Finding:
    """``x=5`` is 5, and is not ``y=5``; ``W(n)=1`` is ``W(x)=1``."""
    if isinstance(left, Named) and isinstance(right, Named):
        is_one_name = _head(left.name) == _head(right.name)
        return compare(left.value, right.value) if is_one_name else DIFFERENT
    named, other = (left, right) if isinstance(left, Named) else (right, left)
    assert isinstance(named, Named)
    if isinstance(other, Relation):
        return _compare_assignment(named, other)
    return compare(named.value, (other,))


def _head(name: str) -> str:
    name = name.replace(" ", "").replace("{", "").replace("}", "")
    return name if name.startswith("(") else name.partition("(")[0]


def _compare_assignment(named: Named, relation: Relation) -> Finding:
    value = named.value[0]
    if isinstance(value, Expression | Number) and len(named.name) == 1:
        tree = value.tree if isinstance(value, Expression) else ("num", value.value)
        own = Relation("=", ("-", ("sym", named.name), tree))
        return compare_relations(own, relation)
    return UNDECIDED


def _compare_quantities(left: Reading, right: Reading) -> Finding:
    if isinstance(left, Quantity) and isinstance(right, Quantity):
        return _compare_units(left, right)
    quantity, other = (left, right) if isinstance(left, Quantity) else (right, left)
    assert isinstance(quantity, Quantity)
    if isinstance(other, Words):
        return UNDECIDED if other.is_maths else DIFFERENT
    if not isinstance(other, Number | Expression):
        return DIFFERENT
    number = _pure(quantity)
    if number is not None and (finding := _compare_one(number, other)).is_same:
        return finding
    finding = _compare_one(quantity.amount[0], other)
    return Finding(True, missing=quantity.unit) if finding.is_same else finding


def _compare_units(left: Quantity, right: Quantity) -> Finding:
    if left.unit.dimension == right.unit.dimension:
        return _compare_one(*(_scaled(one.amount[0], one.unit.size) for one in (left, right)))
    first, second = _pure(left), _pure(right)
    is_angle = left.unit.dimension[:5] == right.unit.dimension[:5] == "angle"
    return _compare_one(first, second) if is_angle and first and second else DIFFERENT


def _pure(quantity: Quantity) -> Reading | None:
    """The number that a share or an angle is by itself: ``50%`` is a half, ``180°`` is pi."""
    amount, unit = quantity.amount[0], quantity.unit
    if unit == PERCENT:
        return _scaled(amount, unit.size)
    if unit.dimension == "angle@rad":
        return amount
    if unit.dimension == "angle" and isinstance(amount, Number | Expression):
        tree = amount.tree if isinstance(amount, Expression) else ("num", amount.value)
        return Expression(("*", tree, DEGREE))
    return None


def _scaled(amount: Reading, size: Fraction) -> Reading:
    if size == 1:
        return amount
    if isinstance(amount, Number):
        return Number(amount.value * size, amount.places)
    assert isinstance(amount, Expression)
    return Expression(("*", amount.tree, ("num", size)))


def _compare_series(left: Reading, right: Reading) -> Finding:
    for one, other in ((left, right), (right, left)):
        if isinstance(one, Series) and not isinstance(other, Series):
            if len(one.items) == 1 and one.kind in ("list", "set"):
                return compare(one.items[0], (other,))
            is_open = isinstance(other, Words) and other.is_maths
            is_open = is_open or isinstance(other, Interval | Relation)
            return UNDECIDED if is_open else DIFFERENT
    assert isinstance(left, Series)
    assert isinstance(right, Series)
    kinds = {left.kind, right.kind}
    if len(kinds) == 2 and "list" not in kinds:  # noqa: PLR2004
        return DIFFERENT
    if kinds & set(_ORDERED):
        if "ratio" in kinds and len(kinds) > 1:
            return DIFFERENT
        return _compare_in_order(left.items, right.items)
    return _compare_unordered(left.items, right.items)


def _compare_in_order(left: tuple[Readings, ...], right: tuple[Readings, ...]) -> Finding:
    if len(left) != len(right):
        return DIFFERENT
    return _all(compare(a, b) for a, b in zip(left, right, strict=True))


def _compare_unordered(left: tuple[Readings, ...], right: tuple[Readings, ...]) -> Finding:
    """As sets: what is in both drops out first, the rest is matched item by item."""
    here, there = dict.fromkeys(left), dict.fromkeys(right)
    rest = [item for item in here if item not in there]
    others = [item for item in there if item not in here]
    if not rest and not others:
        return SAME
    if max(len(rest), len(others)) > _MOST_UNORDERED:
        return UNDECIDED
    return _all((_found_in(rest, list(there)), _found_in(others, list(here))))


def _found_in(items: list[Readings], others: list[Readings]) -> Finding:
    return _all(_any(compare(item, other) for other in others) for item in items)


def _any(findings: Iterable[Finding]) -> Finding:
    best = DIFFERENT
    for finding in findings:
        if finding.is_same:
            return finding
        best = finding if finding.is_same is None else best
    return best


def _all(findings: Iterable[Finding]) -> Finding:
    """The same if all are; a unit that is missing somewhere is missing."""
    total = SAME
    for finding in findings:
        if finding.is_same is False:
            return DIFFERENT
        if finding.is_same is None or (finding.missing and total.is_same):
            total = finding
    return total


def _compare_intervals(left: Interval, right: Interval) -> Finding:
    """Bounds of infinity are open, however they are written."""
    for bound in ("low", "high"):
        ends = [getattr(one, bound)[0] for one in (left, right)]
        closed = [getattr(one, f"is_{bound}_closed") for one in (left, right)]
        if closed[0] != closed[1] and not any(isinstance(end, Infinity) for end in ends):
            return DIFFERENT
    return _all((compare(left.low, right.low), compare(left.high, right.high)))


_BY_KIND = (
    (Named, _compare_named),
    (Quantity, _compare_quantities),
    (Series, _compare_series),
)
