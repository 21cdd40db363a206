"""A large model on this machine as a teacher: any architecture, alone or on several ranks."""

from collections.abc import Callable

from distill.local_section import LocalTeacher as LocalSection
from distill.types import Completer
from engine.completer import LocalCompleter
from engine.folder import folder_fingerprint
from engine.launched import Launched
from teachers.local_weights import load_weights


def open_local(
    section: LocalSection,
    *,
    batch_size: int,
    on_notice: Callable[[str], None],
    launched: Launched | None = None,
) -> Completer:
    """Load a local teacher.

    Args:
        section: The recipe's choice.
        batch_size: Completions that are decoded at once.
        on_notice: Called with what the user should know.
        launched: Processes that a launcher has started with this one; they share the model.

    Raises:
        ModelError: If the model is missing, broken, unknown, or does not fit.
        RecipeError: If there are GPUs, but fewer than processes.
    """
    if launched is not None or section.processes > 1:
        from teachers.local_ranks import RankedTeacher, team_of

        team = launched or team_of(section.processes)
        return RankedTeacher(section, team, batch_size=batch_size)
    del on_notice
    loaded = load_weights(section)
    return LocalCompleter(
        loaded.model,
        loaded.tokenizer,
        name=section.model.rpartition("/")[2],
        fingerprint=folder_fingerprint(loaded.folder),
        batch_size=batch_size,
    )
