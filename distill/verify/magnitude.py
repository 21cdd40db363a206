r"""The value of a tree: exact while it is a fraction, else to 60 digits and more; never a float.

Two values that differ in their first 45 digits are different answers, whatever the size. Each
operation is bounded: ``9^{9^{9^9}}`` and ``1000000!`` take no longer than ``2+2``, because beyond
20,000 bits a number is only kept as leading digits and exponent.
"""

from collections.abc import Callable, Mapping
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, DecimalException
from fractions import Fraction
from functools import lru_cache
from math import comb, factorial
from typing import Any, TypeAlias

from distill.verify.expression import Tree

Value: TypeAlias = Fraction | Decimal

LOW_DIGITS, HIGH_DIGITS = 70, 180
_AGREEING, _DIFFERING = 45, 25
_MOST_BITS = 20_000
_MOST_FACTORIAL = 1_500
_STIRLING = (
    Fraction(1, 12), Fraction(-1, 360), Fraction(1, 1260), Fraction(-1, 1680), Fraction(1, 1188),
    Fraction(-691, 360360), Fraction(1, 156), Fraction(-3617, 122400), Fraction(43867, 244188),
)  # fmt: skip
_LARGEST_FACTORIAL = 10**16
_HALF = Fraction(1, 2)
_LARGEST_ANGLE = Decimal("1e20")


class UndefinedError(ArithmeticError):
    """A tree without a real value, such as a division by zero."""


class BeyondError(ArithmeticError):
    """A value with an exponent of more than 18 digits."""


