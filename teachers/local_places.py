"""Which part of a model lies where: GPUs first, then memory, then disk, routed experts last.

A mixture of experts is nearly all routed experts, of which a token passes through a few. So what
every token passes through gets the fastest places, and the experts fill what is left:

    GPU 0    embeddings, attention, norms, routers, shared experts, the first experts
    memory   more experts
    disk     the rest, if there is a folder for it

Sizes are those of the model's own parameters, counted without reading them; what a step needs
beside them is the shard plan's arithmetic.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from transformers import PreTrainedModel

from distill.local_section import LocalTeacher, read_size
from engine.memory import free_memory_bytes
from teachers.moe_config import Architecture
from teachers.shard_plan import Cluster, Layout, Wish, plan_device

Place = int | str
"""Number of a GPU, ``"cpu"`` or ``"disk"``."""
_ROUTED: Final = "experts"
KEPT_SHARE: Final = 0.1
"""Of a place, for what is not weights: fragments, libraries, other programs."""
_LEAST_TOKENS: Final = 4096


@dataclass(frozen=True, slots=True)
class Part:
    """A module (or a lone parameter) that lies in one place.

    Attributes:
        name: In the model.
        bytes: Of its parameters and buffers.
        is_routed: Whether it holds routed experts.
    """

    name: str
    bytes: int
    is_routed: bool


@dataclass(frozen=True, slots=True)
class Placement:
    """Where each part lies.

    Attributes:
        places: Of each part, by its name.
        bytes: Weights in each place.
        rooms: Bytes that there were for weights; negative where even the rest has no room.
        homeless: Bytes of parts that fit nowhere.
    """

    places: Mapping[str, Place]
    bytes: Mapping[Place, int]
    rooms: Mapping[Place, int]
    homeless: int

    @property
    def total(self) -> int:
        """All weights."""
        return sum(self.bytes.values()) + self.homeless

    @property
    def device_map(self) -> dict[str, Place]:
        """As transformers takes it; one entry if all lies in one place."""
        used = set(self.places.values())
        return {"": used.pop()} if len(used) == 1 else dict(self.places)


def parts_of(model: PreTrainedModel) -> list[Part]:
    """All parts of a model in the order in which a token passes them.

    Args:
        model: May be on the meta device.
    """
    tied = set(getattr(model, "all_tied_weights_keys", None) or ())
    return list(_split("", model, set(model._no_split_modules or ()), tied))


def place(parts: Iterable[Part], rooms: Mapping[Place, int]) -> Placement:
    """Give each part the first place that has room for it, routed experts after all others.

    Example:
        >>> parts = [Part("experts", 60, True), Part("attention", 10, False)]
        >>> place(parts, {0: 50, "cpu": 80}).places
        {'attention': 0, 'experts': 'cpu'}
    """
    left, places, used = dict(rooms), {}, dict.fromkeys(rooms, 0)
    homeless = 0
    for part in sorted(parts, key=lambda part: part.is_routed):
        found = next((one for one, room in left.items() if room >= part.bytes), None)
        if found is None:
            homeless += part.bytes
            continue
        places[part.name] = found
        left[found] -= part.bytes
        used[found] += part.bytes
    return Placement(places, used, dict(rooms), homeless)


def rooms_for(
    section: LocalTeacher, parts: Iterable[Part], facts: Architecture | None
) -> dict[Place, int]:
    """Bytes for weights in each place of this machine, the fastest first.

    Args:
        section: The recipe's choice; its limits hold where less is free.
        parts: Of the model.
        facts: What it is built like; ``None`` if that is not known.
    """
    free: dict[Place, int] = {}
    if section.device_map != "cpu":
        free |= {gpu: _gpu_bytes(gpu) for gpu in range(torch.cuda.device_count())}
    is_cpu_only = not free
    free["cpu"] = free_memory_bytes()
    if section.offload_folder is not None:
        free["disk"] = _disk_bytes(section.offload_folder)
    working = work_bytes(facts)
    # While a layer is read, its experts are there twice: as stored, and joined.
    reading = 2 * max((part.bytes for part in parts), default=0)
    rooms: dict[Place, int] = {}
    for one, size in free.items():
        kept = size * KEPT_SHARE
        if isinstance(one, int) or (one == "cpu" and is_cpu_only):
            kept += working
        if one == "cpu":
            kept += reading
        limit = section.max_memory.get(str(one))
        room = int(size - kept)
        rooms[one] = room if limit is None else min(read_size(limit), room)
    return rooms


def work_bytes(facts: Architecture | None) -> int:
    """Cache and activations of the least that is worth running."""
    if facts is None:
        return 0
    wish = Wish(_LEAST_TOKENS, prefill_tokens=_LEAST_TOKENS, server_bytes=0)
    plan = plan_device(facts, Layout(1, 1, 1, 1), Cluster(1, 0), wish)
    return plan.cache(1) + plan.work


def _gpu_bytes(gpu: int) -> int:
    free, _ = torch.cuda.mem_get_info(gpu)
    return int(free)


def _disk_bytes(folder: Path) -> int:
    """Free bytes where a folder is, or will be."""
    existing = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    return shutil.disk_usage(existing).free


def _split(name: str, module: torch.nn.Module, layers: set[str], tied: set[str]) -> Iterator[Part]:
    """A module as one part, or its children's if layers or routed experts are among them."""
    is_routed = name.rpartition(".")[2] == _ROUTED
    if is_routed or (name and not _is_mixed(module, layers)):
        yield Part(name, _bytes(name, module, tied), is_routed)
        return
    for own, tensor in [*module.named_parameters(recurse=False), *module._buffers.items()]:
        if tensor is not None:
            yield Part(f"{name}.{own}".lstrip("."), tensor.nbytes, is_routed=False)
    for child, inner in module.named_children():
        yield from _split(f"{name}.{child}".lstrip("."), inner, layers, tied)


def _is_mixed(module: torch.nn.Module, layers: set[str]) -> bool:
    """Whether parts of a module may lie apart."""
    return any(
        type(inner).__name__ in layers or inner_name.rpartition(".")[2] == _ROUTED
        for inner_name, inner in module.named_modules()
        if inner is not module
    )


def _bytes(name: str, module: torch.nn.Module, tied: set[str]) -> int:
    """Of parameters and buffers; a tied one counts where the other is."""
    return sum(
        tensor.nbytes
        for group in (module.named_parameters(), module.named_buffers())
        for own, tensor in group
        if f"{name}.{own}" not in tied
    )
