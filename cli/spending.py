"""What a sampling command may spend: the options as limits, and the limits as an ``Allowance``."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distill.allowance import Allowance, Limits
    from distill.recipe import ApiTeacher, EmbeddedTeacher, ReplayTeacher


def read_limits(
    budget_usd: float | None,
    budget_tokens: str | None,
    deadline: str | None,
    *,
    off_peak_only: bool,
) -> "Limits":
    """The limits that the options set.

    Raises:
        DistillError: If one cannot be read; says what is allowed.
    """
    from distill.allowance import Limits
    from distill.budget import read_deadline, read_tokens

    return Limits(
        usd=budget_usd,
        tokens=None if budget_tokens is None else read_tokens(budget_tokens),
        deadline=None if deadline is None else read_deadline(deadline),
        off_peak_only=off_peak_only,
    )


def allowance(
    limits: "Limits | None", teacher: "EmbeddedTeacher | ReplayTeacher | ApiTeacher"
) -> "Allowance | None":
    """What a run may spend; ``None`` without limits.

    Raises:
        DistillError: If there is a limit in USD and the teacher's price is unknown.
    """
    if limits is None:
        return None
    from distill.budget import Budget
    from teachers import prices_of

    return Budget(limits, prices_of(teacher))
