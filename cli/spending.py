"""What a sampling command may spend: the options as limits, and the limits as an ``Allowance``."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distill.allowance import Limits
    from distill.budget import Budget
    from distill.layout import RunLayout
    from distill.recipe import AnyTeacher


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
    limits: "Limits | None",
    teacher: "AnyTeacher | None",
    paths: "RunLayout",
    own: Path,
) -> "Budget | None":
    """What a run may spend; ``None`` without limits.

    Args:
        limits: What the user allows for the whole run.
        teacher: Who is asked now; without one nothing is spent.
        paths: Of the run; what its other stages have spent counts.
        own: The journal of what is asked now, which the sampling loop counts itself.

    Raises:
        DistillError: If there is a limit in USD and the teacher's price is unknown.
    """
    if limits is None or teacher is None:
        return None
    from distill.budget import Budget
    from distill.spent import read_spent
    from teachers import prices_of

    is_timed = getattr(teacher, "usd_per_gpu_hour", None) is not None
    budget = Budget(limits, prices_of(teacher), is_timed=is_timed)
    judged = [paths.judged(who) for who in ("base", "student", "teacher")]
    for journal in (paths.traces, paths.judge / "findings.jsonl", *judged):
        if journal != own and journal.is_file():
            for spent in read_spent(journal).values():
                budget.add_elsewhere(spent.usage, spent.usd)
    return budget