class Evaluator:
    """Values of trees to one precision, with given values for the variables.

    Attributes:
        is_rounded: Whether a fraction became too long to be kept exactly.
    """

    def __init__(
        self, variables: Mapping[str, Value] | None = None, *, digits: int = LOW_DIGITS
    ) -> None:
        """Take what the variables stand for; ``digits`` counts until ``value`` is called."""
        self.is_rounded = False
        self._variables = variables or {}
        self._context = Context(prec=digits, Emax=MAX_EMAX, Emin=MIN_EMIN)
        self._functions: dict[str, Callable[[Decimal], Decimal]] = {
            "sin": self._sine,
            "cos": lambda x: self._sine(self._context.add(x, self._half_pi)),
            "arctan": self._arctangent,
            "exp": self._context.exp,
            "ln": self._logarithm,
        }

    def value(self, tree: Tree) -> Value:
        """Value of a tree.

        Raises:
            UndefinedError: If it has no real value.
            BeyondError: If its exponent is too long.
        """
        try:
            return self._value(tree)
        except (DecimalException, ZeroDivisionError) as error:
            if "Overflow" in type(error).__name__:
                raise BeyondError from None
            raise UndefinedError from None

    def _value(self, tree: Tree) -> Value:
        kind = tree[0]
        if kind == "num":
            return tree[1]  # type: ignore[no-any-return]
        if kind == "sym":
            return self._variables[tree[1]]
        if kind == "const":
            return (
                pi_digits(self._context.prec) if tree[1] == "pi" else self._context.exp(Decimal(1))
            )
        operands: list[Any] = [
            self._value(part) if isinstance(part, tuple) else part for part in tree[1:]
        ]
        return self._bounded(getattr(self, _METHODS[kind])(*operands))

    def _bounded(self, value: Value) -> Value:
        if isinstance(value, Fraction):
            if value.numerator.bit_length() + value.denominator.bit_length() > _MOST_BITS:
                self.is_rounded = True
                return self._real(value)
        elif not value.is_finite():
            raise BeyondError
        return value

    def _real(self, value: Value) -> Decimal:
        if isinstance(value, Fraction):
            return self._context.divide(Decimal(value.numerator), Decimal(value.denominator))
        return value

    def _negated(self, value: Value) -> Value:
        return -value if isinstance(value, Fraction) else value.copy_negate()

    def _add(self, left: Value, right: Value) -> Value:
        if isinstance(left, Fraction) and isinstance(right, Fraction):
            return left + right
        return self._context.add(self._real(left), self._real(right))

    def _subtract(self, left: Value, right: Value) -> Value:
        return self._add(left, self._negated(right))

    def _multiply(self, left: Value, right: Value) -> Value:
        if isinstance(left, Fraction) and isinstance(right, Fraction):
            return left * right
        return self._context.multiply(self._real(left), self._real(right))

    def _divide(self, left: Value, right: Value) -> Value:
        if isinstance(left, Fraction) and isinstance(right, Fraction):
            return left / right
        return self._context.divide(self._real(left), self._real(right))

    def _power(self, base: Value, exponent: Value) -> Value:
        if isinstance(exponent, Fraction) and exponent.denominator == 1:
            return self._whole_power(base, exponent.numerator)
        if isinstance(exponent, Fraction) and isinstance(base, Fraction):
            root = _exact_root(base, exponent.denominator)
            if root is not None:
                return self._whole_power(root, exponent.numerator)
        power = self._real(base)
        if power < 0:
            raise UndefinedError
        if exponent == _HALF:
            return self._context.sqrt(power)
        return self._context.power(power, self._real(exponent))

    def _whole_power(self, base: Value, exponent: int) -> Value:
        if base == 0 and exponent <= 0:
            raise UndefinedError
        if isinstance(base, Fraction):
            bits = max(base.numerator.bit_length(), base.denominator.bit_length())
            if base in (0, 1, -1) or bits * abs(exponent) <= _MOST_BITS:
                return base ** (exponent % 2 if base == -1 else exponent)
            self.is_rounded = True
        power = self._context.power(self._real(base).copy_abs(), Decimal(exponent))
        return self._context.minus(power) if base < 0 and exponent % 2 else power

    def _root(self, degree: Value, value: Value) -> Value:
        if not isinstance(degree, Fraction) or degree.denominator != 1 or degree < 1:
            return self._power(value, self._divide(Fraction(1), degree))
        if value < 0 and degree.numerator % 2:
            return self._negated(self._root(degree, self._negated(value)))
        return self._power(value, 1 / degree)

    def _call(self, name: str, value: Value) -> Value:
        if name == "sqrt":
            return self._root(Fraction(2), value)
        if name in ("log", "lg"):
            return self._log(Fraction(10), value)
        if isinstance(value, Fraction) and (exact := _EXACT.get((name, value))) is not None:
            return exact
        if (function := self._functions.get(name)) is not None:
            return function(self._real(value))
        composed = _COMPOSED.get(name)
        if composed is None:
            raise UndefinedError
        return composed(self, value)

    def _log(self, base: Value, value: Value) -> Value:
        if isinstance(base, Fraction) and isinstance(value, Fraction) and value > 0:
            exact = _exact_logarithm(base, value)
            if exact is not None:
                return Fraction(exact)
        return self._divide(self._call("ln", value), self._call("ln", base))

    def _logarithm(self, value: Decimal) -> Decimal:
        if value <= 0:
            raise UndefinedError
        return self._context.ln(value)

    def _factorial(self, value: Value) -> Value:
        if value > _LARGEST_FACTORIAL:
            raise BeyondError
        if not isinstance(value, Fraction) or value.denominator != 1 or value < 0:
            raise UndefinedError
        if value <= _MOST_FACTORIAL:
            return Fraction(factorial(value.numerator))
        self.is_rounded = True
        return self._context.exp(self._log_factorial(value))

    def _log_factorial(self, value: Fraction) -> Decimal:
        """Stirling's series; its error is below the digits compared from 1,500 on."""
        half, n = Fraction(1, 2), self._real(value)
        logarithm = self._context.ln(n)
        total = self._subtract(self._multiply(value + half, logarithm), value)
        two_pi = self._multiply(Fraction(2), pi_digits(self._context.prec))
        total = self._add(total, self._multiply(half, self._context.ln(self._real(two_pi))))
        for index, factor in enumerate(_STIRLING):
            total = self._add(total, factor / value ** (2 * index + 1))
        return self._real(total)

    def _binomial(self, n: Value, k: Value) -> Value:
        is_whole = all(isinstance(item, Fraction) and item.denominator == 1 for item in (n, k))
        if not is_whole or not 0 <= k <= n or n > _LARGEST_FACTORIAL:
            raise UndefinedError
        rest = self._subtract(n, k)
        few = min(int(k), int(rest))
        if few * int(n).bit_length() <= _MOST_BITS:
            return Fraction(comb(int(n), few))
        below = self._multiply(self._factorial(k), self._factorial(rest))
        return self._divide(self._factorial(n), below)

    def _absolute(self, value: Value) -> Value:
        return abs(value) if isinstance(value, Fraction) else value.copy_abs()

    @property
    def _half_pi(self) -> Decimal:
        return self._real(self._divide(pi_digits(self._context.prec), Fraction(2)))

    def _sine(self, value: Decimal) -> Decimal:
        """Taylor's series around the next multiple of pi."""
        x = value
        if x.copy_abs() > _LARGEST_ANGLE:
            raise UndefinedError
        context, wide = self._context, Context(prec=self._context.prec + 25)
        pi = pi_digits(wide.prec)
        turns = int(wide.divide(x, pi).to_integral_value())
        x = context.plus(wide.subtract(x, wide.multiply(Decimal(turns), pi)))
        term = total = x
        square, index = context.minus(context.multiply(x, x)), 1
        smallest = Decimal(10) ** -(context.prec + 5)
        while term.copy_abs() > smallest:
            index += 2
            term = context.divide(context.multiply(term, square), Decimal(index * (index - 1)))
            total = context.add(total, term)
        return context.minus(total) if turns % 2 else total

    def _arctangent(self, x: Decimal) -> Decimal:
        """Halve the angle until the series is short."""
        context, one, halvings = self._context, Decimal(1), 0
        while x.copy_abs() > Decimal("0.05"):
            root = context.sqrt(context.add(one, context.multiply(x, x)))
            x = context.divide(x, context.add(one, root))
            halvings += 1
        power = total = x
        square, index = context.minus(context.multiply(x, x)), 1
        smallest = Decimal(10) ** -(context.prec + 5)
        while power.copy_abs() > smallest:
            index += 2
            power = context.multiply(power, square)
            total = context.add(total, context.divide(power, Decimal(index)))
        return context.multiply(total, Decimal(2**halvings))


