"""The nouns as plain dicts and back, strictly: what a journal or a JSON file holds.

``to_record`` gives JSON values only. ``from_record`` gives the noun back or says what is wrong
and where: an unknown field, a missing one, a wrong type. It never guesses and never converts, so
that an answer ``"0012"`` stays that text. Only a field that is ``None`` by default may be missing:
older records do not have it.

This module knows no files; the caller says where a record comes from.
"""

import math
import types
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from distill import __version__
from distill.errors import DataError

Record = dict[str, Any]
T = TypeVar("T")
_Reader = Callable[[object], object]

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
    return _writer(kind)(noun)


def from_record(kind: type[T], record: object, place: str) -> T:
    """Read a dataclass back from JSON values.

    Args:
        kind: Which dataclass, such as ``JudgedTrace``.
        record: What ``json.loads`` gave.
        place: Where the record stands, for the error, such as ``"traces.jsonl:17"``.

    Raises:
        DataError: If a field is unknown, missing or of another type.
    """
    hint: type = kind
    try:
        return cast("T", _reader(hint)(record))
    except _Mismatch as mismatch:
        path = "".join(reversed(mismatch.path)).removeprefix(".") or "the record"
        raise DataError(
            f"{place}: {mismatch.before}{path}{mismatch.after}",
            hint=_other_version(record) if mismatch.before else "",
        ) from None


def _other_version(record: object) -> str:
    """What to do about a record whose fields are not ours: no hand writes them."""
    made_by = record.get("made_by") if isinstance(record, dict) else None
    if isinstance(made_by, str):
        who = f"{made_by} wrote it, and this is distill {__version__}"
    else:
        who = f"probably another version than this one, distill {__version__}, wrote it"
    return f"{who}: read it with the version that wrote it, or make it again"


class _Mismatch(Exception):  # noqa: N818 - never leaves this module
    """A value that does not fit; ``path`` grows from the inside on its way out.

    ``before`` and ``after`` are what to say around the path; only fields that differ have a before.
    """

    def __init__(self, after: str, *, before: str = "", path: Sequence[str] = ()) -> None:
        super().__init__(before, after)
        self.before = before
        self.after = after
        self.path = list(path)


def _to_json(value: object) -> object:
    if is_dataclass(value):
        return to_record(value)
    if isinstance(value, tuple | list):
        return [_to_json(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _to_json(item) for key, item in value.items()}
    return value


_PLAIN = (str, int, float, bool, type(None))


@cache
def _writer(kind: type) -> Callable[[object], Record]:
    """What turns a dataclass into a dict; plain fields, which are most, are taken as they are."""
    names = tuple(_field_types(kind))

    def write(noun: object) -> Record:
        record = {name: getattr(noun, name) for name in names}
        for name, value in record.items():
            if type(value) not in _PLAIN:
                record[name] = _to_json(value)
        return record

    return write


@cache
def _field_types(kind: type) -> dict[str, Any]:
    """Names and types of the fields, in order."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


@cache
def _reader(hint: Any) -> _Reader:  # noqa: ANN401 - any form of type
    """What checks a value against a type and builds what the type says; made once per type."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        (inner,) = (part for part in arguments if part is not type(None))
        read_inner = _reader(inner)
        return lambda value: None if value is None else read_inner(value)
    if origin is Literal:
        return _choice_reader(arguments)
    if origin is tuple:
        return _tuple_reader(_reader(arguments[0]))  # only tuple[X, ...]
    if origin is Mapping:
        return _mapping_reader(_any if arguments[1] is Any else _reader(arguments[1]))
    if is_dataclass(hint):
        return _dataclass_reader(cast("type", hint))
    return _plain_reader(hint)


def _dataclass_reader(kind: type) -> _Reader:
    readers = {name: _reader(hint) for name, hint in _field_types(kind).items()}
    required = {field.name for field in fields(kind) if field.default is not None}

    def read(record: object) -> object:
        if not isinstance(record, dict):
            raise _Mismatch(f" must be an object, not {_found(record)}")
        if record.keys() != readers.keys() and not required <= record.keys() <= readers.keys():
            raise _wrong_fields(record, readers, required)
        values = {}
        for name, value in record.items():
            try:
                values[name] = readers[name](value)
            except _Mismatch as mismatch:
                mismatch.path.append(f".{name}")
                raise
        return kind(**values)

    return read


def _wrong_fields(record: Record, known: Mapping[str, object], required: Set[str]) -> _Mismatch:
    missing = [name for name in known if name in required and name not in record]
    unknown = [name for name in record if name not in known]
    if unknown:
        after = f"; known: {', '.join(known)}"
        return _Mismatch(after, before="unknown field ", path=[f".{unknown[0]}"])
    return _Mismatch(" is missing", before="field ", path=[f".{missing[0]}"])


def _tuple_reader(read_item: _Reader) -> _Reader:
    def read(value: object) -> object:
        if not isinstance(value, list):
            raise _Mismatch(f" must be a list, not {_found(value)}")
        items = []
        for index, item in enumerate(value):
            try:
                items.append(read_item(item))
            except _Mismatch as mismatch:
                mismatch.path.append(f"[{index}]")
                raise
        return tuple(items)

    return read


def _mapping_reader(read_item: _Reader) -> _Reader:
    def read(value: object) -> object:
        if not isinstance(value, dict):
            raise _Mismatch(f" must be an object, not {_found(value)}")
        items = {}
        for key, item in value.items():
            try:
                items[key] = read_item(item)
            except _Mismatch as mismatch:
                mismatch.path.append(f".{key}")
                raise
        return items

    return read


def _any(value: object) -> object:
    """Whatever JSON holds."""
    return value


def _choice_reader(choices: tuple[object, ...]) -> _Reader:
    allowed = ", ".join(map(repr, choices))

    def read(value: object) -> object:
        if not isinstance(value, str) or value not in choices:
            raise _Mismatch(f" must be one of {allowed}, not {_found(value)}")
        return value

    return read


def _plain_reader(hint: type) -> _Reader:
    """Text, numbers and booleans; a whole number passes as a number, a boolean never."""

    def read(value: object) -> object:
        if type(value) is hint and (hint is not float or math.isfinite(cast("float", value))):
            return value
        if hint is float and type(value) is int:
            return float(value)
        raise _Mismatch(f" must be {_NAMES[hint]}, not {_found(value)}")

    return read


def _found(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _FOUND_LENGTH else f"{text[:_FOUND_LENGTH]}..."
