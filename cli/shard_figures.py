"""What ``distill shard`` prints: bytes by part, the layouts, what a prompt set takes."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from cli.console import paint, say, say_json, table
from distill.errors import ModelError

if TYPE_CHECKING:
    from teachers.engine_command import Engine
    from teachers.shard_cost import Cost, Job, Speed
    from teachers.shard_model import PlannedModel
    from teachers.shard_plan import Cluster, DevicePlan, Wish
    from teachers.shard_weights import Part

_SHOWN = 4
_DAYS_FROM = 48
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
    if not answer.fits:
        raise _refusal(model, cluster, wish, answer, job)


def show_command(
    name: str, model: "PlannedModel", cluster: "Cluster", wish: "Wish", engine: "Engine"
) -> None:
    """The command line that serves the model in the best layout, one for each node.

    Raises:
        ModelError: If it does not fit; says what would.
    """
    from teachers.engine_command import Serving, commands, shown

    answer = _answer(model, cluster, wish, None, None)
    if not answer.fits:
        raise _refusal(model, cluster, wish, answer, None)
    facts, layout = model.facts, answer.plans[0].layout
    serving = Serving(name, facts.model_type, layout, wish.context_tokens, _PORT, cluster.node_gpus)
    lines = commands(engine, serving)
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
    files = f"{model.file_bytes / 1e9:,.1f} GB of weight files by the config"
    if model.header_bytes is not None:
        files += f", {model.header_bytes / 1e9:,.1f} GB by their headers; all are whole"
    say(f"{files}; cache {facts.cache_bytes_per_token / 1000:,.1f} kB a token")
    for each in model.notes:
        say(f"  {each}")


def _say_device(answer: _Answer, cluster: "Cluster", wish: "Wish") -> None:
    best = answer.plans[0]
    say(f"\nOn each of {cluster.gpus} x {cluster.gpu_bytes / 1024**3:g} GiB: {best.layout}")
    rows = [["", "GiB"]]
    rows += [
        [label, _gib(best.weights[part])] for part, label in _NAMES.items() if part in best.weights
    ]
    rows.append(
        [f"cache of {answer.batch:,} x {wish.context_tokens:,}", _gib(best.cache(answer.batch))]
    )
    rows += [
        ["work of a step", _gib(best.work)],
        ["runtime: CUDA, NCCL, graphs (published)", _gib(best.server)],
    ]
    rows.append(["in all", _gib(best.total(answer.batch))])
    rows.append(["to be used", _gib(best.usable)])
    say(table(rows))


def _say_layouts(answer: _Answer, wish: "Wish") -> None:
    say("\nLayouts")
    rows = [["", "weights", "sequences", "fits"]]
    for plan in answer.plans[:_SHOWN]:
        verdict = "yes" if plan.holds(wish.batch) else "no"
        rows.append([str(plan.layout), _gib(plan.weight_bytes), f"{plan.sequences:,}", verdict])
    say(table(rows))
    say(f"  sequences: of {wish.context_tokens:,} tokens at once over all GPUs; others wait")


def _say_costs(answer: _Answer, job: "Job | None") -> None:
    if job is None:
        return
    say(f"\n{job.traces:,} traces of {job.tokens:,} tokens")
    if not answer.costs:
        say("  no speed of this model is published here; `distill generate --pilot 20` measures")
        say("  it on your GPUs, then: --speed TOKENS/S")
        return
    for cost in answer.costs:
        days = cost.hours / 24
        took = f"{cost.hours:,.1f} h" if cost.hours < _DAYS_FROM else f"{days:,.1f} days"
        money = "" if cost.usd is None else f", {cost.usd:,.0f} USD"
        speed = f"{cost.tokens_per_second:,.0f} tokens/s"
        say(f"  {took}, {cost.gpu_hours:,.0f} GPU-hours{money}, at {speed}")
        origin = "published, not measured here: " if cost.speed.is_published else ""
        say(f"    {origin}{cost.speed.source}")


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


def _gib(size: int) -> str:
    return f"{size / 1024**3:,.2f}" if size < 10 * 1024**3 else f"{size / 1024**3:,.1f}"
