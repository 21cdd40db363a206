"""A recipe as commented TOML, with every key it could have.

Comments and defaults are read off the recipe's models, so the text cannot fall behind them.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import get_args, get_origin

from pydantic.fields import FieldInfo

from distill.mistakes import sections_of
from distill.recipe import Recipe, Section

_HEAD = """\
# A recipe of distill: one file, one run. Every key is here, with what it means.
# Lines such as #epochs = 3 show a default: take the # away and change the value.
# Relative paths start at the folder of this file.
"""


def recipe_text(recipe: Recipe) -> str:
    """TOML of a recipe: keys that were given stand there, the others as comments."""
    return "\n".join([_HEAD, *_section_lines("", recipe)]) + "\n"


def _section_lines(name: str, section: Section) -> Iterator[str]:
    """The keys of a table, then the tables inside it: TOML wants that order."""
    inner: list[tuple[str, FieldInfo, Section]] = []
    for key, field in type(section).model_fields.items():
        value = getattr(section, key)
        if isinstance(value, Section):
            inner.append((f"{name}.{key}".lstrip("."), field, value))
        else:
            yield from _key_lines(key, value, field, is_given=key in section.model_fields_set)
    for key, field, value in inner:
        yield from _table_lines(key, field, value)


def _table_lines(name: str, field: FieldInfo, section: Section) -> Iterator[str]:
    yield ""
    yield f"# {first_line(type(section))}"
    for other in _other_kinds(field, type(section)):
        yield f'# Or kind = "{other.model_fields["kind"].default}": {first_line(other)}'
    yield f"[{name}]"
    yield from _section_lines(name, section)


def _key_lines(key: str, value: object, field: FieldInfo, *, is_given: bool) -> Iterator[str]:
    allowed = f" ({', '.join(map(toml_value, choices))})" if (choices := _choices(field)) else ""
    if field.description and key != "kind":
        yield f"# {field.description}{allowed}"
    mark = "" if is_given else "#"
    yield f"{mark}{key} = {toml_value(value)}" if value is not None else f"#{key} =   (not set)"


def _other_kinds(field: FieldInfo, chosen: type[Section]) -> list[type[Section]]:
    others = (one for one in sections_of(field.annotation) if one is not chosen)
    return [one for one in others if issubclass(one, Section)]


def _choices(field: FieldInfo) -> tuple[str, ...]:
    """What a key may be, if that is a short list of words."""
    values = get_args(field.annotation)
    is_words = get_origin(field.annotation) is not tuple and all(
        isinstance(value, str) for value in values
    )
    return values if is_words and len(values) > 1 else ()


def first_line(model: type[Section]) -> str:
    """What a table is for, in one line."""
    return (model.__doc__ or "").split("\n", 1)[0]


def toml_value(value: object) -> str:
    """A value of a recipe as TOML writes it.

    Example:
        >>> [toml_value(value) for value in (True, 5e-05, "a", (2, 3))]
        ['true', '5e-05', '"a"', '[2, 3]']
    """
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, str | Path):
        return json.dumps(str(value), ensure_ascii=False)
    if isinstance(value, Mapping):
        inner = ", ".join(f"{json.dumps(key)} = {toml_value(one)}" for key, one in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    return json.dumps(value)
