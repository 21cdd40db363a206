r"""A small parser: ``2\sqrt{3}x^2 + \frac{1}{2}`` to a tree, in time bounded by its length.

A tree is a tuple whose first item says what it is::

    ("num", Fraction)   ("sym", name)   ("const", "pi" | "e")   ("neg", a)
    ("+" | "-" | "*" | "/" | "^", a, b)   ("call", name, a)   ("root", degree, a)
    ("log", base, a)   ("!", a)   ("abs", a)   ("binom", n, k)

Nothing is evaluated here. What the parser does not know makes ``ParseError``, never a guess.
"""

import re
from fractions import Fraction
from typing import Any, TypeAlias

Tree: TypeAlias = tuple[Any, ...]

MOST_TOKENS = 400
DEEPEST = 40
_LONGEST_NUMBER = 400
_LONGEST_PRODUCT = 3
"""Letters that may stand together for a product: ``abc`` is one, ``apples`` is not."""

FUNCTIONS = frozenset(
    re.findall(
        r"\w+", "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log lg exp sqrt"
    )
)
_TOKEN = re.compile(
    r"(?P<number>\d+(?:\.\d+)?|\.\d+)|(?P<command>\\[A-Za-z]+)|(?P<letters>[A-Za-z]+)"
    r"|(?P<sign>\\[{}]|[-+*/^!|(){}\[\]_\u00b0])|(?P<space>\s+)"
)
_GREEK = frozenset(
    re.findall(
        r"\w+",
        "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta kappa lambda mu nu xi"
        " rho sigma tau phi varphi chi psi omega Gamma Delta Theta Lambda Sigma Phi Psi Omega",
    )
)
_CLOSING = {"(": ")", "[": "]", "{": "}", r"\{": r"\}"}
DEGREE: Tree = ("/", ("const", "pi"), ("num", Fraction(180)))
_ARC = {"sin": "arcsin", "cos": "arccos", "tan": "arctan"}


class ParseError(ValueError):
    """Text that is no expression of this parser."""


def parse_expression(text: str) -> Tree:
    r"""The tree of an expression in plain signs.

    Raises:
        ParseError: If the text is anything else, too long or too deep.

    Example:
        >>> parse_expression(r"2x^3")
        ('*', ('num', Fraction(2, 1)), ('^', ('sym', 'x'), ('num', Fraction(3, 1))))
    """
    parser = _Parser(_tokens(text))
    tree = parser.sum(0)
    if not parser.is_done:
        raise ParseError(f"unexpected {parser.peek()}")
    return tree


def symbols(tree: Tree) -> frozenset[str]:
    """Names of the variables in a tree."""
    if tree[0] == "sym":
        return frozenset((tree[1],))
    return frozenset().union(*(symbols(item) for item in tree[1:] if isinstance(item, tuple)))


def _tokens(text: str) -> list[str]:
    tokens, end = [], 0
    while end < len(text):
        match = _TOKEN.match(text, end)
        if match is None:
            raise ParseError(f"unexpected {text[end]!r}")
        end = match.end()
        if match["letters"]:
            tokens.extend(_split_letters(match["letters"]))
        elif not match["space"]:
            tokens.append(match[0])
        if len(tokens) > MOST_TOKENS:
            raise ParseError("too long")
    return tokens


def _split_letters(run: str) -> list[str]:
    """``sin`` is a function, ``xy`` a product; a longer run is a word and no mathematics."""
    if run in FUNCTIONS or run == "pi":
        return [f"\\{run}"]
    if len(run) > _LONGEST_PRODUCT:
        raise ParseError(f"{run} is a word")
    return list(run)


