"""The endpoints and models that are known: how they are spoken to, what they cost, what they allow.

The facts lie in ``catalog.toml``; here they get types. A recipe can change or add any field, so an
endpoint that is not listed, or has changed, needs no code.
"""

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any, Final

from distill.errors import RecipeError
from distill.pricing import PriceList, entry_from

_NOT_OVERRIDDEN: Final = ("name", "models", "as_of")


@dataclass(frozen=True, slots=True)
class KnownModel:
    """What is known of a model at an endpoint; what is not known is ``None`` or empty.

    Attributes:
        name: As requests say it.
        prices: With their dates.
        context_tokens: What it reads and writes together.
        max_output_tokens: What it writes at most.
        concurrency: Requests at once that an account may have.
        requests_per_minute: Limit of an account.
        tokens_per_minute: The same for tokens read and written.
        retired: The day from which it is gone.
        successor: What to use then.
    """

    name: str
    prices: PriceList = field(default_factory=PriceList)
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    concurrency: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    retired: date | None = None
    successor: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What differs between endpoints that speak the OpenAI API.

    Attributes:
        name: Of the entry.
        title: For people.
        base_url: Where it is; ``<...>`` in it is the user's to fill in.
        query: Appended to the URL of completions.
        models_path: Where the models are listed, below the base URL; empty if nowhere.
        key_header: Header of the key; ``Authorization`` gets ``Bearer`` before it.
        key_variable: Environment variable of the key; empty if there is none.
        needs_key: Whether nothing goes without it.
        thinking_on: What a request says to switch reasoning on.
        thinking_off: The same for off.
        effort_field: Key of a request that says how long to think; empty if there is none.
        efforts: Its values; empty if any goes.
        samples_while_thinking: Whether temperature and top_p mean something to a thinking model.
        sends_seed: Whether a seed for each sample is understood.
        counts_one_choice: Whether the usage of several choices is that of one of them only.
        asks_usage: Whether a stream must be asked for its usage.
        concurrency: Requests at once, where the model's entry says nothing.
        licence: What outputs may be used for, in a few words.
        docs: Where to read more.
        as_of: When the facts were looked at.
        models: Those that are known.
    """

    name: str
    title: str = ""
    base_url: str = ""
    query: str = ""
    models_path: str = "/models"
    key_header: str = "Authorization"
    key_variable: str = ""
    needs_key: bool = False
    thinking_on: Mapping[str, Any] = field(default_factory=dict)
    thinking_off: Mapping[str, Any] = field(default_factory=dict)
    effort_field: str = "reasoning_effort"
    efforts: tuple[str, ...] = ()
    samples_while_thinking: bool = True
    sends_seed: bool = False
    counts_one_choice: bool = False
    asks_usage: bool = True
    concurrency: int = 64
    licence: str = ""
    docs: str = ""
    as_of: date | None = None
    models: tuple[KnownModel, ...] = ()


@cache
def catalog() -> Mapping[str, Endpoint]:
    """All endpoints by name."""
    text = (files("teachers") / "catalog.toml").read_text(encoding="utf-8")
    return {name: _endpoint(name, table) for name, table in tomllib.loads(text).items()}


def find_endpoint(name: str, override: Mapping[str, Any] | None = None) -> Endpoint:
    """An endpoint of the catalogue, with the fields that a recipe changes.

    Raises:
        RecipeError: If it is unknown, or a field that is changed is.
    """
    known = catalog()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        meant = f"; did you mean '{close[0]}'?" if close else ""
        raise RecipeError(
            f"teacher.endpoint: found '{name}'; it must be one of {', '.join(known)}{meant}",
            hint='For any other server: endpoint = "openai-compatible" and its base_url.',
        )
    return _overridden(known[name], override or {})


def find_model(endpoint: Endpoint, name: str) -> KnownModel:
    """What is known of a model; an unknown one is let through with nothing known.

    Raises:
        RecipeError: If it was retired; names its successor.
    """
    found = next((model for model in endpoint.models if model.name == name), KnownModel(name))
    if found.retired is not None and found.retired <= date.today():  # noqa: DTZ011 - a day is enough
        raise RecipeError(
            f"teacher.model: '{name}' was retired on {found.retired:%Y-%m-%d}",
            hint=f"Its successor: {found.successor}.",
        )
    return found


def _endpoint(name: str, table: Mapping[str, Any]) -> Endpoint:
    values = dict(table)
    models = tuple(_model(model) for model in values.pop("models", ()))
    values["efforts"] = tuple(values.get("efforts", ()))
    return Endpoint(name=name, models=models, **values)


def _model(table: Mapping[str, Any]) -> KnownModel:
    values = dict(table)
    prices = PriceList(tuple(entry_from(price) for price in values.pop("prices", ())))
    return KnownModel(prices=prices, **values)


def _overridden(endpoint: Endpoint, override: Mapping[str, Any]) -> Endpoint:
    if not override:
        return endpoint
    allowed = [one.name for one in fields(Endpoint) if one.name not in _NOT_OVERRIDDEN]
    changes: dict[str, Any] = {}
    for key, value in override.items():
        if key not in allowed:
            close = difflib.get_close_matches(key, allowed, n=1)
            meant = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(allowed)}"
            raise RecipeError(f"teacher.override.{key}: unknown field; {meant}")
        if fault := _fault(getattr(endpoint, key), value):
            raise RecipeError(f"teacher.override.{key}: found {_shown(value)}; {fault}")
        changes[key] = tuple(value) if isinstance(value, list) else value
    if "concurrency" in changes:  # what a recipe says goes before what is known of a model
        changes["models"] = tuple(replace(model, concurrency=None) for model in endpoint.models)
    return replace(endpoint, **changes)


def _fault(present: object, value: object) -> str:
    """What is wrong with a value that takes the place of another one; empty if nothing is."""
    if isinstance(present, bool):
        return "" if isinstance(value, bool) else "it must be true or false"
    if isinstance(present, int):
        is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 1
        return "" if is_count else "it must be a whole number of at least 1"
    if isinstance(present, tuple):
        is_texts = isinstance(value, list) and all(isinstance(each, str) for each in value)
        return "" if is_texts else 'it must be a list of texts, such as ["low", "high"]'
    if isinstance(present, str):
        return _fault_of_text(value)
    return "" if isinstance(value, Mapping) else "it must be a table, such as { thinking = true }"


def _fault_of_text(value: object) -> str:
    if not isinstance(value, str):
        return "it must be a text"
    if not value.isprintable():
        return "it holds a line break or another sign that cannot be seen"
    return "it holds a user name or a password; name key_variable" if _has_login(value) else ""


def _has_login(text: str) -> bool:
    return "://" in text and "@" in text.partition("://")[2].partition("/")[0]


def _shown(value: object) -> str:
    """A value for a message; a login, as in a URL, is left out."""
    return "a URL" if isinstance(value, str) and _has_login(value) else repr(value)
