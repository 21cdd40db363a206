"""What a prompt set costs on a cluster: published speeds, marked as such, and plain arithmetic.

Nothing here was measured on the user's machine. A speed of others is an upper hint: it was reached
with thousands of sequences at once; `distill generate --pilot` measures the real one.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

from distill.errors import RecipeError
from teachers.moe_config import Architecture, find_architecture
from teachers.shard_plan import GIB, Cluster
from teachers.shard_weights import active_parameters, file_bytes, parameters

_HOUR: Final = 3600.0
_YEAR: Final = 365.25 * 24 * _HOUR
DISK_BYTES_PER_SECOND: Final = 5e9
"""A fast NVMe disk, read in order."""


@dataclass(frozen=True, slots=True)
class Speed:
    """A decoding speed.

    Attributes:
        tokens_per_second_per_gpu: Written tokens, all sequences together.
        source: Who says so, and of what machine.
        is_published: Whether others say so; otherwise the user does.
    """

    tokens_per_second_per_gpu: float
    source: str
    is_published: bool = True


@dataclass(frozen=True, slots=True)
class Job:
    """What shall be written.

    Attributes:
        traces: Sequences.
        tokens: Of one, on average.
        usd_per_gpu_hour: Price; ``None`` if it is not known.
    """

    traces: int
    tokens: int
    usd_per_gpu_hour: float | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """What a job takes at one speed."""

    speed: Speed
    tokens_per_second: float
    hours: float
    gpu_hours: float
    usd: float | None


def speeds_of(facts: Architecture) -> list[Speed]:
    """Published speeds of a model of this shape, the slowest first; empty if none is known."""
    found = [
        Speed(
            float(one["tokens_per_second_per_gpu"]),
            f"{one['source']}: {one['says']} ({one['gpu']})",
        )
        for one in _data()["speeds"]
        if _has_shape_of(facts, one["model"])
    ]
    return sorted(found, key=lambda speed: speed.tokens_per_second_per_gpu)


def cost_of(job: Job, speed: Speed, gpus: int) -> Cost:
    """Hours and money for a job.

    Example:
        >>> cost = cost_of(Job(800_000, 6000, 2.0), Speed(2000.0, "x"), gpus=32)
        >>> round(cost.hours, 1), round(cost.gpu_hours), round(cost.usd or 0)
        (20.8, 667, 1333)
    """
    tokens_per_second = speed.tokens_per_second_per_gpu * gpus
    hours = job.traces * job.tokens / tokens_per_second / _HOUR
    price = job.usd_per_gpu_hour
    usd = None if price is None else hours * gpus * price
    return Cost(speed, tokens_per_second, hours, hours * gpus, usd)


def from_disk(facts: Architecture, memory_bytes: int, job: Job) -> str:
    """What it means to read from a disk, token by token, what does not fit into memory.

    The best case: of the routed experts only those that a token passes through are read, and the
    memory holds as large a share of them as of everything.

    Args:
        facts: The model.
        memory_bytes: What the GPUs hold together; less than the model.
        job: What shall be written.
    """
    stored = sum(size for part, size in file_bytes(facts).items() if part != "draft")
    active = stored * active_parameters(facts) / parameters(facts)
    read = active * (1 - memory_bytes / stored)
    seconds = read / DISK_BYTES_PER_SECOND
    total = job.traces * job.tokens * seconds
    spent = f"{total / _YEAR:,.0f} years" if total > _YEAR else f"{total / _HOUR:,.0f} hours"
    return (
        f"each token reads {read / 1e9:,.1f} of {stored / 1e9:,.0f} GB,\nat"
        f" {DISK_BYTES_PER_SECOND / 1e9:g} GB/s {seconds:,.1f} s: {job.traces:,} traces of"
        f" {job.tokens:,} tokens take {spent}"
    )


def read_gpus(text: str, node: int = 8) -> Cluster:
    """GPUs as people write them; a size in GB is taken as GiB, as cards are called.

    Raises:
        RecipeError: If it is no number of GPUs and size, or no name that is known.

    Example:
        >>> read_gpus("16x80GB").gpus, read_gpus("8xH200").gpu_bytes // GIB
        (16, 140)
    """
    count, _, size = text.strip().lower().partition("x")
    names = {name.lower(): gib for name, gib in known_gpus().items()}
    gib = names.get(size) or _gib(size)
    gpus = int(count) if count.isdecimal() else 0
    if not 1 <= gpus <= 4096 or not gib:  # noqa: PLR2004 - of a cluster
        raise RecipeError(
            f"{text}: not a number of GPUs and their memory",
            hint="how many, and the memory of one, such as 16x80GB; or by name:\n"
            f"8x{', 8x'.join(known_gpus())}",
        )
    return Cluster(gpus, int(gib * GIB), node)


def read_gib(option: str, text: str) -> int:
    """Bytes of a memory's size; GB is taken as GiB, as memory is sold.

    Raises:
        RecipeError: If it is no size.

    Example:
        >>> read_gib("--memory", "64GB") == read_gib("--memory", "64") == 64 * GIB
        True
    """
    if not (gib := _gib(text.strip().lower())):
        raise RecipeError(f"{option} {text}: not a size of memory", hint=f"such as {option} 64GB")
    return int(gib * GIB)


def _gib(text: str) -> float:
    """A size from a toy's memory to a cluster's; 0 if it is none."""
    try:
        gib = float(text.removesuffix("b").removesuffix("i").removesuffix("g"))
    except ValueError:
        return 0.0
    return gib if 0.1 <= gib <= 100_000 else 0.0  # noqa: PLR2004


def known_gpus() -> Mapping[str, int]:
    """Memory in GiB of GPUs that are known by name."""
    gpus: Mapping[str, int] = _data()["gpus"]
    return gpus


@cache
def _data() -> Mapping[str, Any]:
    return tomllib.loads((files("teachers") / "published.toml").read_text(encoding="utf-8"))


def _has_shape_of(facts: Architecture, name: str) -> bool:
    """Whether a model has the layers, width and experts of a published one."""
    known = find_architecture(name)
    return (facts.layers, facts.hidden, facts.experts) == (
        known.layers,
        known.hidden,
        known.experts,
    )
