"""Who writes the traces: ``build`` makes the teacher that a recipe names.

What a teacher needs is imported when that teacher is built, so a replay never waits for torch.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from distill.pricing import PriceList
from distill.recipe import AnyTeacher, ApiTeacher, EngineTeacher, LocalTeacher, ReplayTeacher
from distill.types import Completer

if TYPE_CHECKING:
    from engine.launched import Launched


def build(
    section: AnyTeacher,
    *,
    batch_size: int,
    on_notice: Callable[[str], None] = lambda text: None,
    launched: "Launched | None" = None,
    logs: Path | None = None,
) -> Completer:
    """Make a teacher ready to complete prompts.

    Args:
        section: The recipe's choice.
        batch_size: Completions that are decoded at once by a local model.
        on_notice: Called with what the user should know while an endpoint is asked.
        launched: Processes that a launcher has started with this one; a local model lies on all.
        logs: Folder that keeps the log of a server or process that was started and failed.

    Raises:
        DataError: If a recording is missing or broken.
        ModelError: If a model is missing or broken, or does not fit the GPUs.
        RecipeError: If the catalogue does not know an endpoint, or its model was retired.
        TeacherError: If an endpoint's key is not in the environment.
    """
    if isinstance(section, ApiTeacher):
        from teachers.connect import connect

        return connect(section, on_notice)
    if isinstance(section, EngineTeacher):
        from teachers.engine import open_engine

        return open_engine(section, on_notice, logs)
    if isinstance(section, ReplayTeacher):
        from teachers import replay

        return replay.ReplayTeacher(section.path)
    if isinstance(section, LocalTeacher):
        from teachers.local import open_local

        return open_local(
            section, batch_size=batch_size, on_notice=on_notice, launched=launched, logs=logs
        )
    from teachers import embedded

    return embedded.load(batch_size=batch_size)


def prices_of(section: AnyTeacher) -> PriceList:
    """What a teacher charges; empty if that is not known, or nothing is charged.

    Raises:
        RecipeError: If the catalogue does not know an endpoint, or its model was retired.
    """
    if isinstance(section, ApiTeacher):
        from teachers.connect import prices

        return prices(section)
    return PriceList()
