r"""Numbers and expressions held against each other by value, exactly or to 45 digits.

Expressions with variables are compared at points: one disagreement proves a difference, and
agreement in 45 digits at points with eight random digits is no accident.
"""

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise

from distill.verify.expression import Tree, symbols
from distill.verify.finding import DIFFERENT, SAME, TOO_LARGE, UNDECIDED, Finding
from distill.verify.kinds import Expression, Number, Relation
from distill.verify.magnitude import (
    HIGH_DIGITS,
    LOW_DIGITS,
    BeyondError,
    Evaluator,
    UndefinedError,
    Value,
    compare_values,
    is_next_to_nothing,
)

ENOUGH_DIGITS = 6
"""A decimal with so many significant digits stands for what it is the rounding of."""
_ENOUGH_POINTS = 2


def compare_expressions(left: Number | Expression, right: Number | Expression) -> Finding:
    """By value; a decimal with enough digits is what it is the rounding of."""
    if isinstance(left, Number) and isinstance(right, Number):
        if left.value == right.value or _is_rounding(left, right.value):
            return SAME
        return SAME if _is_rounding(right, left.value) else DIFFERENT
    trees = [("num", one.value) if isinstance(one, Number) else one.tree for one in (left, right)]
    if trees[0] == trees[1]:
        return SAME
    names = sorted(symbols(trees[0]) | symbols(trees[1]))
    if names:
        return _compare_at_points(trees[0], trees[1], names)
    finding = _compare_constants(trees[0], trees[1])
    for one, tree in ((left, trees[1]), (right, trees[0])):
        if finding.is_same is False and isinstance(one, Number) and one.places:
            value = _value_or_none(tree)
            if value is not None and _is_rounding(one, value):
                return SAME
    return finding


def _compare_constants(left: Tree, right: Tree) -> Finding:
    """Exact or to many digits; sizes beyond any number are still known to be large."""
    for digits in (LOW_DIGITS, HIGH_DIGITS):
        evaluators = Evaluator(digits=digits), Evaluator(digits=digits)
        values: list[Value | None] = []
        for evaluator, tree in zip(evaluators, (left, right), strict=True):
            try:
                values.append(evaluator.value(tree))
            except BeyondError:
                values.append(None)
            except UndefinedError:
                # Complex or undefined: two such are left to computer algebra.
                return UNDECIDED
        first, second = values
        if first is None or second is None:
            return _compare_beyond(first if second is None else second)
        is_same = compare_values(first, second, digits)
        if any(evaluator.is_rounded for evaluator in evaluators) and is_same is not False:
            return TOO_LARGE
        if is_same is not None:
            return SAME if is_same else DIFFERENT
    return UNDECIDED


def _compare_beyond(value: Value | None) -> Finding:
    """A size that has no number, against one that has; ``None`` is another without."""
    is_plain = isinstance(value, Fraction) or (value is not None and value.adjusted() < 10**17)
    return DIFFERENT if is_plain else TOO_LARGE


def _value_or_none(tree: Tree) -> Value | None:
    try:
        return Evaluator().value(tree)
    except (UndefinedError, BeyondError):
        return None


def _is_rounding(number: Number, value: Value) -> bool:
    """Whether a decimal is another value, cut or rounded, with enough digits to say so.

    A value that could have been written out as a decimal of that length is no rounding.
    """
    if not number.places or number.value == 0 or number.places > LOW_DIGITS:
        return False
    if not isinstance(value, Fraction):
        value = Fraction(value) if abs(value.adjusted()) < LOW_DIGITS else Fraction(0)
    elif _ends(value):
        return False
    scale = 10**number.places
    written = abs(number.value) * scale
    if written < 10 ** (ENOUGH_DIGITS - 1) or (value < 0) != (number.value < 0):
        return False
    exact = abs(value) * scale
    return written in (exact // 1, (exact + Fraction(1, 2)) // 1)


def _ends(value: Fraction) -> bool:
    """Whether a fraction is a decimal that ends."""
    rest = value.denominator
    for factor in (2, 5):
        while rest % factor == 0:
            rest //= factor
    return rest == 1


def _compare_at_points(left: Tree, right: Tree, names: list[str]) -> Finding:
    agreed = 0
    for point in _points(names):
        finding = _compare_at(point, left, right)
        if finding is None:  # neither is defined there
            continue
        if not finding.is_same:
            return UNDECIDED if "i" in names and finding is DIFFERENT else finding
        agreed += 1
    return SAME if agreed >= _ENOUGH_POINTS else UNDECIDED


def _compare_at(point: dict[str, Value], left: Tree, right: Tree) -> Finding | None:
    values: list[Value | None] = []
    is_beyond = False
    for tree in (left, right):
        try:
            values.append(Evaluator(point).value(tree))
        except UndefinedError:
            values.append(None)
        except BeyondError:
            is_beyond = True
    if is_beyond:
        return _compare_beyond(values[0]) if values else TOO_LARGE
    first, second = values
    if first is None or second is None:
        return None if first is second else UNDECIDED
    is_same = compare_values(first, second)
    if is_same is None and is_next_to_nothing(first) and is_next_to_nothing(second):
        return SAME
    return UNDECIDED if is_same is None else SAME if is_same else DIFFERENT


def _value_at(tree: Tree, point: dict[str, Value]) -> Value | None:
    try:
        return Evaluator(point).value(tree)
    except (UndefinedError, BeyondError):
        return None


_BASES = (23_456_789, 31_415_927, 27_182_819, 14_142_137, 17_320_509, 22_360_681, 16_180_339)
_SHAPES = ((1, 10**7), (1, 10**8), (-1, 10**7), (0, 1))


def _points(names: list[str]) -> Iterator[dict[str, Value]]:
    """Above one, below one, of both signs, and whole numbers."""
    for shape, (sign, divisor) in enumerate(_SHAPES):
        point: dict[str, Value] = {}
        for index, name in enumerate(names):
            base = _BASES[(index + 2 * shape) % len(_BASES)] + 1_234_577 * (index // len(_BASES))
            is_flipped = sign < 0 and index % 2 == 0
            point[name] = (
                Fraction(-base if is_flipped else base, divisor)
                if sign
                else Fraction(5 + 2 * index)
            )
        yield point


def compare_relations(left: Relation, right: Relation) -> Finding:
    """One relation is a multiple of the other; inequalities by a positive number."""
    if left.sign != right.sign:
        return DIFFERENT
    names = sorted(symbols(left.difference) | symbols(right.difference))
    values = [
        (_value_at(left.difference, point), _value_at(right.difference, point))
        for point in _points(names)
    ]
    known = [(a, b) for a, b in values if a and b]
    if len(known) <= _ENOUGH_POINTS:
        return UNDECIDED
    for (a, b), (c, d) in pairwise(known):
        if compare_values(_times(a, d), _times(b, c)) is not True:
            return UNDECIDED
    if left.sign in ("=", "!="):
        return SAME
    return SAME if all((a > 0) == (b > 0) for a, b in known) else DIFFERENT


def _times(left: Value, right: Value) -> Value:
    return Evaluator().value(("*", ("num", left), ("num", right)))
