"""The section of a recipe for a teacher whose weights are on this machine."""

import re
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, ValidationInfo
from pydantic_core import PydanticCustomError

from distill.section import Section, located

_HUB_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*")
_PLACE: Final = re.compile(r"cpu|disk|\d{1,3}")
_SIZE: Final = re.compile(r"(\d{1,9}(?:\.\d{1,6})?) ?([kMGT]i?)?B")
_FACTORS: Final = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12} | {
    "ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}


def read_size(text: str) -> int:
    """Bytes of a size as people write it.

    Raises:
        ValueError: If it is none.

    Example:
        >>> read_size("70GiB"), read_size("1.5 MB")
        (75161927680, 1500000)
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"'{text}' is no size; write it as 70GiB or 500MB")
    return int(float(found[1]) * _FACTORS[found[2] or ""])


def _model(name: str, info: ValidationInfo) -> str:
    """A folder, from where the reader starts it; anything else must be a name on the Hub."""
    context = info.context or {}
    if "folder" not in context:
        return name
    # A folder on the way may not exist yet.
    path: Path = (context["folder"] / Path(name).expanduser()).resolve()
    if path.exists():
        return str(path)
    if not _HUB_NAME.fullmatch(name):
        raise PydanticCustomError(
            "contradiction",
            "there is no folder {path}, and a name on the Hub is written OWNER/NAME, such as"
            " 'Qwen/Qwen3-30B-A3B'",
            {"path": str(path)},
        )
    return name


def _sizes(given: dict[str, str]) -> dict[str, str]:
    for place, size in given.items():
        if not _PLACE.fullmatch(place):
            raise PydanticCustomError(
                "contradiction",
                "'{place}' is no place; use the number of a GPU, 'cpu' or 'disk'",
                {"place": place},
            )
        try:
            read_size(size)
        except ValueError as error:
            raise PydanticCustomError("contradiction", "{what}", {"what": str(error)}) from None
    return given


class LocalTeacher(Section):
    """A large model on this machine: its parts on GPUs, in memory and on disk."""

    kind: Literal["local"] = "local"
    """Which teacher."""

    model: Annotated[str, AfterValidator(_model)]
    """A model folder, or OWNER/NAME on the Hub; a mixture of experts, or a dense model."""

    revision: str = Field(default="main", min_length=1, max_length=200)
    """Branch, tag or commit on the Hub."""

    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """Precision of the weights; `auto` is as stored; FP8 becomes `bfloat16` without a kernel."""

    device_map: Literal["auto", "cpu"] | dict[str, int | str] = "auto"
    """`auto` fills GPUs, memory, disk in this order, routed experts last; or a place by module."""

    max_memory: Annotated[dict[str, str], AfterValidator(_sizes)] = Field(default={})
    """Weights at most by place, such as `{0 = "70GiB", cpu = "200GiB"}`; what is free if not."""

    offload_folder: Annotated[Path, Field(strict=False), AfterValidator(located)] | None = None
    """Folder on a fast disk for what fits nowhere else; without it nothing goes to disk."""

    processes: int = Field(default=1, ge=1, le=512)
    """Processes that share the model, one for each GPU."""

    parallel: Literal["tensor", "expert", "tensor+expert"] = "tensor+expert"
    """What several processes share out: matrices, routed experts, or both."""

    stall_seconds: float = Field(default=60.0, gt=0)
    """With several processes: one that is silent, or behind, for so long ends the job."""

    usd_per_gpu_hour: float | None = Field(default=None, ge=0)
    """What a GPU (or this machine, if it has none) costs for an hour; answers are priced by it."""
