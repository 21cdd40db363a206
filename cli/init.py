"""``distill init``: a commented recipe for a teacher and a student."""

import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import note, say
from distill.errors import RecipeError

if TYPE_CHECKING:
    from distill.recipe import Recipe

_EMBEDDED = "embedded"


def init(
    path: Annotated[Path, typer.Argument(metavar="[PATH]", help="The file to write.")] = Path(
        "recipe.toml"
    ),
    *,
    teacher: Annotated[
        str,
        typer.Option(
            metavar="TEACHER",
            help="'embedded', an endpoint that `distill teachers` lists, a model folder, or a"
            " traces.jsonl to learn from again.",
        ),
    ] = _EMBEDDED,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="What the endpoint calls the model.", show_default=False
        ),
    ] = None,
    base_url: Annotated[
        str | None,
        typer.Option(
            "--base-url", metavar="URL", help="Where the endpoint is.", show_default=False
        ),
    ] = None,
    student: Annotated[
        str,
        typer.Option(
            metavar="STUDENT",
            help="'embedded', a name that `distill students` lists, or a base model's folder.",
        ),
    ] = _EMBEDDED,
    prompts: Annotated[
        str, typer.Option(metavar="PROMPTS", help="'embedded', or a JSONL, CSV or Parquet file.")
    ] = _EMBEDDED,
    eval_prompts: Annotated[
        str, typer.Option(metavar="PROMPTS", help="The same, for the held-out prompts.")
    ] = _EMBEDDED,
) -> None:
    """Write a commented recipe for a teacher and a student.

    Every key stands in it with its meaning and its default. A file that exists is never changed.

    Example: distill init my.toml --student Qwen2.5-1.5B --prompts train.jsonl
    """
    from cli.recipe_text import recipe_text

    folder, known = path.resolve().parent, _known_settings()
    evaluation = dict(known["eval"]) if student == _EMBEDDED else {}
    if teacher != _EMBEDDED:  # a recording answers what was recorded, not the held-out prompts
        evaluation["models"] = ["base", "student"]
    table = {
        "name": _name_from(path),
        "teacher": _endpoint(teacher, model, base_url) or _local(teacher, folder),
        "prompts": _prompts(prompts, folder, known["prompts"]),
        "generate": known["generate"] if teacher == _EMBEDDED else {},
        "filter": known["filter"] if teacher == _EMBEDDED else {},
        "student": _student(student, folder),
        "train": known["train"] if student == _EMBEDDED else {},
        "eval": {**evaluation, "prompts": _prompts(eval_prompts, folder, known["eval"]["prompts"])},
    }
    _write_new(path, recipe_text(_checked(table, path)))
    say(f"wrote {path}")
    _note_published(table["student"])
    note(f"next: look through it, then   distill run {shlex.quote(str(path))}")


def _known_settings() -> dict[str, Any]:
    """Settings that suit the embedded models: those of the shipped quickstart."""
    import tomllib

    from distill.__main__ import ROOT

    # In a checkout they lie at the top, in an installed package inside it.
    places = [ROOT / "recipes", ROOT / "distill" / "recipes"]
    shipped = next(place for place in places if place.is_dir()) / "quickstart.toml"
    return tomllib.loads(shipped.read_text(encoding="utf-8"))


def _name_from(path: Path) -> str:
    """A name for the run, which is a folder's name too."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).strip("-._") or "run"


def _choice(given: str, kind_of_path: str, folder: Path) -> dict[str, Any]:
    if given == _EMBEDDED:
        return {"kind": _EMBEDDED}
    return {"kind": kind_of_path, "path": os.path.relpath(Path(given).expanduser(), folder)}


def _student(given: str, folder: Path) -> dict[str, Any]:
    """A student by name, if the catalogue knows it and no folder is called so."""
    from students.catalog import known_student

    known = None if Path(given).expanduser().exists() else known_student(given)
    return {"kind": "hub", "model": known.name} if known else _choice(given, "local", folder)


def _note_published(student: dict[str, Any]) -> None:
    """Say that others have trained this student, and at which settings."""
    from students.catalog import known_student

    known = known_student(student["model"]) if student["kind"] == "hub" else None
    if known is not None and known.settings:
        note(f"published settings for this size: distill students {known.short_name}")


def _endpoint(name: str, model: str | None, base_url: str | None) -> dict[str, Any]:
    """A teacher behind an endpoint; empty if the name is none of the catalogue."""
    from teachers.catalog import catalog

    if name not in catalog():
        if model is None and base_url is None:
            return {}
        known = ", ".join(catalog())
        raise RecipeError(f"--teacher {name}: an endpoint must be one of {known}")
    live = [one.name for one in catalog()[name].models if one.retired is None]
    if model is None and not live:
        raise RecipeError(f"--teacher {name} needs the name of a model", hint="--model NAME")
    table = {"kind": "api", "endpoint": name, "model": model or live[0]}
    return table if base_url is None else {**table, "base_url": base_url}


def _local(given: str, folder: Path) -> dict[str, Any]:
    """A model folder, or a recording of traces."""
    path = Path(given).expanduser()
    if path.is_dir():
        return {"kind": "local", "model": os.path.relpath(path, folder)}
    return _choice(given, "replay", folder)


def _prompts(given: str, folder: Path, embedded: dict[str, Any]) -> dict[str, Any]:
    return embedded if given == _EMBEDDED else _choice(given, "file", folder)


def _checked(table: dict[str, Any], path: Path) -> "Recipe":
    """The recipe, with paths as they will stand in it."""
    from pydantic import ValidationError

    from distill.mistakes import find_mistakes
    from distill.recipe import Recipe, read_folder

    try:
        Recipe.model_validate(table, context=read_folder(path.resolve().parent, must_exist=True))
        return Recipe.model_validate(table)
    except ValidationError as error:
        lines = "".join(f"\n  {mistake}" for mistake in find_mistakes(error))
        raise RecipeError(f"{path} was not written:{lines}") from None


def _write_new(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise RecipeError(
            f"{path} exists; nothing was changed", hint="name another file: distill init PATH"
        ) from None
