"""``plan_shards``: which layout of a model over GPUs fits, and what each device holds.

A layout is tensor x expert x pipeline x data parallel. Data-parallel groups hold attention and
cache of their own sequences; with expert parallelism the routed experts are spread over all groups,
without it every group is a whole copy. All from the config: nothing is loaded.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from teachers.moe_config import Architecture, Grouped
from teachers.shard_weights import Matrix, Part, final_norm, layer, table

GIB: Final = 1024**3
_NODE: Final = 8
_USABLE: Final = 0.92
"""Share of a GPU that a server may take; the rest is left for fragments."""
_SERVER_BYTES: Final = 3 * GIB
"""Per GPU beside tensors, by what others have published: vLLM's logs name 0.2-0.4 GiB that are not
torch's (vllm issues 14452, 15340) beside the driver's context of half a GiB; captured graphs of R1
took up to 10 GiB in early 2025 (open-r1 43) and 2 is usual now. Read yours off the server's log."""
_PREFILL_TOKENS: Final = 8192
_ENOUGH_SEQUENCES: Final = 64
"""Per GPU: more at once hardly make it faster."""
_SIZES: Final = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)


@dataclass(frozen=True, slots=True)
class Cluster:
    """GPUs of one kind.

    Attributes:
        gpus: How many.
        gpu_bytes: Memory of one.
        node_gpus: Those that are joined by fast links.
    """

    gpus: int
    gpu_bytes: int
    node_gpus: int = _NODE


@dataclass(frozen=True, slots=True)
class Wish:
    """What shall run at once.

    Attributes:
        context_tokens: Prompt and answer of one sequence.
        batch: Sequences at once over all GPUs; ``None`` for as many as there is room for.
        prefill_tokens: Tokens of prompts that are read in one step.
        server_bytes: Taken per GPU beside tensors.
        usable: Share of a GPU that may be taken.
    """

    context_tokens: int
    batch: int | None = None
    prefill_tokens: int = _PREFILL_TOKENS
    server_bytes: int = _SERVER_BYTES
    usable: float = _USABLE


@dataclass(frozen=True, slots=True)
class Layout:
    """How the model is cut; the GPUs are ``tensor * pipeline * data``.

    Attributes:
        tensor: Devices that share heads and widths.
        expert: Devices over which routed experts are spread; 1 if they are cut like the rest.
        pipeline: Stages of layers.
        data: Groups with sequences of their own.
    """

    tensor: int
    expert: int
    pipeline: int
    data: int

    @property
    def gpus(self) -> int:
        """Devices in all."""
        return self.tensor * self.pipeline * self.data

    def __str__(self) -> str:
        names = {"TP": self.tensor, "EP": self.expert, "PP": self.pipeline, "DP": self.data}
        return " x ".join(f"{name}{n}" for name, n in names.items() if n > 1) or "one GPU"


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """What the fullest device of a layout holds, in bytes.

    Attributes:
        layout: How the model is cut.
        weights: By part.
        cache_per_sequence: Keys and values of one sequence of the wished length.
        work: Activations of a step, logits included.
        server: Beside tensors.
        usable: What may be taken in all.
        sequences: Sequences of the wished length that fit at once, over all devices.
    """

    layout: Layout
    weights: dict[Part, int]
    cache_per_sequence: int
    work: int
    server: int
    usable: int
    sequences: int

    @property
    def weight_bytes(self) -> int:
        """Weights of all parts."""
        return sum(self.weights.values())

    def cache(self, batch: int) -> int:
        """Keys and values when so many sequences run over all devices."""
        return math.ceil(batch / self.layout.data) * self.cache_per_sequence

    def total(self, batch: int) -> int:
        """Everything on the device with so many sequences."""
        return self.weight_bytes + self.cache(batch) + self.work + self.server

    def holds(self, batch: int | None) -> bool:
        """Whether the batch fits; without one, whether each group has room for a sequence."""
        return self.sequences >= (self.layout.data if batch is None else batch)


def plan_shards(facts: Architecture, cluster: Cluster, wish: Wish) -> list[DevicePlan]:
    """All layouts that can be built, the best first.

    Best is what fits with the fewest stages; then what has room for most sequences, as far as more
    of them still help, unless the wish names their number; then what cuts fewest matrices.
    """
    plans = [plan_device(facts, layout, cluster, wish) for layout in layouts(facts, cluster)]
    return sorted(plans, key=lambda plan: _rank(plan, wish))


def plan_device(facts: Architecture, layout: Layout, cluster: Cluster, wish: Wish) -> DevicePlan:
    """The fullest device of one layout."""
    stages = [_stage_weights(facts, layout, number) for number in range(layout.pipeline)]
    weights = max(stages, key=lambda parts: sum(parts.values()))
    layers = math.ceil(facts.layers / layout.pipeline)
    per_token = facts.cache_bytes_per_token_layer * layers / _cache_shards(facts, layout)
    cache_per_sequence = math.ceil(per_token * wish.context_tokens)
    usable = int(cluster.gpu_bytes * wish.usable)
    work = _work(facts, layout, wish)
    room = usable - sum(weights.values()) - work - wish.server_bytes
    sequences = max(room, 0) // cache_per_sequence * layout.data
    return DevicePlan(
        layout, weights, cache_per_sequence, work, wish.server_bytes, usable, sequences
    )


