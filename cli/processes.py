"""Who trains: this process, several that it starts, or several that a launcher has started."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import note, paint_note
from distill.errors import RecipeError

if TYPE_CHECKING:
    from distill.recipe import Recipe
    from engine.launched import Launched
    from engine.processes import Processes

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
TeacherProcs = Annotated[
    int | None,
    typer.Option(
        "--procs",
        metavar="N",
        min=1,
        help="Share a local teacher out over so many processes of this machine, a GPU for each.",
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
    from engine.processes import Processes

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
        RecipeError: If the command has no use for several, or is to start processes itself.
    """
    size = os.environ["WORLD_SIZE"]
    if command == "filter":
        raise RecipeError(
            f"{size} processes were started, and `distill filter` starts its own",
            hint="start `distill filter` as one process",
        )
    if processes is not None:
        raise RecipeError(
            f"{size} processes were started already; --gpus and --procs would start more",
            hint="leave the option out, or start distill as one process",
        )
    from engine.launched import Launched
    from engine.meeting import Meeting

    sharded_by = os.environ.get("ACCELERATE_USE_FSDP")
    group = Launched(Meeting.launched())
    if group.meeting.is_first:
        note(paint_note(f"  {size} processes", "dim"))
        if sharded_by:
            note("  the FSDP settings of accelerate are not used: distill shards by itself")
    yield group
    if group.meeting.is_first:
        group.release()


def with_teacher_on(recipe: "Recipe", processes: int) -> "Recipe":
    """The same recipe, its teacher shared out over so many processes.

    Raises:
        RecipeError: If the teacher is not a model on this machine.
    """
    from distill.recipe import LocalTeacher

    if not isinstance(recipe.teacher, LocalTeacher):
        kind = recipe.teacher.kind if recipe.teacher else "none"
        raise RecipeError(
            f"--procs {processes}: the teacher of {recipe.name} is of kind '{kind}'",
            hint="only a teacher of kind 'local' is shared out over processes; leave --procs out",
        )
    teacher = recipe.teacher.model_copy(update={"processes": processes})
    return recipe.model_copy(update={"teacher": teacher})


def follow(group: "Launched") -> None:
    """Take part in what the first process trains or samples, until it lets this one go."""
    from students import launched as students_launched
    from teachers import local_ranks

    group.follow(
        {
            students_launched.ORDER: students_launched.follow_training,
            local_ranks.ORDER: local_ranks.follow_teacher,
        }
    )
