"""Sections of a recipe that say who learns from the traces."""

import re
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, ValidationInfo
from pydantic_core import PydanticCustomError

from distill.section import InputPath, Section, located

# Chat templates of ours; the texts lie in students/templates.
TEMPLATES: Final = ("chatml", "llama3", "r1")
_MODEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)?")


def _template(given: Path, info: ValidationInfo) -> Path:
    """One of our templates stays a name; anything else is a file."""
    if str(given) in TEMPLATES:
        return given
    try:
        return located(given, info)
    except PydanticCustomError as error:
        raise PydanticCustomError(
            "path_missing",
            "{problem}; it must be a Jinja file or one of {names}",
            {"problem": error.message(), "names": ", ".join(f"'{name}'" for name in TEMPLATES)},
        ) from None


def _model(name: str) -> str:
    """A name that the Hub could know."""
    if not _MODEL.fullmatch(name):
        raise PydanticCustomError(
            "contradiction",
            "found '{name}'; must be OWNER/NAME as on the Hub, such as 'Qwen/Qwen2.5-7B';"
            " for a folder: kind = 'local' and path",
            {"name": name},
        )
    return name


TemplateChoice = Annotated[Path, Field(strict=False), AfterValidator(_template)]


class EmbeddedStudent(Section):
    """The small dense base that ships with the package."""

    kind: Literal["embedded"] = "embedded"
    """Which student."""


class LocalStudent(Section):
    """A base model in a folder of yours."""

    kind: Literal["local"] = "local"
    """Which student."""

    path: InputPath
    """Folder with `config.json`, safetensors and a tokenizer."""

    template: TemplateChoice | None = None
    """Chat template: `chatml`, `llama3`, `r1` or a Jinja file; the folder's own unless given."""


class HubStudent(Section):
    """A base model on the Hub, or in the Hub's cache on this machine."""

    kind: Literal["hub"] = "hub"
    """Which student."""

    model: Annotated[str, AfterValidator(_model)]
    """Such as `Qwen/Qwen2.5-7B`; `distill students` lists those that are known."""

    revision: str = Field(default="main", min_length=1, max_length=200)
    """Branch, tag or commit; what the cache holds of it is taken without asking the Hub."""

    template: TemplateChoice | None = None
    """Chat template: `chatml`, `llama3`, `r1` or a Jinja file; the model's own unless given."""


Student = Annotated[EmbeddedStudent | LocalStudent | HubStudent, Field(discriminator="kind")]
