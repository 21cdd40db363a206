"""A large model on this machine as a teacher: any architecture of transformers, in one process."""

from collections.abc import Callable

from distill.errors import RecipeError
from distill.local_section import LocalTeacher as LocalSection
from distill.types import Completer
from engine.completer import LocalCompleter
from engine.folder import folder_fingerprint
from teachers.local_weights import load_weights


def open_local(
    section: LocalSection, *, batch_size: int, on_notice: Callable[[str], None]
) -> Completer:
    """Load a local teacher.

    Args:
        section: The recipe's choice.
        batch_size: Completions that are decoded at once.
        on_notice: Called with what the user should know.

    Raises:
        ModelError: If the model is missing, broken, unknown, or does not fit.
    """
    del on_notice
    if section.processes > 1:
        raise RecipeError("teacher.processes: a local teacher runs in one process here")
    loaded = load_weights(section)
    return LocalCompleter(
        loaded.model,
        loaded.tokenizer,
        name=section.model.rpartition("/")[2],
        fingerprint=folder_fingerprint(loaded.folder),
        batch_size=batch_size,
    )
