"""``Section``: what every table of a recipe is, and paths in it.

Values are checked strictly: text is never read as a number, nor a number as text. A relative path
starts at the folder that the reader names (`read_folder`), otherwise at the current one.
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo
from pydantic_core import PydanticCustomError


def read_folder(folder: Path, *, must_exist: bool) -> dict[str, Any]:
    """Validation context: relative paths start at ``folder``; ``must_exist`` checks that they do.

    Example:
        >>> class Set(Section):
        ...     path: InputPath
        >>> context = read_folder(Path("/data"), must_exist=False)
        >>> Set.model_validate({"path": "x.jsonl"}, context=context).path
        PosixPath('/data/x.jsonl')
    """
    return {"folder": folder, "must_exist": must_exist}


def located(path: Path, info: ValidationInfo) -> Path:
    """The path from where the reader starts it; checked if the reader wants that.

    Raises:
        PydanticCustomError: If it is empty, or must exist and does not.
    """
    context = info.context or {}
    if str(path) in ("", "."):
        raise PydanticCustomError("path_empty", "names no file")
    found = path
    if "folder" in context:
        found = (context["folder"] / path.expanduser()).resolve()
    if context.get("must_exist") and not found.exists():
        raise PydanticCustomError("path_missing", "there is no {path}", {"path": str(found)})
    return found


# Strict mode would ask for a `Path` object where TOML has text.
InputPath = Annotated[Path, Field(strict=False), AfterValidator(located)]


class Section(BaseModel):
    """What all tables of a recipe share: no unknown keys, no conversion, no change."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        validate_default=True,
        use_attribute_docstrings=True,
    )