def enough_gpus(facts: Architecture, cluster: Cluster, wish: Wish) -> int | None:
    """The fewest GPUs of this size that fit, of usual sizes; ``None`` if more than 512."""
    for gpus in _SIZES:
        larger = Cluster(gpus, cluster.gpu_bytes, cluster.node_gpus)
        plans = plan_shards(facts, larger, wish)
        if plans and plans[0].holds(wish.batch):
            return gpus
    return None


def layouts(facts: Architecture, cluster: Cluster) -> Iterator[Layout]:
    """Every layout that uses all GPUs and that the model's shape allows."""
    for pipeline in _divisors(cluster.gpus):
        for tensor in _divisors(cluster.gpus // pipeline):
            if pipeline > facts.layers or not _can_cut(facts, tensor, cluster):
                continue
            data = cluster.gpus // pipeline // tensor
            experts = facts.experts
            width = 0 if experts is None else experts.width
            if _is_whole(facts, width, tensor):
                yield Layout(tensor, 1, pipeline, data)
            spread = tensor * data
            if experts is not None and 1 < spread <= experts.count:
                yield Layout(tensor, spread, pipeline, data)


def _can_cut(facts: Architecture, tensor: int, cluster: Cluster) -> bool:
    """Whether heads and widths can be shared by so many devices of one node."""
    attention = facts.attention
    if tensor > cluster.node_gpus or attention.heads % tensor:
        return False
    if isinstance(attention, Grouped):
        few, many = sorted((attention.kv_heads, tensor))
        if many % few:
            return False
    shared = facts.experts.shared_width if facts.experts else 0
    return _is_whole(facts, facts.dense_width, tensor) and _is_whole(facts, shared, tensor)


def _is_whole(facts: Architecture, width: int, tensor: int) -> bool:
    """Whether a width is shared out without cutting a block that has one scale."""
    block = facts.format.block
    unit = block[0] if block is not None else 1
    return tensor == 1 or width % (tensor * unit) == 0


def _stage_weights(facts: Architecture, layout: Layout, number: int) -> dict[Part, int]:
    """Bytes of one device of a stage, by part."""
    found: dict[Part, int] = {}
    first = facts.layers * number // layout.pipeline
    last = facts.layers * (number + 1) // layout.pipeline
    for kind, count in _kinds(facts, first, last):
        for part, size in _layer_weights(facts, layout, kind).items():
            found[part] = found.get(part, 0) + size * count
    ends = [table(facts)] if number == 0 else []
    if last == facts.layers and not (facts.is_tied and number == 0):
        ends.append(table(facts))
    sizes = sum(_share(one, facts, layout) for one in [*ends, final_norm(facts)])
    return {**found, "embeddings": sizes}


def _kinds(facts: Architecture, first: int, last: int) -> Iterator[tuple[int, int]]:
    """A layer of each kind in a range, and how many there are of it."""
    dense = max(min(facts.dense_layers, last) - first, 0)
    if dense:
        yield 0, dense
    if last - first > dense:
        yield facts.layers - 1, last - first - dense


@lru_cache(maxsize=4096)
def _layer_weights(facts: Architecture, layout: Layout, number: int) -> dict[Part, int]:
    found: dict[Part, int] = {}
    for matrix in layer(facts, number):
        found[matrix.part] = found.get(matrix.part, 0) + _share(matrix, facts, layout)
    return found


def _share(matrix: Matrix, facts: Architecture, layout: Layout) -> int:
    """Bytes of a matrix on one device."""
    size = matrix.bytes_in(facts.format)
    if matrix.split == "no":
        return size
    if matrix.split == "expert" and layout.expert > 1 and facts.experts is not None:
        experts = facts.experts.count
        return size * math.ceil(experts / layout.expert) // experts
    return math.ceil(size / layout.tensor)


def _cache_shards(facts: Architecture, layout: Layout) -> int:
    """Devices of a group that share the cache: a latent vector is whole on each of them."""
    attention = facts.attention
    return min(layout.tensor, attention.kv_heads) if isinstance(attention, Grouped) else 1


def _work(facts: Architecture, layout: Layout, wish: Wish) -> int:
    """Activations of the largest step: residual streams, the widest MLP, logits in 4 bytes."""
    widest = 3 * facts.dense_width / layout.tensor
    if (experts := facts.experts) is not None:
        cut = layout.tensor if layout.expert == 1 else 1
        widest = max(widest, experts.chosen * (3 * experts.width / cut + facts.hidden))
    step = wish.prefill_tokens * (6 * facts.hidden + widest) * facts.format.other_bytes
    ends = math.ceil((wish.batch or 1) / layout.data)
    return math.ceil(step + 2 * 4 * ends * facts.vocabulary / layout.tensor)


def _rank(plan: DevicePlan, wish: Wish) -> tuple[bool, int, int, int, int]:
    layout, fits = plan.layout, plan.holds(wish.batch)
    if fits:
        room = min(plan.sequences, wish.batch or _ENOUGH_SEQUENCES * layout.gpus)
        return (False, layout.pipeline, -room, layout.tensor, layout.expert)
    over = plan.weight_bytes + plan.work + plan.server - plan.usable
    return (True, -plan.sequences, max(over, 0), layout.pipeline, layout.tensor)


def _divisors(number: int) -> list[int]:
    return [n for n in range(1, number + 1) if number % n == 0]
