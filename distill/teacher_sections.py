"""Sections of a recipe that say who writes the traces."""

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from distill.errors import RecipeError
from distill.section import InputPath, Section


def _without_secrets(url: str) -> str:
    """A URL that may be stored and shown."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise PydanticCustomError(
            "contradiction", "is no URL; write it as https://host/v1, up to /v1"
        )
    if parts.username or parts.password:
        raise PydanticCustomError(
            "contradiction",
            "holds a user name or a password, which would be stored; put the key into an"
            " environment variable and name it in key_variable",
        )
    return url


def _without_secret_url(override: dict[str, Any]) -> dict[str, Any]:
    """Fields of a catalogue's entry; an address among them may be stored and shown."""
    url = override.get("base_url")
    if isinstance(url, str) and url:
        _without_secrets(url)
    return override


class EmbeddedTeacher(Section):
    """The small mixture-of-experts teacher that ships with the package."""

    kind: Literal["embedded"] = "embedded"
    """Which teacher."""


class ReplayTeacher(Section):
    """Recorded traces in place of a model: offline work and tests."""

    kind: Literal["replay"] = "replay"
    """Which teacher."""

    path: InputPath
    """A `traces.jsonl` of an earlier run."""


class PriceSection(Section):
    """What a model costs, where the catalogue does not know or is out of date."""

    input_usd: float = Field(ge=0)
    """USD per million tokens read."""

    cached_input_usd: float | None = Field(default=None, ge=0)
    """USD per million tokens read from the endpoint's cache; as `input_usd` unless given."""

    output_usd: float = Field(ge=0)
    """USD per million tokens written, reasoning included."""


class ApiTeacher(Section):
    """A model behind an OpenAI-compatible endpoint; `distill teachers` lists the known ones."""

    kind: Literal["api"] = "api"
    """Which teacher."""

    endpoint: str = Field(default="openai-compatible", min_length=1)
    """Name in the catalogue: how it is spoken to, what it costs, what it allows."""

    model: str = Field(min_length=1)
    """What the endpoint calls the model; on Azure the name of the deployment."""

    base_url: Annotated[str, AfterValidator(_without_secrets)] | None = None
    """Where it is, up to `/v1`; needed where the catalogue does not know."""

    key_variable: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Environment variable that holds the key; as the catalogue says unless given."""

    system: str = ""
    """A system prompt for every request; R1-like models do best without one."""

    thinking: bool | None = None
    """Switch reasoning on or off, where the endpoint lets one."""

    reasoning_effort: Literal["minimal", "low", "medium", "high", "max"] | None = None
    """How long it shall think, where the endpoint lets one say so."""

    expects_reasoning: bool = True
    """Stop after the first answers if they hold no reasoning, before the rest is paid for."""

    choices_per_call: int = Field(default=1, ge=1, le=64)
    """Samples of a prompt in one call (`n`), where the server takes several; fills up if not."""

    stream: bool | None = None
    """Stream answers; unless given, remote endpoints do and local ones do not."""

    send_seed: bool | None = None
    """Say each sample's seed; unless given, as the catalogue says."""

    extra_body: dict[str, Any] = Field(default={})
    """Further keys of every request, as the endpoint wants them."""

    concurrency: int | None = Field(default=None, ge=1, le=10_000)
    """Requests under way at most; fewer while the server refuses. The catalogue's unless given."""

    requests_per_minute: int | None = Field(default=None, ge=1)
    """Your account's limit, if it has one."""

    tokens_per_minute: int | None = Field(default=None, ge=1)
    """The same for tokens read and written."""

    idle_seconds: float = Field(default=120.0, gt=0)
    """A stream that is silent for so long has broken off."""

    answer_seconds: float = Field(default=1800.0, gt=0)
    """The longest wait for the first content of a stream, or for an answer that is not streamed."""

    attempts: int = Field(default=8, ge=1, le=100)
    """How often a request that breaks off is sent, at most."""

    price: PriceSection | None = None
    """What it costs, instead of what the catalogue says."""

    override: Annotated[dict[str, Any], AfterValidator(_without_secret_url)] = Field(default={})
    """Any field of the catalogue's entry, changed or added."""


Teacher = Annotated[EmbeddedTeacher | ReplayTeacher | ApiTeacher, Field(discriminator="kind")]


def read_teacher(value: object, key: str) -> EmbeddedTeacher | ReplayTeacher | ApiTeacher:
    """A teacher in a place where any value may stand, such as a verifier's options.

    Args:
        value: As `[teacher]` of a recipe holds it.
        key: Where it stands, for the error.

    Raises:
        RecipeError: If it is none; names all mistakes.
    """
    adapter: TypeAdapter[EmbeddedTeacher | ReplayTeacher | ApiTeacher] = TypeAdapter(Teacher)
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        lines = [
            f"\n  {'.'.join([key, *map(str, detail['loc'][1:])])}: {detail['msg']}"
            for detail in error.errors(include_url=False)
        ]
        raise RecipeError(f"the judge:{''.join(lines)}") from None
