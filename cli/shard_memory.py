"""``distill shard --memory``: what a large model takes in main memory, run by our own engine."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from cli.console import say, say_json, table
from distill.errors import ModelError, RecipeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from teachers.shard_local import LocalPlan, LocalWish
    from teachers.shard_model import PlannedModel

_PROMPT_TOKENS = 512
_GIB = 1024**3


def read_place(gpus: str | None, memory: str | None) -> None:
    """Check that one place is named, and not both.

    Raises:
        RecipeError: If none or both are.
    """
    if (gpus is None) == (memory is None):
        found = "neither --gpus nor --memory is" if gpus is None else "both are"
        raise RecipeError(
            f"{found} given: say where the model shall run",
            hint="--gpus 16x80GB for servers on GPUs, or --memory 64GB for this machine's own",
        )


def show_memory(
    model: "PlannedModel",
    memory: str,
    tokens: int,
    batch: int | None,
    refused: "Sequence[str]",
    *,
    as_json: bool,
) -> None:
    """The plan of a model in main memory.

    Args:
        model: What was named.
        memory: How much may be taken.
        tokens: Prompt and answer of one row.
        batch: Rows at once; ``None`` for as many as there is room for.
        refused: Options that were given and say nothing here.
        as_json: Whether a program reads it.

    Raises:
        RecipeError: If an option cannot be read, or says nothing here.
        ModelError: If it does not fit; says what would.
    """
    from teachers.shard_cost import read_gib
    from teachers.shard_local import LocalWish, most_rows, plan_local

    if refused:
        raise RecipeError(
            f"{' and '.join(refused)}: for GPUs only",
            hint="how fast this machine is, a pilot measures: distill generate RECIPE --pilot 20",
        )
    free = read_gib("--memory", memory)
    number = 4 if model.facts.format.name == "fp32" else 2
    wish = LocalWish(tokens, 1, min(_PROMPT_TOKENS, max(tokens // 2, 1)), number)
    room = most_rows(model.facts, wish, free)
    rows = batch or max(room, 1)
    wish = LocalWish(tokens, rows, wish.prompt_tokens, number)
    plan = plan_local(model.facts, wish)
    if as_json:
        figures = {**asdict(plan), "total_bytes": plan.total, "resident_bytes": plan.resident}
        say_json(
            {"model": model.facts.name, "wish": asdict(wish), "rows_that_fit": room, **figures}
        )
    else:
        _say(model, plan, wish, free)
    if room < rows:
        raise _refusal(model, wish, free, room)


def _say(model: "PlannedModel", plan: "LocalPlan", wish: "LocalWish", free: int) -> None:
    from cli.shard_figures import say_model

    say_model(model)
    precision = "fp32" if wish.number_bytes > 2 else "bf16"  # noqa: PLR2004
    say(f"\nIn main memory in {precision}, by our own engine; most while {plan.moment}")
    rows = [
        ["", "GiB"],
        ["weights", _gib(plan.weights)],
        [f"cache of {wish.rows:,} x {wish.context_tokens:,}", _gib(plan.cache)],
        [f"work of a step, prompts of {wish.prompt_tokens:,}", _gib(plan.work)],
        ["runtime: Python, torch (measured)", _gib(plan.runtime)],
        ["in all", _gib(plan.total)],
        ["may be used", _gib(free)],
    ]
    say(table(rows))
    if plan.mapped >= _GIB // 100:
        say(f"  beside it {_gib(plan.mapped)} GiB of mapped files,")
        say("  which the system takes back when it needs them")


def _refusal(model: "PlannedModel", wish: "LocalWish", free: int, room: int) -> ModelError:
    from teachers.shard_local import LocalWish, needed_bytes

    name = model.facts.name
    if room:
        return ModelError(
            f"{name}: {wish.rows:,} rows of {wish.context_tokens:,} tokens do not fit"
            f" {_gib(free)} GiB; {room:,} do",
            hint=f"--batch {room}, or a shorter --context",
        )
    one = LocalWish(wish.context_tokens, 1, wish.prompt_tokens, wish.number_bytes)
    needed = needed_bytes(model.facts, one)
    hint = f"enough would be: --memory {needed / _GIB + 0.05:.1f}GB, or a shorter --context"
    return ModelError(
        f"{name}: does not fit {_gib(free)} GiB",
        hint=f"{hint}\nor part of it on a disk: teacher.offload_folder, or GPUs: --gpus 8x80GB",
    )


def _gib(size: int) -> str:
    return f"{size / _GIB:,.2f}" if size < 10 * _GIB else f"{size / _GIB:,.1f}"
