"""``load_weights``: a checkpoint as a model, its parts where there is room for them."""

from distill.local_section import LocalTeacher
from engine.folder import LoadedModel, load_folder
from teachers.local_folder import model_folder


def load_weights(section: LocalTeacher) -> LoadedModel:
    """Load a local teacher in this process.

    Args:
        section: The recipe's choice.

    Raises:
        ModelError: If files are missing or broken, the architecture is unknown, or there is too
            little memory.
    """
    return load_folder(model_folder(section))
