"""``distill plan``: what sampling a recipe's teacher will take, before it is paid for."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cli.console import columns, duration, note, paint, say, say_json
from cli.options import AsJson, Overrides, RecipeFile, RunFolder

if TYPE_CHECKING:
    from distill.plan import Plan
    from distill.pricing import PriceEntry
    from distill.recipe import Recipe

_LOCAL_CONCURRENCY = 1


def plan(
    recipe: RecipeFile,
    *,
    overrides: Overrides = None,
    run_dir: RunFolder = None,
    as_json: AsJson = False,
) -> None:
    """Estimate what sampling will take.

    Samples, tokens, money and hours, with every assumption. Nothing is sent. After a pilot
    (distill generate RECIPE --pilot 20) what it measured takes the place of assumptions.

    Example: distill plan my.toml --set generate.until_correct=1
    """
    from cli.job import Order, recipe_and_folder
    from distill.records import to_record

    order = Order(recipe, ("generate",), overrides=overrides or (), run_dir=run_dir)
    loaded, folder = recipe_and_folder(order)
    made = plan_of(loaded, folder)
    if as_json:
        say_json({"recipe": loaded.name, "run": str(folder), **to_record(made.plan)})
        return
    _say(made)
    if not any(one.is_measured for one in made.plan.assumptions) and made.is_billed:
        note(f"\nTo measure instead: {order.command('generate')} --pilot 20")


@dataclass(frozen=True, slots=True)
class MadePlan:
    """A plan, and what the recipe says that it is about."""

    plan: "Plan"
    is_billed: bool
    entry: "PriceEntry | None"


def plan_of(recipe: "Recipe", folder: Path, *, measures: bool = True) -> MadePlan:
    """The plan of a recipe's generation.

    Args:
        recipe: What is planned.
        folder: Its run folder; there may be none yet.
        measures: Whether stored traces may replace assumptions.
    """
    import time

    from cli.stages import stream_prompts_of
    from distill.layout import RunLayout
    from distill.plan import make_plan, measure_prompts
    from distill.recipe import ApiTeacher
    from distill.spent import Spent, read_spent
    from teachers import prices_of

    teacher, generate = recipe.teacher, recipe.generate
    is_billed = isinstance(teacher, ApiTeacher)
    concurrency = _LOCAL_CONCURRENCY
    if isinstance(teacher, ApiTeacher):
        from teachers.connect import concurrency as concurrency_of

        concurrency = concurrency_of(teacher)
    entry = prices_of(teacher).entry(time.time())
    traces = RunLayout(folder).traces
    spent = Spent()
    if measures and traces.is_file():
        for one in read_spent(traces).values():
            spent.merge(one)
    made = make_plan(
        measure_prompts(stream_prompts_of(recipe.prompts), getattr(teacher, "system", "")),
        samples=generate.samples,
        until_correct=generate.until_correct,
        max_tokens=generate.max_tokens,
        concurrency=concurrency,
        price=entry.price if entry else None,
        peak_price=entry.peak_price if entry else None,
        spent=spent if spent.samples else None,
    )
    return MadePlan(made, is_billed, entry)


def _say(made: MadePlan) -> None:
    from cli.costs import usage_text, usd_text

    plan_ = made.plan
    samples = f"{plan_.samples:,.0f}"
    if plan_.samples < plan_.fixed_samples:
        samples += f" expected, {plan_.fixed_samples:,} at most"
    rows = [
        ("prompts", f"{plan_.prompts:,}"),
        ("samples", samples),
        ("tokens", usage_text(plan_.usage)),
    ]
    if made.is_billed:
        rows.append(("cost", _cost_text(plan_)))
        rows.append(("time", f"about {duration(plan_.hours * 3600)}"))
    else:
        rows.append(("cost", "nothing is billed: this teacher runs here"))
    if plan_.stored:
        rows.append(("stored", f"{plan_.stored:,} samples already, {usd_text(plan_.spent_usd)}"))
    say(f"{paint('generate', 'bold')}")
    say(columns(rows))
    say("\nResting on")
    names = [(one.name, f"{one.value}  ({one.source})") for one in plan_.assumptions]
    if not made.is_billed:
        names = [row for row in names if row[0] not in ("at once", "time")]
    elif made.entry is not None:
        source = made.entry.source or f"in force since {made.entry.since}"
        price = made.entry.price
        shown = f"{price.input_usd:g} read, {price.output_usd:g} written, per million tokens"
        names.append(("price", f"{shown}  ({source})"))
    say(columns(names))


def _cost_text(plan_: "Plan") -> str:
    from cli.costs import usd_text

    text = usd_text(plan_.usd)
    if plan_.usd is not None and plan_.error < 1:
        low, high = (plan_.usd * (1 + sign * 2 * plan_.error) for sign in (-1, 1))
        text += f" ({usd_text(max(low, 0.0))} to {usd_text(high)} with the spread of the answers)"
    if plan_.peak_usd is not None:
        text += f" off-peak, {usd_text(plan_.peak_usd)} if all is asked at peak"
    return text
