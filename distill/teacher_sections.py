"""Sections of a recipe that say who writes the traces."""

from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from distill.errors import RecipeError
from distill.local_section import LocalTeacher
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


class EngineTeacher(Section):
    """A large model on GPUs of your own: starts, watches and stops vLLM or SGLang, or joins it."""

    kind: Literal["engine"] = "engine"
    """Which teacher."""

    model: str = Field(min_length=1)
    """A model folder, or a name on the Hub; with `command` or `join`, what requests call it."""

    engine: Literal["vllm", "sglang"] = "vllm"
    """Which server is started, and how it is spoken to."""

    command: list[str] = Field(default=[])
    """Any other command that starts a server; `{model}` and `{port}` in it are filled in."""

    arguments: list[str] = Field(default=[])
    """Further arguments of the server, such as `["--stream-interval", "8"]`."""

    join: list[Annotated[str, AfterValidator(_without_secrets)]] = Field(default=[])
    """Servers that run already, each up to `/v1`; they are watched, and not started or stopped."""

    replicas: int = Field(default=1, ge=1, le=64)
    """Servers to start on this machine; the GPUs are shared out among them."""

    gpus: str | None = None
    """GPUs of one replica, such as `8xH200`; those of this machine unless given."""

    context_tokens: int = Field(default=32_768, ge=256)
    """Prompt and answer of one sequence, at most."""

    ready_seconds: float = Field(default=3600.0, gt=0)
    """How long a server may take to load the model."""

    stall_seconds: float = Field(default=40.0, gt=0)
    """A server that has requests and sends no token for so long is started again."""

    restarts: int = Field(default=5, ge=0)
    """How often a server is started again without a token in between, before it is given up."""

    usd_per_gpu_hour: float | None = Field(default=None, ge=0)
    """What a GPU costs for an hour; needs `gpus`. Answers are then priced by the time they took."""

    client: dict[str, Any] = Field(default={})
    """Any key of an API teacher, such as `concurrency`, `system` or `extra_body`."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.join and (self.command or self.arguments):
            raise PydanticCustomError(
                "contradiction", "`join` starts nothing: leave out `command` and `arguments`"
            )
        if self.client.get("stream") is False:
            raise PydanticCustomError(
                "contradiction",
                "client.stream = false hides the tokens that the watchdog looks for; leave it out",
            )
        if self.usd_per_gpu_hour is not None and self.gpus is None:
            raise PydanticCustomError("contradiction", "usd_per_gpu_hour needs `gpus`")
        self.api("http://127.0.0.1/v1")
        return self

    def api(self, base_url: str) -> ApiTeacher:
        """The same teacher for the client, at an address."""
        known = {"endpoint": "openai-compatible" if self.command else self.engine, "stream": True}
        table = {**known, **self.client, "kind": "api", "model": self.model, "base_url": base_url}
        try:
            return ApiTeacher.model_validate(table)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            key = ".".join(map(str, first["loc"]))
            raise PydanticCustomError(
                "contradiction", "client.{key}: {what}", {"key": key, "what": first["msg"]}
            ) from None


AnyTeacher = EmbeddedTeacher | ReplayTeacher | ApiTeacher | EngineTeacher | LocalTeacher
Teacher = Annotated[AnyTeacher, Field(discriminator="kind")]


def read_teacher(value: object, key: str) -> AnyTeacher:
    """A teacher in a place where any value may stand, such as a verifier's options.

    Args:
        value: As `[teacher]` of a recipe holds it.
        key: Where it stands, for the error.

    Raises:
        RecipeError: If it is none; names all mistakes.
    """
    adapter: TypeAdapter[AnyTeacher] = TypeAdapter(Teacher)
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        lines = [
            f"\n  {'.'.join([key, *map(str, detail['loc'][1:])])}: {detail['msg']}"
            for detail in error.errors(include_url=False)
        ]
        raise RecipeError(f"the judge:{''.join(lines)}") from None
