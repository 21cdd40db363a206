"""The catalogue says what is known, with its date; a recipe goes before it; mistakes are named."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from distill.errors import RecipeError
from distill.recipe import ApiTeacher
from distill.types import Usage
from teachers.catalog import Endpoint, catalog, find_endpoint, find_model
from teachers.connect import concurrency

MILLION = Usage(input_tokens=1_000_000, output_tokens=1_000_000)


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize("endpoint", catalog().values(), ids=list(catalog()))
def test_every_entry_is_whole(endpoint: Endpoint) -> None:
    assert endpoint.title
    assert endpoint.as_of is not None
    assert endpoint.concurrency >= 1
    assert endpoint.base_url.startswith("http") or endpoint.name == "openai-compatible"
    assert endpoint.key_variable or not endpoint.needs_key
    for model in endpoint.models:
        assert (model.retired is None) == (not model.successor)
        assert all(entry.source for entry in model.prices.entries)
        assert all((e.peak_price is None) == (e.peak_hours is None) for e in model.prices.entries)


@pytest.mark.parametrize(
    ("model", "moment", "usd"),
    [
        ("deepseek-flash", "2026-11-24T12:00", 0.75),
        ("deepseek-flash", "2026-11-24T02:00", 1.50),  # a Tuesday, in the peak
        ("deepseek-flash", "2026-11-22T02:00", 0.75),  # a Sunday
        ("deepseek-flash", "2026-10-01T02:00", 0.75),  # a Chinese holiday
        ("deepseek-v4-pro", "2026-11-24T12:00", 2.64),
        ("deepseek-v4-pro", "2026-11-24T09:59", 5.28),
    ],
)
def test_deepseek_costs_what_its_price_list_says(model: str, moment: str, usd: float) -> None:
    prices = find_model(find_endpoint("deepseek"), model).prices
    assert prices.cost(MILLION, at(moment)) == pytest.approx(usd)


@pytest.mark.parametrize("name", ["deepseek-reasoner", "deepseek-chat"])
def test_a_retired_model_names_its_successor(name: str) -> None:
    with pytest.raises(RecipeError, match="retired on 2026-07-24") as caught:
        find_model(find_endpoint("deepseek"), name)
    assert "deepseek-flash" in caught.value.hint


def test_a_model_that_nobody_knows_is_let_through_without_a_price() -> None:
    model = find_model(find_endpoint("azure"), "my-deployment")
    assert model.prices.cost(MILLION, 0.0) is None


def test_an_unknown_endpoint_is_answered_with_what_was_meant() -> None:
    with pytest.raises(RecipeError, match="did you mean 'openrouter'") as caught:
        find_endpoint("openruter")
    assert "openai-compatible" in caught.value.hint


def test_a_recipe_changes_any_field() -> None:
    override = {
        "thinking_on": {"enable_thinking": True},
        "efforts": ["low", "high"],
        "needs_key": False,
        "key_header": "x-key",
        "concurrency": 3,
    }
    changed = find_endpoint("deepseek", override)
    assert changed.thinking_on == {"enable_thinking": True}
    assert changed.efforts == ("low", "high")
    assert (changed.needs_key, changed.key_header, changed.concurrency) == (False, "x-key", 3)
    assert catalog()["deepseek"].key_header == "Authorization"


def test_a_changed_limit_goes_before_that_of_a_known_model() -> None:
    section = ApiTeacher(endpoint="deepseek", model="deepseek-v4-pro", override={"concurrency": 7})
    assert concurrency(section) == 7


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("key_headr", "x", "unknown field; did you mean 'key_header'"),
        ("models", [], "unknown field"),
        ("as_of", date(2026, 1, 1), "unknown field"),
        ("needs_key", 1, "found 1; it must be true or false"),
        ("concurrency", True, "found True; it must be a whole number of at least 1"),
        ("concurrency", 0, "whole number of at least 1"),
        ("efforts", ["low", 2], "it must be a list of texts"),
        ("title", 3, "it must be a text"),
        ("key_header", "X-Key\r\nX-More: 1", "it holds a line break"),
        ("thinking_on", "yes", "it must be a table"),
    ],
)
def test_a_field_that_cannot_be_changed_so_is_named(key: str, value: Any, message: str) -> None:
    with pytest.raises(RecipeError, match=rf"teacher\.override\.{key}: .*{message}"):
        find_endpoint("deepseek", {key: value})


def test_a_login_in_a_changed_url_is_refused_and_not_shown() -> None:
    with pytest.raises(RecipeError, match="a user name or a password") as caught:
        find_endpoint("vllm", {"base_url": "https://me:canary@host/v1"})
    assert "canary" not in str(caught.value) + caught.value.hint
