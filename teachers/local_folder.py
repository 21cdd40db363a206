"""The folder of a local teacher, fetched if it has to be. Loads no torch."""

from pathlib import Path

from distill.local_section import LocalTeacher
from engine.hub import hub_folder
from engine.model_files import check_folder


def model_folder(section: LocalTeacher) -> Path:
    """The folder of a whole model.

    Raises:
        ModelError: If it cannot be had, or files are missing.
    """
    path = Path(section.model).expanduser()
    folder = path if path.exists() else hub_folder(section.model, section.revision)
    check_folder(folder)
    return folder
