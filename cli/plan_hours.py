"""``distill plan`` for servers on GPUs of one's own: hours, GPU hours and money."""

from typing import TYPE_CHECKING

from cli.console import duration
from cli.costs import usd_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from distill.plan import Plan
    from distill.recipe import AnyTeacher

_HOUR = 3600.0


def gpu_rows(teacher: "AnyTeacher", plan: "Plan") -> "Iterator[tuple[str, str]]":
    """Rows of the plan; none for a teacher that is no engine."""
    from distill.recipe import EngineTeacher
    from teachers.engine_hours import hours_of

    if not isinstance(teacher, EngineTeacher):
        return
    found = hours_of(teacher, plan.samples, plan.usage.output_tokens)
    price = teacher.usd_per_gpu_hour
    if plan.stored and plan.usd is not None and price and found.gpus:
        gpu_hours = plan.usd / price
        took = duration(gpu_hours / found.gpus * _HOUR)
        yield "time", f"about {took} on {found.gpus} GPUs, as the {plan.stored:,} stored samples"
        yield "cost", f"about {usd_text(plan.usd)}, {gpu_hours:,.3g} GPU hours, as those took"
    elif found.cost is not None:
        cost = found.cost
        took = duration(cost.hours * _HOUR)
        yield (
            "time",
            f"about {took} on {found.gpus} GPUs, at {cost.tokens_per_second:,.0f} tokens/s",
        )
        money = "" if cost.usd is None else f", about {usd_text(cost.usd)}"
        yield "cost", f"{cost.gpu_hours:,.3g} GPU hours{money}"
        yield "speed", f"published, not measured here: {cost.speed.source}"
    else:
        why = (
            "no speed of this model is published here" if found.gpus else "teacher.gpus is not set"
        )
        yield "cost", f"unknown until a pilot has measured it: {why}"