class _Parser:
    """Recursive descent over tokens; ``depth`` bounds the recursion."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._next = 0
        self._bars = 0

    @property
    def is_done(self) -> bool:
        return self._next >= len(self._tokens)

    def peek(self) -> str:
        return "" if self.is_done else self._tokens[self._next]

    def take(self, expected: str = "") -> str:
        token = self.peek()
        if not token or (expected and token != expected):
            raise ParseError(f"{expected or 'more'} expected, {token or 'the end'} found")
        self._next += 1
        return token

    def sum(self, depth: int) -> Tree:
        if depth > DEEPEST:
            raise ParseError("too deep")
        tree = self._signed_product(depth)
        while self.peek() in ("+", "-"):
            tree = (self.take(), tree, self._signed_product(depth))
        return tree

    def _signed_product(self, depth: int) -> Tree:
        is_negative = False
        while self.peek() in ("+", "-"):
            is_negative ^= self.take() == "-"
        tree = self._product(depth)
        return ("neg", tree) if is_negative else tree

    def _product(self, depth: int) -> Tree:
        tree = self._mixed_number(depth)
        while True:
            token = self.peek()
            if token in ("*", "/"):
                self.take()
                tree = (token, tree, self._signed_power(depth))
            elif self._begins_factor(token):
                tree = ("*", tree, self._power(depth))
            else:
                return tree

    def _signed_power(self, depth: int) -> Tree:
        if self.peek() in ("-", "+"):
            return ("neg", self._power(depth)) if self.take() == "-" else self._power(depth)
        return self._power(depth)

    def _mixed_number(self, depth: int) -> Tree:
        r"""``2\frac{1}{3}`` is two and a third, as people write it; ``2\frac{x}{3}`` a product."""
        first = self._power(depth)
        if first[0] != "num" or first[1].denominator != 1 or self.peek() != r"\frac":
            return first
        second = self._power(depth)
        is_mixed = second[0] == "/" and all(part[0] == "num" for part in second[1:])
        if is_mixed and 0 < second[1][1] < second[2][1]:
            return ("+", first, second)
        return ("*", first, second)

    def _begins_factor(self, token: str) -> bool:
        if token == "|":
            return self._bars == 0
        if token[:1].isdigit() or token[:1] == ".":  # 2 3 is no product
            return False
        is_command = token[:1] == "\\" and token[1:].isalpha()
        return is_command or token in _CLOSING or token[:1].isalpha()

    def _power(self, depth: int) -> Tree:
        tree = self._postfix(depth)
        if self.peek() != "^":
            return tree
        self.take()
        exponent = self._exponent(depth)
        return ("^", tree, exponent)

    def _exponent(self, depth: int) -> Tree:
        if depth > DEEPEST:
            raise ParseError("too deep")
        if self.peek() in ("-", "+"):
            sign = self.take()
            inner = self._exponent(depth + 1)
            return ("neg", inner) if sign == "-" else inner
        tree = self._postfix(depth + 1)
        if self.peek() == "^":
            self.take()
            return ("^", tree, self._exponent(depth + 1))
        return tree

    def _postfix(self, depth: int) -> Tree:
        tree = self._atom(depth)
        if self.peek() == "!":
            self.take()
            tree = ("!", tree)
        if self.peek() == "!":  # a double factorial, or the factorial of one
            raise ParseError("two factorials")
        if self.peek() == "\u00b0":
            self.take()
            tree = ("*", tree, DEGREE)
        return tree

    def _atom(self, depth: int) -> Tree:
        token = self.take()
        if token[0].isdigit() or token[0] == ".":
            if len(token) > _LONGEST_NUMBER:
                raise ParseError("a number too long")
            return ("num", Fraction(token))
        if token in _CLOSING:
            return self._group(token, depth)
        if token == "|":
            return self._absolute(depth)
        if token[0] == "\\":
            return self._command(token[1:], depth)
        if token.isalpha():
            return ("const", "e") if token == "e" else ("sym", token + self._subscript())
        raise ParseError(f"unexpected {token}")

    def _group(self, opening: str, depth: int) -> Tree:
        bars, self._bars = self._bars, 0
        tree = self.sum(depth + 1)
        self._bars = bars
        self.take(_CLOSING[opening])
        return tree

    def _absolute(self, depth: int) -> Tree:
        self._bars += 1
        tree = self.sum(depth + 1)
        self._bars -= 1
        self.take("|")
        return ("abs", tree)

    def _subscript(self) -> str:
        """``_{12}`` after a letter, as a part of its name."""
        if self.peek() != "_":
            return ""
        self.take()
        if self.peek() != "{":
            return f"_{self.take()}"
        self.take()
        name = ""
        while self.peek() != "}":
            name += self.take()
        self.take()
        return f"_{name}"

    def _command(self, name: str, depth: int) -> Tree:
        if name == "frac":
            return ("/", self._argument(depth), self._argument(depth))
        if name == "binom":
            return ("binom", self._argument(depth), self._argument(depth))
        if name == "sqrt":
            return self._root(depth)
        if name == "pi":
            return ("const", "pi")
        if name in _GREEK:
            return ("sym", name + self._subscript())
        if name in FUNCTIONS:
            return self._call(name, depth)
        raise ParseError(f"unknown \\{name}")

    def _argument(self, depth: int) -> Tree:
        r"""A group, or one sign: ``\frac12`` is a half."""
        token = self.peek()
        if token and (token[0].isdigit() and len(token) > 1 and "." not in token):
            self._tokens[self._next] = token[1:]
            return ("num", Fraction(int(token[0])))
        return self._atom(depth + 1)

    def _root(self, depth: int) -> Tree:
        degree: Tree = ("num", Fraction(2))
        if self.peek() == "[":
            degree = self._atom(depth + 1)
        return ("root", degree, self._atom(depth + 1))

    def _call(self, name: str, depth: int) -> Tree:
        base: Tree | None = None
        exponent: Tree | None = None
        if name == "log" and self.peek() == "_":
            self.take()
            base = self._argument(depth)
        if self.peek() == "^":
            self.take()
            exponent = self._argument(depth)
        argument = self._call_argument(depth)
        if exponent == ("neg", ("num", Fraction(1))):
            name, exponent = _ARC.get(name, name), None
        tree = ("call", name, argument) if base is None else ("log", base, argument)
        return tree if exponent is None else ("^", tree, exponent)

    def _call_argument(self, depth: int) -> Tree:
        r"""``\sin(x)``, or what stands together: ``\sin 2x`` up to the next sign or function."""
        if depth > DEEPEST:
            raise ParseError("too deep")
        if self.peek() in _CLOSING or self.peek() == "|":
            return self._power(depth + 1)
        tree = self._power(depth + 1)
        while True:
            token = self.peek()
            if token[:1].isalpha() or token in (r"\pi", r"\sqrt") or token[1:] in _GREEK:
                tree = ("*", tree, self._power(depth + 1))
            else:
                return tree
