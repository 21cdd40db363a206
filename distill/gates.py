"""Conditions on figures, such as ``student >= 0.9 * teacher``: what lets a release through or not.

A condition compares two sums of figures and numbers. A figure is a model's name, which means its
pass@1 as a share, or a name with a metric: ``student.truncated``. Nothing else can be said in it,
so a condition may come from anywhere.
"""

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from distill.errors import RecipeError
from distill.eval_report import ModelReport

_COMPARISONS: Final[Mapping[type[ast.cmpop], Callable[[float, float], bool]]] = {
    ast.GtE: operator.ge,
    ast.Gt: operator.gt,
    ast.LtE: operator.le,
    ast.Lt: operator.lt,
}
_ARITHMETIC: Final[Mapping[type[ast.operator], Callable[[float, float], float]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_PLAIN_METRICS: Final = ("truncated", "malformed", "failed", "output_tokens", "reasoning_tokens")
_HINT: Final = (
    "Write it as 'student >= 0.9 * teacher': names of the models, numbers, + - * /, and one of"
    f" >= > <= <. After a name: .pass_at_8, .cons_at_8, .{', .'.join(_PLAIN_METRICS)}."
)
_ROUNDING: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Gate:
    """A condition and whether it holds.

    Attributes:
        text: As it was written.
        is_met: Whether it holds.
        left: Value of its left side.
        right: Value of its right side.
    """

    text: str
    is_met: bool
    left: float
    right: float


def check_gate(text: str, models: Mapping[str, ModelReport]) -> Gate:
    """Look whether a condition holds.

    Args:
        text: Such as ``"student >= 0.9 * teacher"``.
        models: By the names that it may use.

    Raises:
        RecipeError: If it cannot be read, or names a model or metric that is not there.
    """
    readable, names = _with_plain_names(text, models)
    try:
        tree = ast.parse(readable.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _unreadable(text, "it cannot be read") from None
    if not isinstance(tree, ast.Compare) or len(tree.ops) != 1:
        raise _unreadable(text, "it is no comparison of two sides")
    holds = _COMPARISONS.get(type(tree.ops[0]))
    if holds is None:
        raise _unreadable(text, "only >=, >, <= and < compare")
    try:
        left, right = (_value(side, text, names) for side in (tree.left, tree.comparators[0]))
    except ZeroDivisionError:
        raise _unreadable(text, "it divides by 0") from None
    # 0.9 * 0.7 is not 0.63 to the last digit; what is equal on paper shall be met.
    is_met = holds(left, right) or (
        isinstance(tree.ops[0], ast.GtE | ast.LtE) and abs(left - right) < _ROUNDING
    )
    return Gate(text, is_met, left, right)


def _with_plain_names(
    text: str, models: Mapping[str, ModelReport]
) -> tuple[str, dict[str, tuple[str, ModelReport]]]:
    """Names such as ``r1-7b`` as ones that have no minus in them."""
    plain_names = {name: f"model{place}_" for place, name in enumerate(models)}
    names = {plain: (name, models[name]) for name, plain in plain_names.items()}
    for name, plain in sorted(plain_names.items(), key=lambda pair: -len(pair[0])):
        text = re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", plain, text)
    return text, names


def _value(node: ast.expr, text: str, names: Mapping[str, tuple[str, ModelReport]]) -> float:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand, text, names)
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        apply = _ARITHMETIC[type(node.op)]
        return apply(_value(node.left, text, names), _value(node.right, text, names))
    if isinstance(node, ast.Name):
        return _report(node.id, text, names).pass_at_1.value
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return _metric(_report(node.value.id, text, names), node.attr, text)
    raise _unreadable(text, f"'{ast.unparse(node)}' has no meaning here")


def _report(name: str, text: str, names: Mapping[str, tuple[str, ModelReport]]) -> ModelReport:
    if name not in names:
        known = ", ".join(known for known, _ in names.values())
        raise _unreadable(text, f"there is no model '{name}'; there are {known}")
    return names[name][1]


def _metric(report: ModelReport, name: str, text: str) -> float:
    if name in _PLAIN_METRICS:
        return float(getattr(report, name))
    match = re.fullmatch(r"(pass|cons)_at_(\d+|k)", name)
    at = None
    if match is not None:
        k = report.samples if match[2] == "k" else int(match[2])
        at = next((one for one in report.at_k if one.k == k), None)
    estimate = None
    if match is not None and at is not None:
        estimate = at.pass_at_k if match[1] == "pass" else at.cons_at_k
    if estimate is None:
        ks = ", ".join(str(one.k) for one in report.at_k)
        raise _unreadable(text, f"there is no metric '{name}'; k is one of {ks}")
    return estimate.value


def _unreadable(text: str, why: str) -> RecipeError:
    return RecipeError(f"--require '{text}': {why}", hint=_HINT)
