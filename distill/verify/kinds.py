"""The nouns of answers: what a text can be read as. ``distill.verify.readings`` makes them."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, TypeAlias

from distill.verify.expression import Tree
from distill.verify.units import Unit

SeriesKind: TypeAlias = Literal["list", "set", "tuple", "bracket", "matrix", "ratio"]


@dataclass(frozen=True, slots=True)
class Number:
    """A fraction; ``places`` counts the decimals if it was written with a point."""

    value: Fraction
    places: int | None = None


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number or expression with a unit."""

    amount: "Readings"
    unit: Unit


@dataclass(frozen=True, slots=True)
class Expression:
    """A tree that is no plain number."""

    tree: Tree


@dataclass(frozen=True, slots=True)
class Infinity:
    """A bound that is none."""

    sign: int


@dataclass(frozen=True, slots=True)
class Series:
    """Several answers; a bare ``list`` may be taken in order or not."""

    kind: SeriesKind
    items: tuple["Readings", ...]


@dataclass(frozen=True, slots=True)
class Interval:
    """From ``low`` to ``high``."""

    low: "Readings"
    high: "Readings"
    is_low_closed: bool
    is_high_closed: bool


@dataclass(frozen=True, slots=True)
class Named:
    """``x = 5`` or ``x in [0, 1)``."""

    name: str
    value: "Readings"


@dataclass(frozen=True, slots=True)
class Relation:
    """``left - right`` held against zero by ``=``, ``<``, ``<=`` or ``!=``."""

    sign: str
    difference: Tree


@dataclass(frozen=True, slots=True)
class Words:
    """Text; ``is_maths`` if only computer algebra could make more of it."""

    text: str
    is_maths: bool


Reading: TypeAlias = (
    Number | Quantity | Expression | Infinity | Series | Interval | Named | Relation | Words
)
Readings: TypeAlias = tuple[Reading, ...]
