"""Stages over workers (``--on``): what is told to them, and how many there are."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from cli.console import note
from cli.spending import allowance
from cli.work import Job
from distill.errors import RecipeError
from distill.recipe import missing
from distill.types import Completer, Verifier

if TYPE_CHECKING:
    from distill.filter_pool import Judged, ShardSpread
    from distill.filter_shard import ShardWork
    from distill.generate import GenerateReport


def refuse_alone(on: str | None, workers: int | None, processes: int | None) -> None:
    """Refuse a number of workers where there are none, and ranks where there are workers.

    Raises:
        RecipeError: If only the number is given, or ``--procs`` beside ``--on``.
    """
    if on is None and workers is not None:
        raise RecipeError("--workers goes with --on", hint="To use the cores here: --on local")
    if on is not None and processes is not None:
        raise RecipeError(
            f"--on {on} and --procs {processes}: give one of them",
            hint="--on gives each machine a worker with the whole model; --procs shares one model"
            " out over processes of this machine",
        )


def judging_over(on: str | None, workers: int | None) -> "ShardSpread | None":
    """Who judges the shards of a filter in place of this machine's processes; ``None`` for them."""
    return None if on is None else partial(_judge_over, on, workers)


def _judge_over(on: str, workers: int | None, work: "ShardWork", shards: Sequence[int]) -> "Judged":
    from distill.scale.cluster import Cluster
    from distill.scale.filter import judge_on

    with Cluster.open(on, workers=workers) as cluster:
        size = cluster.size(workers, is_heavy=False)
        yield from judge_on(
            cluster, work, shards, size=size, on_notice=lambda text: note(f"\n  {text}")
        )


def generate_over(job: Job, on: str, teacher: Completer, verifier: Verifier) -> "GenerateReport":
    """Sample the prompts of a run over workers.

    Raises:
        DistillError: What the stage raises; what is stored stays.
    """
    from distill.scale.cluster import Cluster
    from distill.scale.generate import generate_on
    from distill.scale.sampler import Sampler
    from distill.verify import build_verifier
    from distill.verify.form import structure_fault
    from teachers import build
    from teachers.shares import environment_of, holds_weights, share_of

    recipe, paths = job.recipe, job.run.paths
    section = recipe.teacher or missing("teacher")
    budget = allowance(job.limits, section, paths, paths.traces)
    with Cluster.open(on, workers=job.workers) as cluster:
        size = cluster.size(job.workers, is_heavy=holds_weights(section))
        sampler = Sampler(
            partial(build, share_of(section, size.workers), batch_size=recipe.generate.batch_size),
            partial(build_verifier, recipe.verify.kind, **recipe.verify.options),
            recipe.generate,
            recipe.seed,
            partial(
                structure_fault,
                needs_reasoning=recipe.filter.needs_reasoning,
                needs_box=recipe.filter.needs_box,
            ),
            first=job.pilot,
            environment=environment_of(section),
        )
        return generate_on(
            cluster,
            sampler,
            teacher,
            verifier,
            paths,
            size=size,
            budget=budget,
            on_progress=job.report,
            on_notice=lambda text: note(f"\n  {text}"),
        )
