"""What differs between two recipes, and from which stage on it matters."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from distill.layout import STAGES, Stage, first_stage
from distill.recipe import Recipe

_ABSENT = "(none)"
_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Change:
    """One value that differs.

    Attributes:
        key: Dotted, such as ``"train.epochs"``.
        old: As text.
        new: As text.
        stage: The first stage whose results it changes; ``None`` if there is none.
    """

    key: str
    old: str
    new: str
    stage: Stage | None = None

    def __str__(self) -> str:
        return f"{self.key}: {self.old} -> {self.new}"


def find_changes(old: Recipe, new: Recipe) -> list[Change]:
    """What a new recipe changes, in the order of the recipe.

    Relative paths are taken from the current folder.
    """
    found = compare(old.model_dump(), new.model_dump())
    return [Change(one.key, one.old, one.new, first_stage(one.key)) for one in found]


def compare(old: Mapping[str, object], new: Mapping[str, object]) -> list[Change]:
    """What differs between two trees of JSON values and paths.

    Example:
        >>> [str(change) for change in compare({"a": {"b": 1}}, {"a": {"b": 2}})]
        ['a.b: 1 -> 2']
        >>> stages = [{"a": [{"name": "cold", "b": b}]} for b in (1, 2)]
        >>> [str(change) for change in compare(*stages)]
        ['a.cold.b: 1 -> 2']
    """
    before, after = _flat(old), _flat(new)
    return [
        Change(key, before.get(key, _ABSENT), after.get(key, _ABSENT))
        for key in dict.fromkeys((*before, *after))
        if before.get(key) != after.get(key)
    ]


def earliest(changes: Sequence[Change]) -> Stage:
    """The first stage that any of the changes matters to; each has one."""
    return min((change.stage for change in changes if change.stage), key=STAGES.index)


def listed(changes: Sequence[Change]) -> str:
    """Changes as indented lines, a long list cut."""
    lines = [f"\n  {change}" for change in changes[:_SHOWN]]
    rest = len(changes) - _SHOWN
    return "".join(lines) + (f"\n  and {rest} more" if rest > 0 else "")


def _flat(tree: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in tree.items():
        key = f"{prefix}{name}"
        inner = _tables(value)
        if inner is not None:
            flat |= _flat(inner, f"{key}.")
        elif value is not None:
            absolute = str(value.resolve()) if isinstance(value, Path) else value
            flat[key] = json.dumps(absolute, ensure_ascii=False)
    return flat


def _tables(value: object) -> Mapping[str, object] | None:
    """A table, or several by their own names or places; ``None`` for any other value."""
    if isinstance(value, Mapping):
        return value
    if not isinstance(value, list | tuple) or not value:
        return None
    if not all(isinstance(one, Mapping) for one in value):
        return None
    return {str(one.get("name", place)): one for place, one in enumerate(value, start=1)}
