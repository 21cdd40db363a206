"""How a model is cut over ranks: by transformers' own plans, checked before a weight is read.

    tensor          every matrix of the tensor-parallel plan is shared out, experts too
    expert          each rank has whole experts of its own, and all of the rest
    tensor+expert   whole experts of its own, and its share of the rest

A plan names modules and parameters, with a ``*`` for the number of a layer, and a style for each.
A model without weights shows what the plan does to it. This module knows shapes and styles, nothing
of processes, files or requests.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.distributed.configuration_utils import DistributedConfig
from transformers.distributed.tensor_parallel import get_kv_heads_per_rank

from distill.errors import ModelError
from engine.folder import quiet_transformers

Parallel = Literal["tensor", "expert", "tensor+expert"]

_WHOLE: Final = "replicate"
_EXPERTS: Final = "grouped_gemm"
_ROWS: Final = ("colwise", "colwise_rep", "colwise_gather_output", "packed_colwise")
_COLUMNS: Final = ("rowwise", "rowwise_rep", "rowwise_split_input", "packed_rowwise")
_EMBEDDINGS: Final = {"embedding_rowwise": 0, "embedding_colwise": 1}
_MAY_BE_UNEVEN: Final = ("colwise_gather_output", "embedding_rowwise")
_NUMBER: Final = re.compile(r"\.\d+(?=\.|$)")
_HEADED: Final = ("q_proj", "q_b_proj", "kv_b_proj", "qkv_proj")
_MOST_RANKS: Final = 1024


@dataclass(frozen=True, slots=True)
class Cut:
    """A model on so many ranks.

    Attributes:
        problems: What cannot be shared out evenly; empty if the model can be cut so.
        rank_bytes: Weights that a rank holds.
        kv_heads: Heads of keys and values that a rank keeps in its cache.
    """

    problems: tuple[str, ...]
    rank_bytes: int
    kv_heads: int


Cutting = Callable[[int], Cut]
"""How a model would lie on a number of ranks, in one way."""


def empty_model(config: PreTrainedConfig, dtype: torch.dtype) -> PreTrainedModel:
    """A model without weights."""
    with quiet_transformers(), torch.device("meta"):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=dtype)
    return model


def fitting(parallel: Parallel, model: PreTrainedModel) -> Parallel:
    """The same, but for a dense model, of which there are no experts to share out as well."""
    return "tensor" if parallel == "tensor+expert" and not model.ep_plan else parallel


def distributed_config(parallel: Parallel, model: PreTrainedModel, size: int) -> DistributedConfig:
    """What transformers must be told.

    Args:
        parallel: What is shared out.
        model: Whose plan it is.
        size: Ranks.
    """
    experts = 1 if parallel == "tensor" else size
    # For experts alone every other rule is taken back: transformers refuses an empty plan.
    plan = dict.fromkeys(model.tp_plan, _WHOLE) if parallel == "expert" else None
    return DistributedConfig(tp_size=size, tp_plan=plan, ep_size=experts)


def cut(model: PreTrainedModel, parallel: Parallel, size: int, *, block: int = 1) -> Cut:
    """How a model would lie on so many ranks.

    Args:
        model: Without weights.
        parallel: What is shared out.
        size: Ranks.
        block: Rows and columns that share a scale in the checkpoint: no rank gets part of one.
    """
    return _cutting(model, parallel, block)(size)


def _cutting(model: PreTrainedModel, parallel: Parallel, block: int) -> Cutting:
    """The same for any number of ranks; layers that are alike are looked at once."""
    rules = _rules(model, parallel)
    alike = Counter(
        (_starred(name), tuple(weight.shape), weight.nbytes)
        for name, weight in model.named_parameters()
    )

    def cut_over(size: int) -> Cut:
        problems = dict.fromkeys(_uneven_heads(model, rules, size))
        held = 0
        for (name, shape, nbytes), count in alike.items():
            style = _style(name, rules)
            axis = _axis(style, len(shape))
            length = 1 if axis is None else shape[axis]
            part = 1 if axis is None else -(-length // size)
            held += count * (nbytes * part // length)
            if axis is not None and (problem := _uneven(name, style, length, size, block)):
                problems[problem] = None
        return Cut(tuple(problems), held, _kv_heads(model, rules, size) or 0)

    return cut_over


def check_cut(
    model: PreTrainedModel,
    parallel: Parallel,
    size: int,
    room_bytes: int,
    *,
    block: int = 1,
    is_fp8: bool = False,
) -> Cut:
    """How a model will lie on so many ranks.

    Args:
        model: Without weights.
        parallel: What is shared out.
        size: Ranks.
        room_bytes: Free memory of a rank.
        block: As ``cut`` takes it.
        is_fp8: Whether the weights stay in FP8, half of the model's own size.

    Raises:
        ModelError: If it cannot be cut so, or a rank has too little room; says what would do.
    """
    ways = {way: _cutting(model, way, block) for way in get_args(Parallel) if _rules(model, way)}
    name = model.config.model_type
    if parallel not in ways:
        raise ModelError(
            f"teacher.parallel = '{parallel}': transformers has no such plan for {name}",
            hint=f"it has one for {' and '.join(ways)}" if ways else "use one process",
        )
    found = ways[parallel](size)
    if found.problems:
        raise ModelError(
            f"{size} processes cannot share out {name} by '{parallel}': {size} does not divide "
            f"{' or '.join(found.problems)}",
            hint=_what_divides(parallel, size, ways),
        )
    factor = 2 if is_fp8 else 1
    if found.rank_bytes > room_bytes * factor:
        enough = _enough(ways[parallel], size, room_bytes * factor)
        raise ModelError(
            f"each of {size} processes would hold {_gib(found.rank_bytes // factor)} of weights "
            f"and has {_gib(room_bytes)}",
            hint=f"{enough} processes with as much memory each would be enough"
            if enough
            else "no number of processes is enough: what is not shared out is too large by itself; "
            "distill shard MODEL --gpus 16x80GB plans larger machines",
        )
    return found


def _rules(model: PreTrainedModel, parallel: Parallel) -> Mapping[str, str]:
    """Style by name of a module or parameter; nothing if the model lacks what is asked for."""
    tensor: Mapping[str, str] = model.tp_plan if parallel != "expert" else {}
    expert: Mapping[str, str] = model.ep_plan if parallel != "tensor" else {}
    if (parallel != "expert" and not tensor) or (parallel != "tensor" and not expert):
        return {}
    return {**tensor, **expert}


def _style(name: str, rules: Mapping[str, str]) -> str:
    """The style of a parameter with stars: its own, or else that of its module."""
    return rules.get(name) or rules.get(name.rpartition(".")[0], _WHOLE)


def _axis(style: str, axes: int) -> int | None:
    """Which axis of a weight a style cuts; ``None`` if each rank has all of it."""
    if style == _EXPERTS:
        return 0
    if style in _ROWS:
        return max(axes - 2, 0)
    if style in _COLUMNS:
        return axes - 1 if axes > 1 else None
    return _EMBEDDINGS.get(style)


def _uneven(name: str, style: str, length: int, size: int, block: int) -> str | None:
    """Why a weight cannot be cut into so many parts."""
    if style == _EXPERTS:
        return f"{length} routed experts" if length % size else None
    unit = block if ".layers." in name else 1
    if style in _MAY_BE_UNEVEN or (unit == 1 and "attn" in name):  # where heads are shared out
        return None
    width = length // 2 if style.startswith("packed") else length
    if width % (size * unit) == 0:
        return None
    return f"the width {width} in blocks of {unit}" if unit > 1 else f"the width {width}"


def _uneven_heads(model: PreTrainedModel, rules: Mapping[str, str], size: int) -> Iterator[str]:
    heads = model.config.get_text_config().num_attention_heads
    split = {name.rpartition(".")[2] for name, style in rules.items() if style == "colwise"}
    if split & set(_HEADED) and heads % size:
        yield f"{heads} attention heads"
    if _kv_heads(model, rules, size) is None:
        yield f"{_kv_heads(model, rules, 1)} heads of keys and values"


def _kv_heads(model: PreTrainedModel, rules: Mapping[str, str], size: int) -> int | None:
    """Heads of keys that each rank has; ``None`` if they cannot be shared out."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    found = get_kv_heads_per_rank(dict(rules), heads, size)
    return found if found is None or isinstance(found, int) else max(found)


def _what_divides(parallel: Parallel, size: int, ways: Mapping[str, Cutting]) -> str:
    """Numbers of processes near this one that can share it out, and other ways for this one."""
    most = min(2 * size, _MOST_RANKS)
    works = [n for n in range(2, most + 1) if not ways[parallel](n).problems]
    others = [way for way, cutting in ways.items() if not cutting(size).problems]
    hints = []
    if works:
        hints.append(f"with '{parallel}' these numbers work: {', '.join(map(str, works[-6:]))}")
    if others:
        hints.append(f"{size} processes can share it out by {' or '.join(others)}")
    return "; ".join(hints) or "use one process"


def _enough(cutting: Cutting, size: int, room_bytes: int) -> int | None:
    for more in range(size + 1, _MOST_RANKS + 1):
        found = cutting(more)
        if not found.problems and found.rank_bytes <= room_bytes:
            return more
    return None


def _starred(name: str) -> str:
    """A name with a ``*`` for each number in it."""
    return _NUMBER.sub(".*", name)


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
