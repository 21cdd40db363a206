"""From a recipe's teacher to a client: the catalogue's entry, what the recipe changes, and the key.

This module sends nothing.
"""

import ipaddress
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from urllib.parse import urlsplit

from distill.errors import RecipeError, TeacherError
from distill.pricing import Price, PriceEntry, PriceList
from distill.recipe import ApiTeacher as ApiSection
from teachers.api import ApiTeacher
from teachers.catalog import Endpoint, find_endpoint, find_model
from teachers.connection import Connection
from teachers.drain import PriceFinder
from teachers.fleet import Fleet


def connect(
    section: ApiSection,
    on_notice: Callable[[str], None] = lambda text: None,
    *,
    fleet: Fleet | None = None,
    price: PriceFinder | None = None,
) -> ApiTeacher:
    """Make a client for a teacher behind an endpoint.

    Args:
        section: The recipe's choice.
        on_notice: Called with what the user should know while the client asks.
        fleet: Servers that the calls are shared over, in place of the one address.
        price: What an answer cost, instead of what the recipe or the catalogue says.

    Raises:
        RecipeError: If the catalogue does not know the endpoint, the model was retired, or the
            endpoint has no such effort.
        TeacherError: If its key is not in the environment.
    """
    endpoint = find_endpoint(section.endpoint, section.override)
    model = find_model(endpoint, section.model)
    base_url = _base_url(section, endpoint)
    variable, key = _key(section, endpoint)
    bearer = "Bearer " if endpoint.key_header == "Authorization" else ""
    query = f"?{endpoint.query}" if endpoint.query else ""
    thinks = section.thinking is not False
    connection = Connection(
        endpoint=endpoint.name,
        chat_url=f"{base_url}/chat/completions{query}",
        models_url=f"{base_url}{endpoint.models_path}" if endpoint.models_path else "",
        headers={endpoint.key_header: f"{bearer}{key}"} if key else {},
        secrets=(key,) if key else (),
        key_variable=variable,
        body=_body(section, endpoint),
        sends_sampling=endpoint.samples_while_thinking or not thinks,
        sends_seed=endpoint.sends_seed if section.send_seed is None else section.send_seed,
        streams=is_remote(base_url) if section.stream is None else section.stream,
        asks_usage=endpoint.asks_usage,
        counts_one_choice=endpoint.counts_one_choice,
        choices_at_once=section.choices_per_call,
        concurrency=section.concurrency or model.concurrency or endpoint.concurrency,
        requests_per_minute=section.requests_per_minute or model.requests_per_minute,
        tokens_per_minute=section.tokens_per_minute or model.tokens_per_minute,
        idle_seconds=section.idle_seconds,
        answer_seconds=section.answer_seconds,
        attempts=section.attempts,
    )
    return ApiTeacher(
        connection,
        section.model,
        system=section.system,
        expects_reasoning=section.expects_reasoning and thinks,
        price=price or prices(section).cost,
        on_notice=on_notice,
        fleet=fleet,
    )


@dataclass(frozen=True, slots=True)
class Address:
    """Where a model answers, for a program that asks it by itself.

    Attributes:
        base_url: Up to ``/v1``.
        model: What it is called there.
        key: Never to be shown or stored; empty if none is needed.
    """

    base_url: str
    model: str
    key: str = field(default="", repr=False)


def address(section: ApiSection) -> Address:
    """Where a teacher answers.

    Raises:
        RecipeError: If the catalogue does not know the endpoint or its address.
        TeacherError: If its key is not in the environment.
    """
    endpoint = find_endpoint(section.endpoint, section.override)
    return Address(_base_url(section, endpoint), section.model, _key(section, endpoint)[1])


def prices(section: ApiSection) -> PriceList:
    """What the teacher charges: the recipe's price, else the catalogue's.

    Raises:
        RecipeError: If the catalogue does not know the endpoint, or the model was retired.
    """
    own = section.price
    if own is None:
        endpoint = find_endpoint(section.endpoint, section.override)
        return find_model(endpoint, section.model).prices
    cached = own.input_usd if own.cached_input_usd is None else own.cached_input_usd
    price = Price(own.input_usd, cached, own.output_usd)
    return PriceList((PriceEntry(date(1970, 1, 1), price, source="the recipe"),))


def concurrency(section: ApiSection) -> int:
    """Requests that may be under way at once."""
    endpoint = find_endpoint(section.endpoint, section.override)
    model = find_model(endpoint, section.model)
    return section.concurrency or model.concurrency or endpoint.concurrency


def is_remote(url: str) -> bool:
    """Whether a URL leads out of the local network.

    Example:
        >>> [is_remote(f"http://{host}/v1") for host in ("127.0.0.1:8000", "gpu7", "api.x.com")]
        [False, False, True]
    """
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith((".local", ".internal", ".lan"))


def _base_url(section: ApiSection, endpoint: Endpoint) -> str:
    base_url = (section.base_url or endpoint.base_url).rstrip("/")
    if not base_url or "<" in base_url:
        form = f", such as {endpoint.base_url}" if endpoint.base_url else ", up to /v1"
        raise RecipeError(
            f"teacher.base_url: missing; endpoint '{endpoint.name}' needs it",
            hint=f'Say where it is{form}: base_url = "https://..."',
        )
    return base_url.removesuffix("/chat/completions")


def _key(section: ApiSection, endpoint: Endpoint) -> tuple[str, str]:
    """The variable that holds the key, and the key; both empty where none is needed."""
    variable = section.key_variable or endpoint.key_variable
    key = os.environ.get(variable, "").strip() if variable else ""
    if not key and (section.key_variable or endpoint.needs_key):
        raise TeacherError(
            f"endpoint '{endpoint.name}' needs a key, and the environment variable {variable} is"
            " not set",
            hint=f"export {variable}=...   or name another variable: teacher.key_variable",
        )
    if not all(" " < char <= "~" for char in key):
        raise TeacherError(
            f"the key in {variable} holds characters that no key has",
            hint="Was it copied with a line break or a quote? Set the variable again.",
        )
    return variable, key


def _body(section: ApiSection, endpoint: Endpoint) -> Mapping[str, object]:
    body: dict[str, object] = {}
    if section.thinking is not None:
        switch = endpoint.thinking_on if section.thinking else endpoint.thinking_off
        if not switch:
            raise RecipeError(
                f"teacher.thinking: endpoint '{endpoint.name}' has no known switch for it",
                hint="Leave it out, or say it as the endpoint wants it: [teacher.extra_body]",
            )
        body |= switch
    if effort := section.reasoning_effort:
        if endpoint.efforts and effort not in endpoint.efforts:
            raise RecipeError(
                f"teacher.reasoning_effort: found '{effort}'; endpoint '{endpoint.name}' has"
                f" {', '.join(endpoint.efforts)}"
            )
        body[endpoint.effort_field] = effort
    return {**body, **section.extra_body}
