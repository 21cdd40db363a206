"""What is wrong with a recipe, in words: which key, what was found, what is allowed.

Everything is read off the recipe's models, so a new key needs no new message.
"""

import difflib
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from distill.recipe import Recipe

_KIND: Final = "kind"
_FOUND_LENGTH = 60
_PLAIN = {
    str: "text in quotes",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    Path: "a path in quotes",
}
_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
# Follows from a mistake that is reported anyway.
_CONSEQUENCE = "default_factory_not_called"
_OWN_MESSAGES = {"contradiction", "path_empty", "path_missing"}


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake.

    Attributes:
        key: Dotted, such as ``"train.learning_rat"``; empty when it is about the whole recipe.
        text: What is wrong with it and what is allowed.
    """

    key: str
    text: str

    def __str__(self) -> str:
        return f"{self.key}: {self.text}" if self.key else self.text


def find_mistakes(error: ValidationError) -> list[Mistake]:
    """All mistakes that a validation of a ``Recipe`` found, in the order of the recipe."""
    details = error.errors(include_url=False)
    return [_mistake(detail) for detail in details if detail["type"] != _CONSEQUENCE]


@cache
def path_keys() -> frozenset[str]:
    """Dotted keys that hold a path."""
    return frozenset(
        key
        for key, fields in _all_fields().items()
        if any(_holds_paths(field.annotation) for field in fields)
    )


def _holds_paths(annotation: object) -> bool:
    """Whether an annotation is a path, or several."""
    return annotation is Path or any(map(_holds_paths, get_args(annotation)))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a mistake is: the dotted key, the models it may belong to, the field if known."""

    key: str
    sections: tuple[type[BaseModel], ...]
    field: FieldInfo | None


def _mistake(detail: ErrorDetails) -> Mistake:
    place = _find_place(detail["loc"])
    found = detail["input"]
    kind = detail["type"]
    if kind == "extra_forbidden":
        return Mistake(place.key, f"unknown key{_key_suggestion(place)}")
    if kind in _OWN_MESSAGES:
        return Mistake(place.key, detail["msg"])
    if kind in ("union_tag_not_found", "union_tag_invalid") and isinstance(found, Mapping):
        return _kind_mistake(place, found)
    must = f"must be {_allowed(place.field)}" if place.field else detail["msg"]
    if kind == "missing":
        return Mistake(place.key, f"missing; {must}")
    return Mistake(place.key, f"found {_found(found)}; {must}{_word_suggestion(place, found)}")


def _kind_mistake(place: _Place, found: Mapping[str, object]) -> Mistake:
    key = f"{place.key}.{_KIND}"
    kinds = _kinds(place.field)
    must = f"must be one of {_quoted(kinds)}"
    if _KIND not in found:
        return Mistake(key, f"missing; {must}")
    return Mistake(key, f"found {_found(found[_KIND])}; {must}{_similar(found[_KIND], kinds)}")


def _find_place(loc: Sequence[str | int]) -> _Place:
    """Follow a location through the models; tags of unions are part of it, but no keys."""
    sections: tuple[type[BaseModel], ...] = (Recipe,)
    key, field = "", None
    for part in loc:
        if isinstance(part, int):
            key += f"[{part}]"
            field = _item_field(field)
            continue
        tagged = [section for section in sections if _tag(section) == part]
        if len(sections) > 1 and tagged:
            sections = tuple(tagged)
            continue
        key = f"{key}.{part}" if key else part
        field = next((one.model_fields[part] for one in sections if part in one.model_fields), None)
        sections = (
            sections_of(field.annotation) if field and sections_of(field.annotation) else sections
        )
    return _Place(key, sections, field)


def sections_of(annotation: object) -> tuple[type[BaseModel], ...]:
    """The models that an annotation allows, none if it is about plain values."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return (annotation,)
    if get_origin(annotation) is Annotated:
        return sections_of(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(model for part in get_args(annotation) for model in sections_of(part))
    return ()


def _tag(section: type[BaseModel]) -> str:
    field = section.model_fields.get(_KIND)
    return str(field.default) if field else ""


@cache
def _all_fields() -> dict[str, list[FieldInfo]]:
    """Dotted keys of the whole recipe; a key that several choices share has several fields."""
    found: dict[str, list[FieldInfo]] = {}

    def visit(section: type[BaseModel], prefix: str) -> None:
        for name, field in section.model_fields.items():
            found.setdefault(f"{prefix}{name}", []).append(field)
            for inner in sections_of(field.annotation):
                visit(inner, f"{prefix}{name}.")

    visit(Recipe, "")
    return found


def _key_suggestion(place: _Place) -> str:
    """A key beside it that looks alike, else one of the same name elsewhere, else all beside it."""
    name = place.key.rpartition(".")[2]
    beside = [known for section in place.sections for known in section.model_fields]
    if suggestion := _similar(name, beside):
        return suggestion
    for key in _all_fields():
        if key.rpartition(".")[2] == name:
            return f"; did you mean '{key}'?"
    return f"; known here: {', '.join(dict.fromkeys(beside))}"


def _word_suggestion(place: _Place, found: object) -> str:
    return _similar(found, _words(place.field.annotation)) if place.field else ""


def _similar(found: object, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(str(found), known, n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def _words(annotation: object) -> list[str]:
    if get_origin(annotation) is Literal:
        return [str(word) for word in get_args(annotation)]
    return []


def _kinds(field: FieldInfo | None) -> list[str]:
    return [_tag(section) for section in sections_of(field.annotation)] if field else []


def _item_field(field: FieldInfo | None) -> FieldInfo | None:
    """The field that stands for one item of a list."""
    items = get_args(field.annotation) if field else ()
    return FieldInfo.from_annotation(items[0]) if items else None


def _allowed(field: FieldInfo) -> str:
    """What a field takes, such as ``a whole number, at least 1 and at most 5``."""
    annotation: Any = field.annotation
    options = [part for part in get_args(annotation) if part is not type(None)]
    if get_origin(annotation) in (Union, types.UnionType) and len(options) == 1:
        annotation = options[0]
    if sections := sections_of(annotation):
        kinds = [_tag(section) for section in sections if _tag(section)]
        return f"a table with kind = one of {_quoted(kinds)}" if kinds else "a table"
    if words := _words(annotation):
        return f"one of {_quoted(words)}"
    if get_origin(annotation) is tuple:
        item = _item_field(field)
        return f"a list, not empty, each item {_allowed(item)}" if item else "a list"
    return f"{_PLAIN.get(annotation, 'another value')}{_limits(field)}"


def _limits(field: FieldInfo) -> str:
    limits = [
        f"{words} {getattr(rule, name)}"
        for rule in field.metadata
        for name, words in _BOUNDS.items()
        if hasattr(rule, name)
    ]
    if limits:
        return f", {' and '.join(limits)}"
    has_pattern = any(getattr(rule, "pattern", None) for rule in field.metadata)
    return ": letters, digits, '.', '_' and '-', a letter or digit first" if has_pattern else ""


def _quoted(words: Sequence[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)


def _found(value: object) -> str:
    """A value as TOML writes it, about."""
    if isinstance(value, Mapping):
        return "a table"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= _FOUND_LENGTH else f"{text[:_FOUND_LENGTH]}..."
