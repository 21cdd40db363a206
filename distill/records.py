"""The nouns as plain dicts and back, strictly: what a journal or a JSON file holds.

``to_record`` gives JSON values only. ``from_record`` gives the noun back or says what is wrong
and where: an unknown field, a missing one, a wrong type. It never guesses and never converts, so
that an answer ``"0012"`` stays that text.

This module knows no files; the caller says where a record comes from.
"""

import math
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from distill.errors import DataError

Record = dict[str, Any]
T = TypeVar("T")

_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
_FOUND_LENGTH = 60


def to_record(noun: object) -> Record:
    """Turn a dataclass of plain values, dataclasses, tuples and mappings into JSON values.

    Example:
        >>> from distill.types import Usage
        >>> to_record(Usage(input_tokens=3))["input_tokens"]
        3
    """
    kind: type = type(noun)
    return {name: _to_json(getattr(noun, name)) for name in _field_types(kind)}


def from_record(kind: type[T], record: object, place: str) -> T:
    """Read a dataclass back from JSON values.

    Args:
        kind: Which dataclass, such as ``JudgedTrace``.
        record: What ``json.loads`` gave.
        place: Where the record stands, for the error, such as ``"traces.jsonl:17"``.

    Raises:
        DataError: If a field is unknown, missing or of another type.
    """
    return cast("T", _dataclass_from(kind, record, place, path=""))


def _to_json(value: object) -> object:
    if is_dataclass(value):
        return to_record(value)
    if isinstance(value, tuple | list):
        return [_to_json(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _to_json(item) for key, item in value.items()}
    return value


@cache
def _field_types(kind: type) -> dict[str, Any]:
    """Names and types of the fields, in order."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _dataclass_from(kind: type, record: object, place: str, path: str) -> object:
    if not isinstance(record, dict):
        raise DataError(f"{place}: {path or 'the record'} must be an object, not {_found(record)}")
    hints = _field_types(kind)
    prefix = f"{path}." if path else ""
    if unknown := [name for name in record if name not in hints]:
        raise DataError(f"{place}: unknown field {prefix}{unknown[0]}; known: {', '.join(hints)}")
    if missing := [name for name in hints if name not in record]:
        raise DataError(f"{place}: field {prefix}{missing[0]} is missing")
    return kind(
        **{
            name: _value_from(hint, record[name], place, f"{prefix}{name}")
            for name, hint in hints.items()
        }
    )


def _value_from(hint: Any, value: object, place: str, path: str) -> object:  # noqa: ANN401 - any type form
    """Check one value against its type; returns it, with dataclasses and tuples built."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in get_args(hint):
            return None
        (hint,) = (part for part in get_args(hint) if part is not type(None))
        return _value_from(hint, value, place, path)
    if origin is Literal:
        if not isinstance(value, str) or value not in get_args(hint):
            allowed = ", ".join(map(repr, get_args(hint)))
            raise DataError(f"{place}: {path} must be one of {allowed}, not {_found(value)}")
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise DataError(f"{place}: {path} must be a list, not {_found(value)}")
        (item_hint, _) = get_args(hint)  # only tuple[X, ...]
        return tuple(
            _value_from(item_hint, item, place, f"{path}[{index}]")
            for index, item in enumerate(value)
        )
    if is_dataclass(hint):
        return _dataclass_from(cast("type", hint), value, place, path)
    return _plain_from(hint, value, place, path)


def _plain_from(hint: type, value: object, place: str, path: str) -> object:
    """Check text, numbers and booleans; a whole number passes as a number, a boolean never."""
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint or (isinstance(value, float) and not math.isfinite(value)):
        raise DataError(f"{place}: {path} must be {_NAMES[hint]}, not {_found(value)}")
    return value


def _found(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _FOUND_LENGTH else f"{text[:_FOUND_LENGTH]}..."
