"""What ``distill filter`` is given: a file with its prompts, and settings without a recipe."""

import tomllib
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cli.filter_stage import tokenizer_file
from distill.errors import RecipeError
from distill.filter import FilterInput
from distill.filter_sections import FilterSection, SelectSection
from distill.filter_setup import FilterSetup
from distill.layout import RunLayout
from distill.mistakes import find_mistakes
from distill.overrides import load_recipe
from distill.recipe import Recipe, read_folder
from distill.stored_run import read_run
from distill.trace_columns import read_mapping

_SECTIONS = ("verify", "filter", "select", "blend")
# A recipe must say who teaches and who learns; for a file of traces that does not matter.
_NOBODY: dict[str, Any] = {
    "name": "traces",
    "teacher": {"kind": "embedded"},
    "prompts": {"kind": "embedded", "split": "train", "count": 1},
    "student": {"kind": "embedded"},
    "eval": {"prompts": {"kind": "embedded", "split": "eval", "count": 1}},
    "filter": {"needs_box": False},
}


def given_of(
    recipe: Path | None,
    traces: Path | None,
    prompts: Path | None,
    mapping: Sequence[str],
    run_dir: Path | None,
) -> FilterInput:
    """The file that is looked at: the one that is named, or the traces of the recipe's run."""
    if traces is not None:
        return FilterInput(traces, prompts, read_mapping(mapping))
    if recipe is None:
        raise RecipeError("--sweep needs a recipe whose run has traces, or --traces FILE")
    folder = recipe
    if not (recipe / "manifest.json").is_file():
        folder = run_dir or Path("runs") / load_recipe(recipe).name
    paths = RunLayout(folder)
    if not paths.traces.is_file():
        raise RecipeError(
            f"{paths.traces}: there are no traces yet",
            hint=f"first: distill generate {recipe}\nor name a file: --traces FILE",
        )
    return FilterInput(paths.traces, paths.train_prompts)


def recipe_of(recipe: Path | None, sets: Sequence[str]) -> Recipe:
    """The settings: a recipe's, those of a run, or the defaults with what ``--set`` changes.

    Raises:
        RecipeError: If one of them is not allowed.
    """
    if recipe is not None and not (recipe / "manifest.json").is_file():
        return load_recipe(recipe, sets)
    table: dict[str, Any] = {**_NOBODY, "filter": dict(_NOBODY["filter"])}
    if recipe is not None:
        table = read_run(recipe).recipe.model_dump(mode="json", exclude_none=True)
    for text in sets:
        _set(table, text)
    try:
        return Recipe.model_validate(table, context=read_folder(Path.cwd(), must_exist=True))
    except ValidationError as error:
        lines = "".join(f"\n  {mistake}" for mistake in find_mistakes(error))
        raise RecipeError(f"the settings of the filter:{lines}") from None


def setup_of(recipe: Recipe, source: str) -> FilterSetup:
    """How the filter works with these settings.

    Raises:
        RecipeError: If a model shall judge, which only the stage of a run can ask.
    """
    if recipe.verify.kind == "judge":
        raise RecipeError(
            "a model judges in the stage of a run, where what it costs is journalled",
            hint="distill filter RECIPE, with the traces as that recipe's teacher: kind = 'replay'",
        )
    return FilterSetup(
        recipe.verify,
        recipe.filter,
        recipe.select,
        recipe.seed,
        tokenizer_file(recipe) if recipe.name != _NOBODY["name"] else None,
        source=source,
    )


def combinations(sweep: Sequence[str]) -> list[list[str]]:
    """All combinations of settings, each a list of ``key=value``.

    Raises:
        RecipeError: If one of them names no key of the filter.

    Example:
        >>> combinations(["correct=prefer,only", "select.per_prompt=1,2"])[1]
        ['filter.correct=prefer', 'select.per_prompt=2']
    """
    choices = []
    for text in sweep:
        key, equals, values = text.partition("=")
        if not equals or not values:
            raise RecipeError(f"--sweep {text}: write KEY=A,B such as correct=prefer,only")
        choices.append([f"{_full_key(key, text)}={value}" for value in values.split(",")])
    return [list(one) for one in product(*choices)]


def _full_key(key: str, text: str) -> str:
    if key.partition(".")[0] in _SECTIONS and "." in key:
        return key
    for name, section in (("filter", FilterSection), ("select", SelectSection)):
        if key in section.model_fields:
            return f"{name}.{key}"
    known = ", ".join([*FilterSection.model_fields, *SelectSection.model_fields])
    raise RecipeError(f"--sweep {text}: there is no key {key!r}; known: {known}")


def _set(table: dict[str, Any], text: str) -> None:
    """Apply one ``key=value``; a bare word is text, all else is TOML."""
    key, equals, raw = text.partition("=")
    section, dot, name = key.strip().partition(".")
    if not equals or not (dot or section == "seed") or section not in (*_SECTIONS, "seed"):
        raise RecipeError(
            f"--set {text}: write KEY=VALUE with a key of {', '.join(_SECTIONS)} or seed",
            hint="such as --set filter.correct=only",
        )
    try:
        value = tomllib.loads(f"value = {raw}")["value"]
    except ValueError:
        value = raw.strip()
    if section == "seed":
        table["seed"] = value
        return
    inner = table[section] = dict(table.get(section, {}))
    *outer, last = name.split(".")
    for part in outer:
        inner[part] = dict(inner.get(part, {}))
        inner = inner[part]
    inner[last] = value