def compare_values(left: Value, right: Value, digits: int = LOW_DIGITS) -> bool | None:
    """Whether two values are one; ``None`` if more digits are needed to tell."""
    if isinstance(left, Fraction) and isinstance(right, Fraction):
        return left == right
    context = Context(prec=digits, Emax=MAX_EMAX, Emin=MIN_EMIN)
    a, b = (_to_decimal(value, context) for value in (left, right))
    difference = context.subtract(a, b).copy_abs()
    size = context.max(a.copy_abs(), b.copy_abs())
    if digits < HIGH_DIGITS and size < Decimal(10) ** -(digits // 2):
        return None  # what cancellation leaves, or a tiny number
    if size < Decimal(10) ** -(digits - 40):
        return True
    ratio = context.divide(difference, size)
    slack = digits - LOW_DIGITS
    if ratio < Decimal(10) ** -(_AGREEING + slack):
        return True
    return False if ratio > Decimal(10) ** -(_DIFFERING + slack) else None


def is_next_to_nothing(value: Value) -> bool:
    """Whether a value is what cancellation leaves of zero."""
    if isinstance(value, Fraction):
        return abs(value) < Fraction(1, 10**40)
    return value == 0 or value.adjusted() < -40  # noqa: PLR2004


@lru_cache(maxsize=16)
def pi_digits(digits: int) -> Decimal:
    """Pi by Machin's formula, to at least ``digits`` digits."""
    one: int = 10 ** (digits + 10)

    def arccot(x: int) -> int:
        term = total = one // x
        n, sign = 3, -1
        while term:
            term //= x * x
            total += sign * (term // n)
            sign, n = -sign, n + 2
        return total

    pi: int = 4 * (4 * arccot(5) - arccot(239))
    return Context(prec=digits + 8, Emax=MAX_EMAX, Emin=MIN_EMIN).divide(Decimal(pi), Decimal(one))


def _to_decimal(value: Value, context: Context) -> Decimal:
    if isinstance(value, Fraction):
        return context.divide(Decimal(value.numerator), Decimal(value.denominator))
    return value


def _exact_root(value: Fraction, degree: int) -> Fraction | None:
    """The root of a fraction where it is one: ``4/9`` has ``2/3``, ``2`` has none."""
    if value < 0 or degree > _MOST_FACTORIAL:
        return None
    above, below = (_whole_root(part, degree) for part in (value.numerator, value.denominator))
    return None if above is None or below is None else Fraction(above, below)


def _whole_root(value: int, degree: int) -> int | None:
    if value < 2:  # noqa: PLR2004 - 0 and 1 are their own roots
        return value
    low, high = 1, 1 << (value.bit_length() // degree + 1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**degree <= value else (low, middle - 1)
    return low if low**degree == value else None


def _exact_logarithm(base: Fraction, value: Fraction) -> int | None:
    if base <= 1 or base.denominator != 1 or value.denominator != 1:
        return None
    power, exponent = 1, 0
    while power < value and exponent < _MOST_FACTORIAL:
        power, exponent = power * base.numerator, exponent + 1
    return exponent if power == value else None


def _arcsine(evaluator: Evaluator, value: Value) -> Value:
    x = evaluator._real(value)
    if x.copy_abs() > 1:
        raise UndefinedError
    if x.copy_abs() == 1:
        return evaluator._multiply(Fraction(int(x)), evaluator._half_pi)
    rest = evaluator._subtract(Fraction(1), evaluator._multiply(x, x))
    return evaluator._call("arctan", evaluator._divide(x, evaluator._root(Fraction(2), rest)))


def _tangent(evaluator: Evaluator, value: Value) -> Value:
    below = evaluator._call("cos", value)
    if below == 0 or evaluator._real(below).copy_abs() < Decimal(10) ** -(LOW_DIGITS // 2):
        raise UndefinedError
    return evaluator._divide(evaluator._call("sin", value), below)


def _hyperbolic(sign: int) -> Callable[[Evaluator, Value], Value]:
    def function(evaluator: Evaluator, value: Value) -> Value:
        grown = evaluator._call("exp", value)
        shrunk = evaluator._call("exp", evaluator._negated(value))
        total = evaluator._add(grown, evaluator._multiply(Fraction(sign), shrunk))
        return evaluator._divide(total, Fraction(2))

    return function


_METHODS = {
    "neg": "_negated", "+": "_add", "-": "_subtract", "*": "_multiply", "/": "_divide",
    "^": "_power", "root": "_root", "call": "_call", "log": "_log", "!": "_factorial",
    "abs": "_absolute", "binom": "_binomial",
}  # fmt: skip
_EXACT = {
    ("sin", Fraction(0)): Fraction(0), ("cos", Fraction(0)): Fraction(1),
    ("exp", Fraction(0)): Fraction(1), ("ln", Fraction(1)): Fraction(0),
    ("arctan", Fraction(0)): Fraction(0),
}  # fmt: skip
_ONE = Fraction(1)
_COMPOSED: dict[str, Callable[[Evaluator, Value], Value]] = {
    "tan": _tangent,
    "cot": lambda e, x: e._divide(e._call("cos", x), e._call("sin", x)),
    "sec": lambda e, x: e._divide(_ONE, e._call("cos", x)),
    "csc": lambda e, x: e._divide(_ONE, e._call("sin", x)),
    "arcsin": _arcsine,
    "arccos": lambda e, x: e._subtract(e._half_pi, e._call("arcsin", x)),
    "sinh": _hyperbolic(-1),
    "cosh": _hyperbolic(1),
    "tanh": lambda e, x: e._divide(e._call("sinh", x), e._call("cosh", x)),
}
