"""What stands in a run folder: reading it without a lock, and writing its two records."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from distill.digest import digest_file
from distill.errors import RunDirError
from distill.layout import RunLayout
from distill.manifest import FORMAT, RunManifest
from distill.mistakes import find_mistakes
from distill.recipe import Recipe, read_folder
from distill.storage import files_of, storage_errors, write_json_atomically

_BROKEN = "Something other than this program changed it: restore it from a copy."


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run folder as it was found.

    Attributes:
        paths: What lies where in it.
        recipe: What was asked.
        manifest: What is done.
    """

    paths: RunLayout
    recipe: Recipe
    manifest: RunManifest


def read_run(path: Path) -> StoredRun:
    """Read a run folder, for those who only look.

    Raises:
        RunDirError: If it is none, or one of another version of this program.
    """
    paths = RunLayout(path)
    if not paths.manifest.is_file():
        problem = "this is no run folder" if path.exists() else "there is no such folder"
        raise RunDirError(f"{path}: {problem}", hint="A run folder holds a manifest.json.")
    manifest = _read_object(paths.manifest)
    _refuse_other_format(path, manifest)
    try:
        return StoredRun(paths, _read_recipe(paths), RunManifest.model_validate(manifest))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise RunDirError(f"{paths.manifest}: {key}: {first['msg']}", hint=_BROKEN) from None


def refuse_foreign(path: Path) -> None:
    """Refuse a folder that holds something else than a run.

    Raises:
        RunDirError: If it is a file, or a folder that is neither empty nor a run folder.
    """
    paths = RunLayout(path)
    if paths.manifest.exists() or not path.exists():
        return
    if not path.is_dir():
        raise RunDirError(f"{path}: this is a file", hint="Name a folder: --run-dir DIR")
    with storage_errors(path):
        names = {found.name for found in path.iterdir()}
    # What a run that was killed while it made the folder leaves behind.
    beginning = {paths.recipe.name, paths.lock.name}
    foreign = sorted(name for name in names - beginning if not name.endswith(".json.tmp"))
    if foreign:
        raise RunDirError(
            f"{path}: this folder is not empty and no run folder; it holds {foreign[0]}",
            hint="Name a new or empty one: --run-dir DIR",
        )


def write_recipe(paths: RunLayout, recipe: Recipe) -> None:
    """Write the resolved recipe; its paths start at the run folder, so both can move together."""
    root = paths.root.resolve()
    write_json_atomically(paths.recipe, _portable(recipe.model_dump(), root))


def write_manifest(paths: RunLayout, manifest: RunManifest) -> None:
    """Write what is done."""
    write_json_atomically(paths.manifest, manifest.model_dump())


def digests_inside(path: Path, root: Path, like: Mapping[str, str]) -> dict[str, str]:
    """Each file of a path, named from the run folder, to its digest.

    Args:
        path: A file or a folder.
        root: The run folder.
        like: What the digests will be compared with.

    Raises:
        StorageError: If one cannot be read.
    """
    with storage_errors(path):
        names = {_relative(file, root): file for file in files_of(path)}
        return {name: digest_file(file, like.get(name, "")) for name, file in names.items()}


def _relative(path: Path, root: Path) -> str:
    return Path(os.path.relpath(path.resolve(), root.resolve())).as_posix()


def _portable(value: object, root: Path) -> object:
    if isinstance(value, Mapping):
        return {key: _portable(inner, root) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_portable(inner, root) for inner in value]
    return _relative(value, root) if isinstance(value, Path) else value


def _read_object(path: Path) -> dict[str, Any]:
    with storage_errors(path):
        data = path.read_bytes()
    try:
        value = json.loads(data)
    except ValueError as error:
        raise RunDirError(f"{path}: not valid JSON: {error}", hint=_BROKEN) from None
    if not isinstance(value, dict):
        raise RunDirError(f"{path}: holds no JSON object", hint=_BROKEN)
    return value


def _read_recipe(paths: RunLayout) -> Recipe:
    if not paths.recipe.exists():
        raise RunDirError(f"{paths.recipe}: this file is missing", hint=_BROKEN)
    context = read_folder(paths.root.resolve(), must_exist=False)
    try:
        return Recipe.model_validate(_read_object(paths.recipe), context=context)
    except ValidationError as error:
        lines = "".join(f"\n  {mistake}" for mistake in find_mistakes(error))
        raise RunDirError(f"{paths.recipe}:{lines}", hint=_BROKEN) from None


def _refuse_other_format(path: Path, manifest: Mapping[str, Any]) -> None:
    found = manifest.get("format")
    if found == FORMAT:
        return
    versions = manifest.get("versions")
    writer = versions.get("distill") if isinstance(versions, Mapping) else None
    by = f" of distill {writer}" if writer else ""
    raise RunDirError(
        f"{path}: a run folder of format {found}{by}; this version reads format {FORMAT}",
        hint="Go on with the version that wrote it, or take another folder: --run-dir DIR",
    )
