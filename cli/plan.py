"""``distill plan``: what sampling a recipe's teacher will take, before it is paid for."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.console import columns, duration, note, paint, say, say_json
from cli.options import AsJson, Overrides, RecipeFile, RunFolder

if TYPE_CHECKING:
    from distill.plan import Pace, Plan, PromptFigures
    from distill.pricing import PriceEntry
    from distill.recipe import AnyTeacher, Recipe
    from distill.types import Prompt


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
    from cli.planned import save

    order = Order(recipe, ("generate",), overrides=overrides or (), run_dir=run_dir)
    loaded, folder = recipe_and_folder(order)
    made = plan_of(loaded, folder)
    save(loaded, folder, made.generate)
    if as_json:
        say_json(_as_json(loaded, folder, made))
        return
    _say(made)
    if loaded.verify.kind == "judge":
        note("\nNot in it: what the judge of [verify] costs, about one question for each answer.")
    is_paid = made.is_billed or made.gpu_rows or made.usd_per_gpu_hour is not None
    if not any(one.is_measured for one in made.generate.assumptions) and is_paid:
        note(f"\nTo measure instead: {order.command('generate')} --pilot 20")


@dataclass(frozen=True, slots=True)
class MadePlan:
    """What the stages that ask the teacher will take.

    Attributes:
        generate: The traces.
        evaluate: The teacher on the held-out prompts; ``None`` if it is not evaluated, or not
            billed.
        is_billed: Whether the teacher costs money.
        entry: What it charges, if that is known.
        usd_per_gpu_hour: What it costs otherwise; ``None`` if the recipe does not say.
        place: Where the weights of a local teacher go; empty if that is not known yet.
        gpu_rows: Hours and money of an engine teacher, as they are shown; empty for others.
    """

    generate: "Plan"
    evaluate: "Plan | None"
    is_billed: bool
    entry: "PriceEntry | None"
    usd_per_gpu_hour: float | None = None
    place: str = ""
    gpu_rows: "tuple[tuple[str, str], ...]" = ()


def plan_of(recipe: "Recipe", folder: Path) -> MadePlan:
    """The plan of a recipe, with what the traces in its run folder measured.

    Args:
        recipe: What is planned.
        folder: Its run folder; there may be none yet.
    """
    import time

    from cli.plan_hours import gpu_rows
    from cli.stages import stream_prompts_of
    from distill.recipe import ApiTeacher, missing
    from teachers import prices_of

    teacher, evaluation = recipe.teacher or missing("teacher"), recipe.eval
    is_billed = isinstance(teacher, ApiTeacher)
    evaluate = None
    if is_billed and evaluation is not None and "teacher" in evaluation.models:
        evaluate = _evaluation(recipe, folder)
    generate = generation(recipe, folder, stream_prompts_of(recipe.prompts or missing("prompts")))
    return MadePlan(
        generate,
        evaluate,
        is_billed,
        prices_of(teacher).entry(time.time()),
        getattr(teacher, "usd_per_gpu_hour", None),
        _place(teacher),
        tuple(gpu_rows(teacher, generate)),
    )


def _place(teacher: "AnyTeacher") -> str:
    """Where a local teacher would lie; nothing is fetched for it.

    Raises:
        ModelError: If it is broken or does not fit.
    """
    from distill.recipe import LocalTeacher

    if not isinstance(teacher, LocalTeacher) or teacher.processes > 1:
        return ""
    if not Path(teacher.model).expanduser().is_dir() or isinstance(teacher.device_map, dict):
        return ""
    from teachers.local_weights import placement_text

    return placement_text(teacher)


def generation(recipe: "Recipe", folder: Path | None, prompts: "Iterable[Prompt]") -> "Plan":
    """The plan of the generation; without a folder, nothing is measured."""
    from distill.pilot import read_totals

    section = recipe.generate
    path = _traces(folder)
    totals = None
    if path is not None:
        totals = read_totals(path, samples=section.samples, until_correct=section.until_correct)
    return _made(
        recipe,
        path,
        _measured(recipe, prompts),
        samples=section.samples,
        until_correct=section.until_correct,
        max_tokens=section.max_tokens,
        totals=totals,
    )


def _evaluation(recipe: "Recipe", folder: Path) -> "Plan":
    """The teacher on held-out prompts; the traces measured how long its answers are."""
    from cli.stages import load_benchmark_of
    from distill.recipe import missing

    section = recipe.eval or missing("eval")
    figures = _measured(recipe, load_benchmark_of(recipe).prompts)
    return _made(
        recipe,
        _traces(folder),
        figures,
        samples=section.samples,
        until_correct=None,
        max_tokens=section.max_tokens,
    )


def _made(recipe: "Recipe", path: Path | None, figures: "PromptFigures", **settings: Any) -> "Plan":  # noqa: ANN401 - of make_plan
    import time

    from distill.plan import make_plan
    from distill.recipe import missing
    from distill.spent import Spent, read_spent
    from teachers import prices_of

    spent = Spent()
    for one in read_spent(path).values() if path is not None else ():
        spent.merge(one)
    teacher = recipe.teacher or missing("teacher")
    entry = prices_of(teacher).entry(time.time())
    made = make_plan(
        figures,
        pace=_pace(teacher),
        price=entry.price if entry else None,
        peak_price=entry.peak_price if entry else None,
        spent=spent if spent.samples else None,
        **settings,
    )
    if getattr(teacher, "usd_per_gpu_hour", None) is None or not made.stored:
        return made
    # By the hour: the samples that are stored say what one costs.
    each = spent.known_usd
    return replace(made, usd=None if each is None else each / made.stored * made.samples)


def _traces(folder: Path | None) -> Path | None:
    from distill.layout import RunLayout

    path = RunLayout(folder).traces if folder is not None else None
    return path if path is not None and path.is_file() else None


def _measured(recipe: "Recipe", prompts: "Iterable[Prompt]") -> "PromptFigures":
    from distill.plan import measure_prompts

    return measure_prompts(prompts, getattr(recipe.teacher, "system", ""))


def _pace(teacher: "AnyTeacher") -> "Pace":
    from distill.plan import Pace
    from distill.recipe import ApiTeacher, EngineTeacher

    if isinstance(teacher, EngineTeacher):
        teacher = teacher.api("http://127.0.0.1/v1")
    if not isinstance(teacher, ApiTeacher):
        return Pace(1)
    from teachers.catalog import find_endpoint, find_model
    from teachers.connect import concurrency

    model = find_model(find_endpoint(teacher.endpoint, teacher.override), teacher.model)
    return Pace(
        concurrency(teacher),
        teacher.requests_per_minute or model.requests_per_minute,
        teacher.tokens_per_minute or model.tokens_per_minute,
    )


def _as_json(recipe: "Recipe", folder: Path, made: MadePlan) -> dict[str, Any]:
    from distill.records import to_record

    evaluate = made.evaluate
    return {
        "recipe": recipe.name,
        "run": str(folder),
        **to_record(made.generate),
        "eval": None if evaluate is None else to_record(evaluate),
        "place": made.place,
        "gpus": dict(made.gpu_rows),
    }


def _say(made: MadePlan) -> None:
    from cli.costs import usd_text

    say(f"{paint('generate', 'bold')}")
    rows = _rows(made.generate, made)
    if made.generate.stored:
        stored = f"{made.generate.stored:,} samples already, {usd_text(made.generate.spent_usd)}"
        rows.append(("stored", stored))
    say(columns(rows))
    if made.evaluate is not None:
        say(f"\n{paint('eval', 'bold')}, of the teacher on the held-out prompts (eval.models)")
        say(columns(_rows(made.evaluate, made)))
    if made.place:
        say(f"\n{paint('teacher', 'bold')}\n  {made.place}")
    say("\nResting on")
    names = [(one.name, f"{one.value}  ({one.source})") for one in made.generate.assumptions]
    if not made.is_billed:
        names = [row for row in names if row[0] not in ("at once", "time")]
    elif made.entry is not None:
        price = made.entry.price
        shown = f"{price.input_usd:g} read, {price.output_usd:g} written, per million tokens"
        names.append(("price", f"{shown}  ({made.entry.source})"))
    say(columns(names))


def _rows(plan_: "Plan", made: MadePlan) -> list[tuple[str, str]]:
    from cli.costs import usage_text

    samples = f"{plan_.samples:,.0f}"
    if plan_.samples < plan_.fixed_samples:
        samples += f" expected, {plan_.fixed_samples:,} at most"
    rows = [
        ("prompts", f"{plan_.prompts:,}"),
        ("samples", samples),
        ("tokens", usage_text(plan_.usage)),
    ]
    if made.gpu_rows:
        return [*rows, *made.gpu_rows]
    if made.usd_per_gpu_hour is not None:
        return [*rows, ("cost", _hours_text(plan_, made.usd_per_gpu_hour))]
    if not made.is_billed:
        return [*rows, ("cost", "nothing is billed: this teacher runs here")]
    return [*rows, ("cost", _cost_text(plan_)), ("time", f"about {duration(plan_.hours * 3600)}")]


def _hours_text(plan_: "Plan", usd_per_gpu_hour: float) -> str:
    from cli.costs import gpu_hours_text, usd_text

    if plan_.usd is None:
        return f"unknown at {usd_per_gpu_hour:g} USD a GPU hour until a pilot has measured it"
    hours = gpu_hours_text(plan_.usd, usd_per_gpu_hour)
    return f"about {usd_text(plan_.usd)}, {hours}, as the {plan_.stored:,} stored samples took"


def _cost_text(plan_: "Plan") -> str:
    from cli.costs import usd_text

    text = usd_text(plan_.usd)
    if plan_.peak_usd is not None:
        text += f" off-peak, {usd_text(plan_.peak_usd)} if all is asked at peak"
    if plan_.low_usd is not None and plan_.high_usd is not None:
        text += f"; {usd_text(plan_.low_usd)} to {usd_text(plan_.high_usd)} by what was measured"
    return text
