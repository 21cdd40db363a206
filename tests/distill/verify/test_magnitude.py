"""Values are exact or to many digits, and no expression takes long."""

import time
from decimal import Decimal
from fractions import Fraction

import pytest

from distill.verify.expression import ParseError, parse_expression
from distill.verify.magnitude import (
    BeyondError,
    Evaluator,
    UndefinedError,
    Value,
    compare_values,
    pi_digits,
)


def _value(text: str, digits: int = 70) -> Value:
    return Evaluator(digits=digits).value(parse_expression(text))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1/3+1/6", Fraction(1, 2)),
        (r"\sqrt{\frac{4}{9}}", Fraction(2, 3)),
        (r"\sqrt[3]{-8}", Fraction(-2)),
        ("4^{3/2}", Fraction(8)),
        ("2^{-3}", Fraction(1, 8)),
        (r"\log_2 1024", Fraction(10)),
        (r"\binom{10}{3}", Fraction(120)),
        ("5!", Fraction(120)),
        (r"3\frac{1}{2}", Fraction(7, 2)),
        ("-2^2", Fraction(-4)),
        ("(-2)^2", Fraction(4)),
        ("(-1)^{1000000000001}", Fraction(-1)),
        ("|-5|", Fraction(5)),
    ],
)
def test_fractions_stay_exact(text: str, value: Fraction) -> None:
    assert _value(text) == value


@pytest.mark.parametrize(
    ("text", "start"),
    [
        (r"\pi", "3.14159265358979323846264338327950288419716939937510582097494459"),
        ("e", "2.71828182845904523536028747135266249775724709369995957496696762"),
        (r"\sqrt2", "1.41421356237309504880168872420969807856967187537694807317667973"),
        (r"\sin 1", "0.84147098480789650665250232163029899962256306079837106567275170"),
        (r"\cos 100", "0.86231887228768393410193851395084253551008400853551082928016211"),
        (r"\arctan 2", "1.10714871779409050301706546017853704007004764540143264667653920"),
        (r"\ln 10", "2.30258509299404568401799145468436420760110148862877297603332790"),
    ],
)
def test_other_values_have_sixty_right_digits(text: str, start: str) -> None:
    assert str(_value(text)).startswith(start)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (r"\sin(\pi/6)", "1/2"),
        (r"\arcsin(1/2)", r"\pi/6"),
        (r"\arccos(0)", r"\pi/2"),
        (r"\cosh^2(1)-\sinh^2(1)", "1"),
        (r"\sqrt{5+2\sqrt6}", r"\sqrt2+\sqrt3"),
        (r"\sqrt2\sqrt3-\sqrt6", "0"),
        (r"\cot(\pi/4)+\csc(\pi/2)", r"\sec(0)+1"),
    ],
)
def test_equal_values_agree(left: str, right: str) -> None:
    assert compare_values(_value(left), _value(right)) is not False
    assert compare_values(_value(left, 180), _value(right, 180), 180) is not False


def test_values_that_differ_in_the_thirtieth_digit_are_told_apart() -> None:
    almost = r"e^{\pi\sqrt{163}}"  # within 1e-12 of the whole number
    assert compare_values(_value(almost), _value("262537412640768744")) is None
    assert compare_values(_value(almost, 180), _value("262537412640768744"), 180) is False
    assert compare_values(_value(r"\pi"), Decimal("3.1415926535897932384626433832")) is not True


@pytest.mark.parametrize("text", ["1/0", "0^0", r"\ln 0", r"\sqrt{-1}", r"\tan(\pi/2)", "(-1)!"])
def test_what_has_no_real_value_is_undefined(text: str) -> None:
    with pytest.raises(UndefinedError):
        _value(text)


@pytest.mark.parametrize(
    "text",
    ["9^{9^{9^9}}", "((1000!)!)!", "10^{10^{20}}", "1000000!", r"\binom{10^9}{10^8}", "9^9^9"],
)
def test_size_takes_no_time(text: str) -> None:
    start = time.process_time()
    evaluator = Evaluator()
    try:
        evaluator.value(parse_expression(text))
    except BeyondError:
        evaluator.is_rounded = True
    assert evaluator.is_rounded
    assert time.process_time() - start < 0.1


def test_pi_has_as_many_digits_as_asked_for() -> None:
    end = "844609550582231725359408128481117450284102701938521105559644622948954930381964428"
    assert str(pi_digits(200))[125:].startswith(end)


def test_large_factorials_agree_in_as_many_digits_as_are_compared() -> None:
    assert compare_values(_value("2000!"), _value("2000*1999!")) is not False
    assert compare_values(_value("2000!"), _value("2001!")) is False


@pytest.mark.parametrize(
    "text", ["", "apples", "1+", "(1", "1)", r"\foo", "5!!", "2 3", "x2", "+" * 500, "(" * 100]
)
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        parse_expression(text)
