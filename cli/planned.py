"""The plan that was made for a run, kept in its folder: to be held against what it cost.

A plan is kept once there is a run folder, such as after a pilot, and until the generation is
finished: a plan of what is over foretells nothing.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distill.plan import Plan
    from distill.recipe import Recipe

_NAME = "plan.json"
_KEPT = ("at", "usd", "low_usd", "high_usd", "samples", "stored")


def save(recipe: "Recipe", folder: Path, plan: "Plan") -> None:
    """Keep a plan, if the folder holds the run that it is about."""
    if not (folder / "manifest.json").is_file():
        return
    from distill.manifest import now
    from distill.records import to_record
    from distill.storage import write_json_atomically
    from distill.stored_run import read_run

    stored = read_run(folder)
    is_same = stored.recipe.generate == recipe.generate and stored.recipe.seed == recipe.seed
    if is_same and not stored.manifest.is_finished("generate"):
        write_json_atomically(folder / _NAME, {"at": now(), **to_record(plan)})


def read(folder: Path) -> Mapping[str, Any] | None:
    """The last plan of a run; ``None`` if there is none.

    Raises:
        RunDirError: If the file is broken.
    """
    path = folder / _NAME
    if not path.is_file():
        return None
    from distill.errors import RunDirError

    try:
        found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {name: found[name] for name in _KEPT}
    except (ValueError, KeyError, TypeError) as error:
        raise RunDirError(
            f"{path}: this is no plan: {type(error).__name__} {error}",
            hint="Remove the file: only distill cost reads it.",
        ) from None
