"""A teacher that several workers ask: what each of them may do, and what it needs to know.

What an endpoint allows is allowed once, however many workers ask it.
"""

import os

from distill.recipe import AnyTeacher, ApiTeacher, EngineTeacher, ReplayTeacher
from teachers.catalog import find_endpoint, find_model
from teachers.connect import concurrency


def share_of(section: AnyTeacher, workers: int) -> AnyTeacher:
    """The teacher with one worker's share of the requests that may be under way, and of the rates.

    Raises:
        RecipeError: If the catalogue does not know an endpoint, or its model was retired.
    """
    if isinstance(section, EngineTeacher) and section.join:
        client = _share(_client(section), workers)
        return section.model_copy(update={"client": {**section.client, **client}})
    if isinstance(section, ApiTeacher):
        return section.model_copy(update=_share(section, workers))
    return section


def holds_weights(section: AnyTeacher) -> bool:
    """Whether who asks the teacher holds a model, or starts a server that does."""
    if isinstance(section, EngineTeacher):
        return not section.join
    return not isinstance(section, ApiTeacher | ReplayTeacher)


def environment_of(section: AnyTeacher) -> dict[str, str]:
    """Environment variables that the teacher reads, as they are here: a key, never to be shown."""
    if isinstance(section, EngineTeacher):
        section = _client(section)
    if not isinstance(section, ApiTeacher):
        return {}
    endpoint = find_endpoint(section.endpoint, section.override)
    name = section.key_variable or endpoint.key_variable
    return {name: os.environ[name]} if name in os.environ else {}


def _client(section: EngineTeacher) -> ApiTeacher:
    return section.api(section.join[0] if section.join else "http://127.0.0.1/v1")


def _share(section: ApiTeacher, workers: int) -> dict[str, int]:
    model = find_model(find_endpoint(section.endpoint, section.override), section.model)
    limits = {
        "concurrency": concurrency(section),
        "requests_per_minute": section.requests_per_minute or model.requests_per_minute,
        "tokens_per_minute": section.tokens_per_minute or model.tokens_per_minute,
    }
    return {name: max(limit // workers, 1) for name, limit in limits.items() if limit}
