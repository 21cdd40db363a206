r"""Computer algebra at arm's length: Math-Verify in workers that are killed after a second of work.

Math-Verify is not symmetric, so a pair is the same only if it is so in both directions. The main
process never loads sympy.
"""

import logging
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any, Final, Literal

from distill.verify.pool import WorkerPool

SECONDS = 1.0
MEMORY_BYTES = 1 << 30

Finding = Literal[
    "same", "different", "left unread", "right unread", "both unread", "failed", "timeout", "lost"
]
# The first sum takes ten times as long as the next, half a second on a slow machine: that must not
# count against the answer that happens to come first.
_WARM_UP: Final = (
    (r"\frac{x+1}{2}", r"\frac{x}{2}+\frac{1}{2}"),
    (r"\sum_{k=1}^{n} k", r"\frac{n(n+1)}{2}"),
)


def ask(left: str, right: str) -> Finding:
    r"""What computer algebra finds about two LaTeX texts.

    Example:
        >>> ask(r"\int_0^1 x\,dx", r"\frac{1}{2}")
        'same'
    """
    reply = shared_pool().ask(left, right)
    if reply.status == "done":
        return reply.value  # type: ignore[no-any-return]
    return "timeout" if reply.status == "timeout" else "lost"


@cache
def shared_pool() -> WorkerPool:
    """The process's own workers; started when they are first asked."""
    return WorkerPool("distill.verify.algebra:load", seconds=SECONDS, memory_bytes=MEMORY_BYTES)


def load(_: object) -> Callable[[str, str], Finding]:
    """In a worker: load Math-Verify, warm it up, and give what compares two texts."""
    logging.disable()
    warnings.simplefilter("ignore")
    for pair in _WARM_UP:
        _compare(*pair)
    return _compare


def _compare(left: str, right: str) -> Finding:
    from sympy import Expr  # type: ignore[import-untyped]

    try:
        first, second = _parse(left), _parse(right)
        if not first or not second:
            return "both unread" if not first and not second else _unread(is_left=not first)
        is_same = _verify(first, second)
        if is_same and not (isinstance(first[0], Expr) and isinstance(second[0], Expr)):
            is_same = _verify(second, first)  # relations and sets are not treated alike
    except Exception:  # noqa: BLE001 - whatever computer algebra raises
        return "failed"
    return "same" if is_same else "different"


def _verify(gold: list[Any], target: list[Any]) -> bool:
    from math_verify import verify  # type: ignore[import-untyped]

    return bool(
        verify(
            gold,
            target,
            float_rounding=10,
            timeout_seconds=None,
            allow_set_relation_comp=True,
            raise_on_error=True,
        )
    )


def _unread(*, is_left: bool) -> Finding:
    return "left unread" if is_left else "right unread"


def _parse(text: str) -> list[Any]:
    from math_verify import LatexExtractionConfig, parse

    return parse(  # type: ignore[no-any-return]
        f"${text}$",
        [LatexExtractionConfig(boxed_match_priority=-1)],
        fallback_mode="no_fallback",
        extraction_mode="first_match",
        parsing_timeout=None,
    )
