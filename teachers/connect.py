"""From a recipe's teacher to a client: the catalogue's entry, what the recipe changes, and the key.

This module sends nothing.
"""

import ipaddress
import os
from urllib.parse import urlsplit

from distill.errors import TeacherError
from distill.recipe import ApiTeacher as ApiSection
from teachers.api import ApiTeacher
from teachers.connection import Connection


def connect(section: ApiSection) -> ApiTeacher:
    """Make a client for a teacher behind an endpoint.

    Raises:
        RecipeError: If the catalogue does not know the endpoint, or the model was retired.
        TeacherError: If its key is not in the environment.
    """
    base_url = section.base_url or "http://127.0.0.1:8000/v1"
    key_variable = section.key_variable or ""
    key = os.environ.get(key_variable, "") if key_variable else ""
    if key_variable and not key:
        raise TeacherError(
            f"the environment variable {key_variable} is not set; it shall hold the key",
            hint=f"export {key_variable}=...",
        )
    connection = Connection(
        endpoint=section.endpoint,
        chat_url=base_url.rstrip("/") + "/chat/completions",
        models_url=base_url.rstrip("/") + "/models",
        headers={"Authorization": f"Bearer {key}"} if key else {},
        secrets=(key,) if key else (),
        key_variable=key_variable,
        body=section.extra_body,
        streams=is_remote(base_url) if section.stream is None else section.stream,
        choices_at_once=section.choices_per_call,
        concurrency=section.concurrency or 64,
        requests_per_minute=section.requests_per_minute,
        tokens_per_minute=section.tokens_per_minute,
        idle_seconds=section.idle_seconds,
        answer_seconds=section.answer_seconds,
        attempts=section.attempts,
        sends_seed=bool(section.send_seed),
    )
    return ApiTeacher(
        connection,
        section.model,
        system=section.system,
        expects_reasoning=section.expects_reasoning and section.thinking is not False,
    )


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
