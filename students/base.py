"""The folder of the base that a recipe's student starts from, with the chat template it shall have.

A base that has no chat template, or shall have another one, becomes a *view*: a folder of links to
its files, and the template beside them. So whoever trains, evaluates or hashes a base knows
folders only. Loads no torch.
"""

import json
from pathlib import Path

from distill.errors import ModelError
from distill.student_sections import EmbeddedStudent, HubStudent, LocalStudent, Student
from engine.hub import hub_folder, hub_tokenizer
from students.catalog import known_student
from students.durable import whole_folder

EMBEDDED = Path(__file__).parent / "embedded"
_TEMPLATES = Path(__file__).parent / "templates"
_TEMPLATE, _TOKENIZER_CONFIG = "chat_template.jinja", "tokenizer_config.json"


def base_folder(student: Student, view: Path) -> Path:
    """Where a base lies, fetched if it has to be.

    Args:
        student: The recipe's section.
        view: Becomes the base's folder if its chat template is not its own.

    Raises:
        ModelError: If the base or its template cannot be had.
    """
    match student:
        case EmbeddedStudent():
            return EMBEDDED
        case LocalStudent(path=path, template=template):
            return path if template is None else _view_of(path, template_text(template), view)
        case HubStudent():
            return _hub_base(student, view)


def named_folder(name: str) -> Path:
    """A model by what a user calls it: a folder, the folder of a run, or a name on the Hub.

    Raises:
        ModelError: If there is no such folder, and the Hub's model cannot be had.
    """
    path = Path(name).expanduser()
    if path.exists():
        return path / "student" if (path / "manifest.json").is_file() else path
    if known_student(name) is None and (name.count("/") != 1 or path.parent.is_dir()):
        raise ModelError(
            f"{name}: no such folder, and no model of the catalogue",
            hint="give a folder, OWNER/NAME of the Hub, or a name that `distill students` lists",
        )
    return hub_folder(_full_name(name))


def base_tokenizer(student: Student) -> Path:
    """The ``tokenizer.json`` of a base, fetched without its weights if it has to be.

    Raises:
        ModelError: If it cannot be had.
    """
    match student:
        case EmbeddedStudent():
            return EMBEDDED / "tokenizer.json"
        case LocalStudent(path=path):
            return path / "tokenizer.json"
        case HubStudent(model=model, revision=revision):
            return hub_tokenizer(_full_name(model), revision)


def own_template(folder: Path) -> str | None:
    """The chat template in a model folder; ``None`` if there is none.

    Raises:
        ModelError: If the tokenizer's configuration cannot be read.
    """
    if (folder / _TEMPLATE).is_file():
        return (folder / _TEMPLATE).read_text(encoding="utf-8")
    config = folder / _TOKENIZER_CONFIG
    if not config.is_file():
        return None
    try:
        found = json.loads(config.read_text(encoding="utf-8")).get("chat_template")
    except (ValueError, AttributeError) as error:
        raise ModelError(f"{config}: not a tokenizer's configuration: {error}") from error
    if isinstance(found, list):  # several by name, in older folders
        found = next((one["template"] for one in found if one.get("name") == "default"), None)
    return found if isinstance(found, str) else None


def template_text(choice: Path) -> str:
    """The text of a chat template: one of ours by name, or a file.

    Raises:
        ModelError: If it cannot be read.
    """
    ours = _TEMPLATES / f"{choice}.jinja"
    try:
        return (ours if ours.is_file() else choice).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{choice}: the chat template cannot be read: {error}") from error


def _hub_base(student: HubStudent, view: Path) -> Path:
    name = _full_name(student.model)
    folder = hub_folder(name, student.revision)
    template, known = student.template, known_student(name)
    if template is None and known is not None and own_template(folder) is None:
        template = Path(known.template)
    return folder if template is None else _view_of(folder, template_text(template), view)


def _full_name(model: str) -> str:
    """The name on the Hub; the catalogue knows the owners of its models."""
    known = known_student(model) if "/" not in model else None
    return model if known is None else known.name


def _view_of(folder: Path, template: str, view: Path) -> Path:
    """Links to a base's files, and another chat template; left alone if it is that already."""
    wanted = {path.name: path.resolve() for path in folder.iterdir() if path.name != _TEMPLATE}
    if _links(view) == wanted and own_template(view) == template:
        return view
    with whole_folder(view) as writing:
        for name, target in wanted.items():
            (writing / name).symlink_to(target)
        (writing / _TEMPLATE).write_text(template, encoding="utf-8")
    return view


def _links(view: Path) -> dict[str, Path]:
    if not view.is_dir():
        return {}
    return {path.name: path.resolve() for path in view.iterdir() if path.is_symlink()}
