"""``SchemaVerifier``: the answer is JSON and fits a JSON schema.

The JSON is the whole answer, the last fenced block of it, or what stands in its outermost brackets.
``NaN``, keys that stand twice and broken JSON are faults, with their place.
"""

import json
import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from distill.errors import DataError
from distill.types import Completion, Prompt, Verdict
from distill.verify.extract import answer_part
from distill.verify.form import unfinished_fault

_FENCED = re.compile(r"```(?:json|JSON)?[ \t]*\n(.*?)\n?[ \t]*```", re.DOTALL)
_LONGEST = 1_000_000
_SHOWN_LENGTH = 120


class SchemaVerifier:
    """Accepts a finished completion whose answer is JSON of a given schema.

    Example:
        >>> verifier = SchemaVerifier({"type": "object", "required": ["city"]})
        >>> verifier.verify(Prompt("p", "?"), Completion('{"town": "Bonn"}')).reason
        "at the top: 'city' is a required property"
    """

    name = "schema/1"

    def __init__(self, schema: Mapping[str, Any] | bool | str | Path) -> None:
        """Take a schema or the path of one.

        Raises:
            DataError: If it cannot be read, is no schema, or refers to other documents.
        """
        from jsonschema.exceptions import SchemaError  # type: ignore[import-untyped]
        from jsonschema.validators import validator_for  # type: ignore[import-untyped]
        from referencing import Registry

        where = f"{schema}" if isinstance(schema, str | Path) else "the schema"
        content = _read(Path(schema)) if isinstance(schema, str | Path) else schema
        kind = validator_for(content)
        try:
            kind.check_schema(content)
        except SchemaError as error:
            place = _place(error.absolute_path)
            raise DataError(
                f"{where}: no JSON schema: {place}: {error.message[:_SHOWN_LENGTH]}",
                hint="See https://json-schema.org for what a schema may hold.",
            ) from None
        if remote := _remote_references(content):
            raise DataError(
                f"{where}: refers to {remote[0]!r}; a reference must begin with '#'",
                hint="Copy what it refers to into '$defs' of the schema: nothing is downloaded.",
            )
        self._validator = kind(content, registry=Registry())

    def verify(self, prompt: Prompt, completion: Completion) -> Verdict:
        """Judge one completion; the prompt's gold answer plays no part."""
        start = time.perf_counter()
        is_accepted, reason = self._judge(completion)
        milliseconds = (time.perf_counter() - start) * 1000
        return Verdict(is_accepted, reason, self.name, float(is_accepted is True), milliseconds)

    def _judge(self, completion: Completion) -> tuple[bool | None, str]:
        if unfinished := unfinished_fault(completion):
            return False, unfinished
        text = answer_part(completion.text)
        if len(text) > _LONGEST:
            return False, f"the answer has more than {_LONGEST:,} characters"
        try:
            content = _parse(find_json(text))
        except (ValueError, RecursionError) as error:
            return False, f"no JSON: {str(error)[:_SHOWN_LENGTH] or 'too deep'}"
        try:
            fault = next(self._validator.iter_errors(content), None)
        except Exception as error:  # noqa: BLE001 - a schema may refer to what is not there
            return None, f"the schema cannot be applied: {type(error).__name__}: {error!s:.120}"
        if fault is None:
            return True, "fits the schema"
        return False, f"{_place(fault.absolute_path)}: {fault.message[:_SHOWN_LENGTH]}"


def find_json(text: str) -> str:
    """The part of an answer that is meant as JSON.

    Example:
        >>> find_json('Here it is: {"a": [1]} Done.')
        '{"a": [1]}'
    """
    text = text.strip()
    if blocks := _FENCED.findall(text):
        return str(blocks[-1]).strip()
    if text[:1] in ("{", "[", '"') or not re.search(r"[{\[]", text):
        return text
    opening = min(index for index in (text.find("{"), text.find("[")) if index >= 0)
    closing = text.rfind("}" if text[opening] == "{" else "]")
    return text[opening : closing + 1] or text


def _parse(text: str) -> object:
    return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_unique)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        twice = next(key for key, _ in pairs if sum(other == key for other, _ in pairs) > 1)
        raise ValueError(f"key {twice!r} stands twice")
    return content


def _read(path: Path) -> object:
    try:
        return _parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}", hint="Give a file to read.") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: no JSON: {error}", hint="A schema is one JSON object.") from None


def _remote_references(content: object) -> list[str]:
    found: list[str] = []
    rest: list[object] = [content]
    while rest:
        item = rest.pop()
        if isinstance(item, Mapping):
            reference = item.get("$ref")
            if isinstance(reference, str) and not reference.startswith("#"):
                found.append(reference)
            rest.extend(item.values())
        elif isinstance(item, list):
            rest.extend(item)
    return found


def _place(path: Iterable[object]) -> str:
    parts = [str(part) for part in path]
    return f"at {'.'.join(parts)}" if parts else "at the top"
