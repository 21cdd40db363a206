"""Who trains: this process, several that it starts, or several that a launcher has started."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import note, paint_note
from distill.errors import RecipeError

if TYPE_CHECKING:
    from students.launched import Launched
    from students.processes import Processes

Gpus = Annotated[
    int | None,
    typer.Option(
        "--gpus",
        metavar="N",
        min=1,
        help="Train on so many GPUs of this machine, the weights sharded over them (FSDP2).",
        show_default=False,
    ),
]
Procs = Annotated[
    int | None,
    typer.Option(
        "--procs",
        metavar="N",
        min=1,
        help="The same by so many processes on the CPU: to try it out.",
        show_default=False,
    ),
]


def processes_of(gpus: int | None, procs: int | None) -> "Processes | None":
    """The processes that the user wants; ``None`` for this one alone.

    Raises:
        RecipeError: If both options are given, or there are fewer GPUs.
    """
    if gpus is not None and procs is not None:
        raise RecipeError("give --gpus or --procs, not both")
    if gpus is None and procs in {None, 1}:
        return None
    from students.processes import Processes

    if gpus is not None:
        return Processes.on_gpus(gpus)
    return Processes.on_cpu(procs or 1)


def is_launched() -> bool:
    """Whether torchrun, accelerate or the like started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE") or "1") > 1 and "RANK" in os.environ


@contextmanager
def launched(command: str, processes: object) -> Iterator["Launched"]:
    """Meet the processes that the launcher has started; they are let go when the block ends.

    Args:
        command: What they were started with.
        processes: What the user asked for beside that, if anything.

    Raises:
        RecipeError: If the command is not ``train``, or is to start processes itself.
    """
    size = os.environ["WORLD_SIZE"]
    if command != "train":
        raise RecipeError(
            f"{size} processes were started, and only `distill train` can use them",
            hint=f"start `distill {command}` as one process",
        )
    if processes is not None:
        raise RecipeError(
            f"{size} processes were started already; --gpus and --procs would start more",
            hint="leave the option out, or start distill as one process",
        )
    from students.launched import Launched

    sharded_by = os.environ.get("ACCELERATE_USE_FSDP")
    group = Launched.join()
    if group.ranks.is_first:
        note(paint_note(f"  {size} processes, weights sharded by FSDP2", "dim"))
        if sharded_by:
            note("  the FSDP settings of accelerate are not used: distill shards by itself")
    yield group
    if group.ranks.is_first:
        group.release()
