"""``distill teachers``: the endpoints and models that are known, from the catalogue."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import columns, paint, say, say_json, table
from cli.options import AsJson

if TYPE_CHECKING:
    from distill.pricing import PriceEntry
    from teachers.catalog import Endpoint, KnownModel

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def teachers(
    endpoint: Annotated[
        str | None,
        typer.Argument(metavar="[ENDPOINT]", help="Show all that is known of one."),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List the known endpoints and models.

    Addresses, keys, prices with their dates and peak hours, limits, licences of the outputs. Any
    other OpenAI-compatible server works as endpoint = "openai-compatible" with its base_url.

    Example: distill teachers deepseek
    """
    from teachers.catalog import catalog, find_endpoint

    shown = [find_endpoint(endpoint)] if endpoint else list(catalog().values())
    if as_json:
        say_json([_plain(asdict(one)) for one in shown])
    elif endpoint:
        _say_one(shown[0])
    else:
        say("Teachers in the package: embedded (no key, no network), replay (recorded traces)\n")
        say('Endpoints: teacher.kind = "api", teacher.endpoint = ...')
        say(columns([(one.name, one.title) for one in shown]))
        say("\nModels with known prices, USD per million tokens")
        say(_price_table(shown))
        say("\nMore on one: distill teachers ENDPOINT")


def _say_one(endpoint: "Endpoint") -> None:
    say(f"{paint(endpoint.name, 'bold')}  {endpoint.title}")
    key = endpoint.key_variable or "none unless teacher.key_variable names one"
    known = [
        ("address", endpoint.base_url or "teacher.base_url says where"),
        ("key", f"{key} (header {endpoint.key_header})"),
        ("thinking", "teacher.thinking switches it" if endpoint.thinking_on else "no known switch"),
        ("effort", ", ".join(endpoint.efforts) or "not known"),
        ("at once", f"{endpoint.concurrency} requests unless a model says otherwise"),
        ("outputs", endpoint.licence or "not known"),
        ("more", endpoint.docs or "-"),
        ("read on", str(endpoint.as_of)),
    ]
    say(columns(known))
    for model in endpoint.models:
        say(f"\n{paint(model.name, 'bold')}")
        say(columns(_model_rows(model)))
    say(f'\nIn a recipe\n  [teacher]\n  kind = "api"\n  endpoint = "{endpoint.name}"')
    live = [model.name for model in endpoint.models if model.retired is None]
    say(f'  model = "{live[0] if live else "..."}"')


def _model_rows(model: "KnownModel") -> list[tuple[str, str]]:
    if model.retired is not None:
        return [("retired", f"{model.retired}; use {model.successor}")]
    rows: list[tuple[str, str]] = []
    for entry in model.prices.entries:
        names = [f"since {entry.since}", "", ""]
        rows += zip(names, _price_text(entry).splitlines(), strict=False)
    limits = {
        "at once": model.concurrency,
        "requests/min": model.requests_per_minute,
        "tokens/min": model.tokens_per_minute,
        "context": model.context_tokens,
        "longest answer": model.max_output_tokens,
    }
    rows += [(name, f"{limit:,}") for name, limit in limits.items() if limit is not None]
    return rows or [("price", "not known")]


def _price_text(entry: "PriceEntry") -> str:
    price = entry.price
    text = f"{price.input_usd:g} read, {price.cached_usd:g} cached, {price.output_usd:g} written"
    if entry.peak_price is not None and entry.peak_hours is not None:
        hours = ", ".join(f"{begin:02}-{end:02}" for begin, end in entry.peak_hours.windows)
        days = _days(entry.peak_hours.weekdays)
        if entry.peak_hours.holidays:
            days += f" but for {len(entry.peak_hours.holidays)} known holidays"
        peak = entry.peak_price
        text += f"\npeak: {peak.input_usd:g} read, {peak.cached_usd:g} cached"
        text += f", {peak.output_usd:g} written, {hours} UTC, {days}"
    return f"{text}\n{entry.source}" if entry.source else text


def _days(weekdays: frozenset[int]) -> str:
    first, last = min(weekdays), max(weekdays)
    if len(weekdays) == last - first + 1 and first < last:
        return f"{_DAYS[first]}-{_DAYS[last]}"
    return ", ".join(_DAYS[day] for day in sorted(weekdays))


def _price_table(endpoints: "list[Endpoint]") -> str:
    import time

    rows = [["", "read", "cached", "written", "peak", "since"]]
    for endpoint in endpoints:
        for model in endpoint.models:
            entry = model.prices.entry(time.time())
            if entry is None or model.retired is not None:
                continue
            price, peak = entry.price, entry.peak_price
            shown = [f"{usd:g}" for usd in (price.input_usd, price.cached_usd, price.output_usd)]
            factor = f"x {peak.output_usd / price.output_usd:g}" if peak else "-"
            rows.append([f"{endpoint.name}: {model.name}", *shown, factor, str(entry.since)])
    return table(rows)


def _plain(value: Any) -> Any:  # noqa: ANN401 - any tree of plain values
    """Dates as text, sets and tuples as lists."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner) for inner in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
