"""Load a recipe: TOML, then ``--set key=value``, then all mistakes at once.

A relative path in a recipe starts at the recipe's folder, so that a recipe works from anywhere;
one in ``--set`` starts at the current folder, where the shell completes names. Both must exist.
"""

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from distill.errors import RecipeError
from distill.mistakes import Mistake, find_mistakes, path_keys
from distill.recipe import Recipe, read_folder
from distill.student_sections import TEMPLATES

Table = dict[str, Any]

_KEY = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_NEARBY = 8


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and check it.

    Args:
        path: A TOML file.
        overrides: Each ``"train.epochs=2"``; the value is TOML, or a bare word for text. A new
            ``kind`` starts its table anew, because another choice has other keys.

    Raises:
        RecipeError: If it cannot be read or anything in it is not allowed; names all mistakes.
    """
    table = _read_table(path)
    settings, mistakes = _parse_all(overrides)
    for setting in settings:
        mistakes += _apply(setting, table)
    recipe, found = _check(table, path.resolve().parent)
    mistakes += [_named(mistake, settings) for mistake in found]
    if mistakes or recipe is None:
        lines = dict.fromkeys(f"\n  {mistake}" for mistake in mistakes)
        raise RecipeError(f"{path}:{''.join(lines)}")
    return recipe


@dataclass(frozen=True, slots=True)
class _Setting:
    """One ``--set``: as it was typed, its key, its value."""

    text: str
    key: str
    value: object


def _read_table(path: Path) -> Table:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        raise RecipeError(f"{path}: there is no such recipe", hint=_nearby(path)) from None
    except IsADirectoryError:
        raise RecipeError(f"{path}: this is a folder", hint=_nearby(path / "x.toml")) from None
    except OSError as error:
        raise RecipeError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: byte {error.start} is not UTF-8 text") from None
    try:
        return tomllib.loads(text)
    except ValueError as error:
        problem = str(error)
        place = _PLACE.search(problem)
        line = (place and place[1]) or (text.count("\n") + 1 if place else "")
        where = f"{path}:{line}" if line else str(path)
        problem = problem[: place.start()] if place else problem
        raise RecipeError(f"{where}: not valid TOML: {problem[:1].lower()}{problem[1:]}") from None


def _nearby(path: Path) -> str:
    """Which recipes there are beside the missing one and in ``recipes/``, likeliest first."""
    folders = dict.fromkeys((path.parent, Path("recipes"), path.parent / "recipes"))
    recipes = {str(found): None for folder in folders for found in sorted(folder.glob("*.toml"))}
    if not recipes:
        return "There is none nearby; `distill init` writes one."
    by_name = {Path(recipe).stem: recipe for recipe in recipes}
    close = [by_name[name] for name in difflib.get_close_matches(path.stem, by_name)]
    ordered = list(dict.fromkeys([*close, *recipes]))
    more = ", ..." if len(ordered) > _NEARBY else ""
    return f"Recipes nearby: {', '.join(ordered[:_NEARBY])}{more}"


def _parse_all(overrides: Sequence[str]) -> tuple[list[_Setting], list[Mistake]]:
    """Settings, a new ``kind`` before the keys that belong to it, and what cannot be parsed."""
    settings, mistakes = [], []
    for text in overrides:
        try:
            settings.append(_parse(text))
        except ValueError as error:
            mistakes.append(Mistake(f"--set {text}", str(error)))
    settings.sort(key=lambda setting: not setting.key.endswith(".kind"))
    return settings, mistakes


def _parse(text: str) -> _Setting:
    """Split ``key=value``; raises ``ValueError`` with what is wrong."""
    raw_key, equals, raw_value = text.partition("=")
    key, raw_value = raw_key.strip(), raw_value.strip()
    if not equals:
        raise ValueError(f"there is no '='; write --set {key or 'train.epochs'}=VALUE")
    if not _KEY.fullmatch(key):
        raise ValueError(f"'{raw_key}' is not a key; write one such as train.epochs")
    if not raw_value:
        raise ValueError(f"there is no value after '='; for empty text write {key}='\"\"'")
    return _Setting(text, key, _from_here(key, _parse_value(raw_value)))


def _parse_value(text: str) -> object:
    try:
        table = tomllib.loads(f"value = {text}")
    except ValueError:
        if text[0] in "\"'[{" or not text.isprintable():
            raise ValueError(
                f"the value {text} is not valid TOML; text inside it needs double quotes"
            ) from None
        return text
    if len(table) > 1:
        raise ValueError("there is more than one value; use one --set for each key")
    return table["value"]


def _from_here(key: str, value: object) -> object:
    """The value with relative paths in it made absolute."""
    if isinstance(value, Mapping):
        return {name: _from_here(f"{key}.{name}", inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_from_here(key, item) for item in value]
    if key in path_keys() and isinstance(value, str) and value and value not in TEMPLATES:
        return str(Path.cwd() / Path(value).expanduser())
    return value


def _apply(setting: _Setting, table: Table) -> list[Mistake]:
    *outer, last = setting.key.split(".")
    for depth, name in enumerate(outer, start=1):
        inner = table.setdefault(name, {})
        if not isinstance(inner, dict):
            key = ".".join(outer[:depth])
            return [Mistake(f"--set {setting.text}", f"'{key}' holds a value, not further keys")]
        table = inner
    if last == "kind" and table.get(last) != setting.value:
        table.clear()
    table[last] = setting.value
    return []


def _check(table: Table, folder: Path) -> tuple[Recipe | None, list[Mistake]]:
    try:
        return Recipe.model_validate(table, context=read_folder(folder, must_exist=True)), []
    except ValidationError as error:
        return None, find_mistakes(error)


def _named(mistake: Mistake, settings: Sequence[_Setting]) -> Mistake:
    """The mistake, named after the ``--set`` that made it, if one did."""
    for setting in reversed(settings):
        if mistake.key == setting.key:
            return Mistake(f"--set {setting.text}", mistake.text)
        if any(mistake.key.startswith(f"{setting.key}{mark}") for mark in ".["):
            return Mistake(f"--set {setting.text}", f"{mistake.key}: {mistake.text}")
    return mistake
