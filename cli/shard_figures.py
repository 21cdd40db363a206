"""What ``distill shard`` prints: bytes by part, the layouts, what a prompt set takes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import ceil
from textwrap import fill
from typing import TYPE_CHECKING, Any

from cli.console import duration, paint, percent, say, say_json, table
from distill.errors import ModelError, RecipeError

if TYPE_CHECKING:
    from teachers.engine_command import Engine
    from teachers.shard_cost import Cost, Job, Speed
    from teachers.shard_model import PlannedModel
    from teachers.shard_plan import Cluster, DevicePlan, Wish
    from teachers.shard_weights import Part

_SHOWN = 4
_DAYS_FROM = 48
_WHOLE_FROM = 10
_WIDTH = 78
_PORT = 8000
_NAMES: "dict[Part, str]" = {
    "attention": "attention",
    "dense": "dense MLPs",
    "shared": "shared experts",
    "routed": "routed experts",
    "router": "routers",
    "embeddings": "embeddings",
}


@dataclass(frozen=True, slots=True)
class _Answer:
    """What there is to say.

    Attributes:
        plans: All layouts, the best first.
        fits: Whether the best one does.
        batch: Sequences that the figures are for.
        enough: GPUs of this size that would do, if it does not fit.
        costs: At each speed that is known.
    """

    plans: "Sequence[DevicePlan]"
    fits: bool
    batch: int
    enough: int | None
    costs: "Sequence[Cost]"


def show(
    model: "PlannedModel",
    cluster: "Cluster",
    wish: "Wish",
    *,
    job: "Job | None",
    measured: "Speed | None",
    as_json: bool,
) -> None:
    """The plan of a model over GPUs.

    Raises:
        ModelError: If it does not fit; says what would.
    """
    answer = _answer(model, cluster, wish, job, measured)
    if as_json:
        say_json(_summary(model, cluster, wish, answer))
    else:
        say_model(model)
        if answer.plans:
            _say_device(answer, cluster, wish)
            _say_layouts(answer, wish)
        if answer.fits:
            _say_costs(answer, job)
            _say_next(job)
    if not answer.fits:
        raise _refusal(model, cluster, wish, answer, job)


def needs_prompts(prompts: int | None, given: "Mapping[str, float | None]") -> None:
    """Refuse options that say nothing without a number of traces.

    Raises:
        RecipeError: If one is given, and no number of traces.
    """
    names = [name for name, value in given.items() if value is not None]
    if prompts is None and names:
        raise RecipeError(
            f"{' and '.join(names)}: of use only with a number of traces",
            hint="add --prompts N, such as --prompts 800000",
        )


def show_command(
    name: str, model: "PlannedModel", cluster: "Cluster", wish: "Wish", engine: "Engine"
) -> None:
    """The command line that serves the model in the best layout, one for each node.

    Raises:
        ModelError: If it does not fit; says what would.
    """
    from teachers.engine_command import Serving, commands, shown
    from teachers.moe_config import hub_name

    answer = _answer(model, cluster, wish, None, None)
    if not answer.fits:
        raise _refusal(model, cluster, wish, answer, None)
    facts, layout = model.facts, answer.plans[0].layout
    serving = Serving(
        hub_name(name), facts.model_type, layout, wish.context_tokens, _PORT, cluster.node_gpus
    )
    lines = commands(engine, serving)
    if len(lines) > 1:
        say("# HEAD_ADDRESS is the address of node 1, as the other nodes reach it")
    for number, line in enumerate(lines):
        if len(lines) > 1:
            say(f"# node {number + 1} of {len(lines)}")
        say(shown(line))


def _answer(
    model: "PlannedModel",
    cluster: "Cluster",
    wish: "Wish",
    job: "Job | None",
    measured: "Speed | None",
) -> _Answer:
    from teachers.shard_cost import cost_of, speeds_of
    from teachers.shard_plan import enough_gpus, plan_shards

    plans = plan_shards(model.facts, cluster, wish)
    fits = bool(plans) and plans[0].holds(wish.batch)
    enough = None if fits else enough_gpus(model.facts, cluster, wish)
    speeds = speeds_of(model.facts) if measured is None else [measured]
    costs = [cost_of(job, speed, cluster.gpus) for speed in speeds] if job and fits else []
    batch = wish.batch or max(plans[0].sequences if plans else 0, 1)
    return _Answer(plans, fits, batch, enough, costs)


def say_model(model: "PlannedModel") -> None:
    """Name, size and format, and what a user should know."""
    from teachers.shard_weights import active_parameters, parameters

    facts = model.facts
    size = f"{_billions(parameters(facts))} parameters"
    if facts.experts is not None:
        size += f", {_billions(active_parameters(facts))} of them for each token"
    say(f"{paint(facts.name, 'bold')}  {size}, {facts.format.name}")
    files = f"{_size(model.file_bytes)} of weight files by the config"
    say(f"{files}; cache {facts.cache_bytes_per_token / 1000:,.1f} kB a token")
    if model.header_bytes is not None:
        say(f"{_size(model.header_bytes)} by the headers of the files, which are all whole")
    for each in model.notes:
        say(fill(each, _WIDTH, initial_indent="  ", subsequent_indent="    "))


def _say_device(answer: _Answer, cluster: "Cluster", wish: "Wish") -> None:
    best = answer.plans[0]
    batch = answer.batch
    own = ceil(batch / best.layout.data)
    say(f"\nOn each of {cluster.gpus} x {cluster.gpu_bytes / 1024**3:g} GiB: {best.layout}")
    rows = [["", "GiB"]]
    rows += [
        [label, _gib(best.weights[part])] for part, label in _NAMES.items() if part in best.weights
    ]
    rows.append([f"cache of {own:,} x {wish.context_tokens:,} tokens", _gib(best.cache(batch))])
    rows += [
        ["work of a step", _gib(best.work)],
        ["runtime: CUDA, NCCL, graphs (published)", _gib(best.server)],
    ]
    rows.append(["in all", _gib(best.total(batch))])
    rows.append([f"may be used: {percent(wish.usable)}", _gib(best.usable)])
    say(table(rows))


def _say_layouts(answer: _Answer, wish: "Wish") -> None:
    say("\nLayouts")
    rows = [["", "GiB of weights", "sequences", "fits"]]
    for plan in answer.plans[:_SHOWN]:
        verdict = "yes" if plan.holds(wish.batch) else "no"
        rows.append([str(plan.layout), _gib(plan.weight_bytes), f"{plan.sequences:,}", verdict])
    say(table(rows))
    say("  weights: on each GPU; sequences: at once over all GPUs, others wait,")
    say(f"  each of {wish.context_tokens:,} tokens")


def _say_costs(answer: _Answer, job: "Job | None") -> None:
    if job is None:
        return
    say(f"\n{job.traces:,} traces of {job.tokens:,} tokens")
    if not answer.costs:
        say("  no speed of this model is published here; measure it on your GPUs with")
        say("  distill generate RECIPE --pilot 20, then give it: --speed TOKENS/S")
        return
    for cost in answer.costs:
        days = cost.hours / 24
        took = duration(cost.hours * 3600) if cost.hours < _DAYS_FROM else f"{days:,.1f} days"
        money = "" if cost.usd is None else f", {_amount(cost.usd)} USD"
        speed = f"{cost.tokens_per_second:,.0f} tokens/s"
        say(f"  {took}, {_amount(cost.gpu_hours)} GPU-hours{money}, at {speed}")
        origin = "published, not measured here: " if cost.speed.is_published else ""
        source = origin + cost.speed.source
        say(fill(source, _WIDTH, initial_indent="    ", subsequent_indent="      "))
    if any(cost.speed.is_published for cost in answer.costs):
        say("  they were reached with thousands of sequences at once; with the")
        say(f"  {answer.batch:,} planned here it takes longer: measure it with a pilot")


def _say_next(job: "Job | None") -> None:
    say()
    if job is None:
        say("hours and cost: add --prompts N --price USD_PER_GPU_HOUR")
    say("the command that serves it so: add --print vllm, or --print sglang")


def _refusal(
    model: "PlannedModel",
    cluster: "Cluster",
    wish: "Wish",
    answer: _Answer,
    job: "Job | None",
) -> ModelError:
    """What is too much, what would be enough, and what it means to read the rest from a disk."""
    from teachers.shard_cost import Job, from_disk
    from teachers.shard_weights import file_bytes

    name, facts, gib = model.facts.name, model.facts, cluster.gpu_bytes / 1024**3
    hints = ["no layout up to 512 such GPUs fits; take larger ones"]
    if answer.enough is not None:
        hints = [f"enough would be: --gpus {answer.enough}x{gib:g}GB"]
    if not answer.plans:
        problem = f"no layout uses {cluster.gpus} GPUs: heads and experts do not divide by them"
        return ModelError(f"{name}: {problem}", hint=hints[0])
    best, size = answer.plans[0], f"{cluster.gpus} x {gib:g} GiB"
    if best.sequences >= best.layout.data:
        hints.append(f"or fewer at once: --batch {best.sequences}, or a shorter --context")
        wanted = f"{wish.batch:,} sequences of {wish.context_tokens:,} tokens"
        problem = f"{wanted} do not fit {size}; {best.sequences:,} do"
        return ModelError(f"{name}: {problem}", hint="\n".join(hints))
    problem, memory = f"{name}: does not fit {size}", best.usable * cluster.gpus
    weights = sum(count for part, count in file_bytes(facts).items() if part != "draft")
    if weights > memory:
        problem += f": its weights alone are {weights / 1024**3:,.0f} GiB"
        arithmetic = from_disk(facts, memory, job or Job(800_000, 6000))
        hints.append(f"reading the rest from a disk is no way out: {arithmetic}")
    return ModelError(problem, hint="\n".join(hints))


def _summary(
    model: "PlannedModel", cluster: "Cluster", wish: "Wish", answer: _Answer
) -> dict[str, Any]:
    from teachers.shard_weights import active_parameters, parameters

    facts = model.facts
    return {
        "model": facts.name,
        "parameters": parameters(facts),
        "active_parameters": active_parameters(facts),
        "format": facts.format.name,
        "file_bytes": model.file_bytes,
        "header_bytes": model.header_bytes,
        "cache_bytes_per_token": facts.cache_bytes_per_token,
        "notes": list(model.notes),
        "gpus": asdict(cluster),
        "wish": asdict(wish),
        "fits": answer.fits,
        "enough_gpus": answer.enough,
        "layouts": [_layout(plan, wish, answer.batch) for plan in answer.plans],
        "costs": [asdict(cost) for cost in answer.costs],
    }


def _layout(plan: "DevicePlan", wish: "Wish", batch: int) -> dict[str, Any]:
    return {
        **asdict(plan),
        "weight_bytes": plan.weight_bytes,
        "cache_bytes": plan.cache(batch),
        "total_bytes": plan.total(batch),
        "fits": plan.holds(wish.batch),
    }


def _billions(count: int) -> str:
    return f"{count / 1e9:,.1f}B" if count >= 1e9 else f"{count / 1e6:,.1f}M"  # noqa: PLR2004


def _size(count: int) -> str:
    """Bytes as makers of models count them."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"  # noqa: PLR2004


def _amount(number: float) -> str:
    return f"{number:,.2f}" if number < _WHOLE_FROM else f"{number:,.0f}"


def _gib(size: int) -> str:
    return f"{size / 1024**3:,.2f}" if size < 10 * 1024**3 else f"{size / 1024**3:,.1f}"
