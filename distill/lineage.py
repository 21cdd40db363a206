"""``Lineage``: where a model folder comes from, in a file that travels with its weights.

``lineage.json`` holds a record of each stage that led to the weights, from prompts to training and
export, with the digests of what it read and made, and that of every other file of the folder.
It ends with a hash of itself. No path of a machine is in it: files are named as in the run folder,
others by their last part.

This module knows files and records, nothing of models.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from distill import __version__
from distill.digest import differ, digest_file
from distill.errors import DataError
from distill.layout import STAGES
from distill.manifest import RunManifest, current_versions, now
from distill.records import from_record, to_record
from distill.storage import files_of, storage_errors, write_atomically

if TYPE_CHECKING:
    from distill.recipe import Recipe

FORMAT: Final = 1
"""Raised when an older program could misread a lineage."""

LINEAGE_FILE: Final = "lineage.json"
SIGNATURE_FILE: Final = "model.sig"
"""Made last, of all files and the lineage: so no lineage can list it."""

_LONG: Final = 64
# Names of hosts and variables tell about the user and not about the model.
_PRIVATE: Final = ("base_url", "key_variable")
# Of the folder and not of the model: what tools leave behind, and the signature.
_NOT_PART: Final = (".git", ".cache", ".gitattributes", SIGNATURE_FILE)
_SECTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "generate": ("teacher", "prompts", "generate", "verify"),
    "filter": ("filter", "select", "blend"),
    "train": ("student", "train"),
}


@dataclass(frozen=True, slots=True)
class Step:
    """One stage that led to the weights.

    Attributes:
        stage: Its name.
        recipe: The sections of the recipe that it was done by, with every default.
        settings: What it depended on besides, such as the teacher's fingerprint.
        seed: Of the recipe; ``None`` where nothing is drawn.
        inputs: File to the digest of what it read.
        outputs: The same of what it made.
        begun: UTC.
        finished: UTC; empty for the one that wrote the record.
        versions: Name to version of what ran.
        figures: Its summary; of a long list its first and last.
    """

    stage: str
    recipe: Mapping[str, Any]
    settings: Mapping[str, Any]
    seed: int | None
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    begun: str
    finished: str
    versions: Mapping[str, str]
    figures: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Lineage:
    """What led to a folder, and what is in it.

    Attributes:
        format: Of this record.
        made_by: Such as ``"distill 0.1.0"``.
        name: Of the run.
        steps: First to last.
        files: File of the folder to its digest, all but the lineage itself.
    """

    format: int
    made_by: str
    name: str
    steps: tuple[Step, ...]
    files: Mapping[str, str]

    def step(self, stage: str) -> Step | None:
        """The last step of that name."""
        return next((step for step in reversed(self.steps) if step.stage == stage), None)


def steps_of(
    manifest: RunManifest, recipe: "Recipe", figures: Mapping[str, Mapping[str, Any]]
) -> list[Step]:
    """The stages of a run that lead to its student.

    Args:
        manifest: Of the run.
        recipe: Of the run.
        figures: By stage: summaries that the manifest does not have yet.
    """
    sections = _without_folders(recipe.model_dump())
    steps = []
    for stage in STAGES[: STAGES.index("train") + 1]:
        record = manifest.stages.get(stage)
        if record is None:
            continue
        versions = record.versions or current_versions()
        steps.append(
            Step(
                stage=stage,
                recipe={key: sections[key] for key in _SECTIONS[stage] if key in sections},
                settings=record.settings,
                seed=recipe.seed,
                inputs={_inside(name): value for name, value in record.inputs.items()},
                outputs=record.outputs,
                begun=record.begun,
                finished=record.finished or "",
                versions={
                    "distill": versions.distill,
                    "python": versions.python,
                    "platform": versions.platform,
                    **versions.libraries,
                },
                figures=_shortened(figures.get(stage) or record.summary),
            )
        )
    return steps


def new_step(
    stage: str,
    *,
    settings: Mapping[str, Any],
    inputs: Mapping[str, str],
    figures: Mapping[str, Any],
) -> Step:
    """A step that no run folder knows, such as an export, done now."""
    versions = current_versions()
    libraries = {"distill": versions.distill, "python": versions.python, **versions.libraries}
    return Step(stage, {}, settings, None, inputs, {}, now(), now(), libraries, figures)


def write_lineage(
    folder: Path,
    name: str,
    steps: Sequence[Step],
    *,
    known: Mapping[str, str] = MappingProxyType({}),
) -> Lineage:
    """Write the lineage of a folder whose other files are complete.

    Args:
        folder: Of a model.
        name: Of the run.
        steps: What led to it.
        known: Digests that were taken while files were written; these are not read again.

    Raises:
        StorageError: If the disk refuses.
    """
    with storage_errors(folder):
        files = {
            path: known.get(path) or digest_file(folder / path) for path in listed_files(folder)
        }
    lineage = Lineage(FORMAT, f"distill {__version__}", name, tuple(steps), files)
    write_atomically(folder / LINEAGE_FILE, _encode(to_record(lineage)))
    return lineage


def carry_lineage(
    source: Path,
    target: Path,
    step: Step,
    *,
    known: Mapping[str, str] = MappingProxyType({}),
) -> Lineage | None:
    """Give what was made of a model folder that folder's lineage, and one more step.

    Args:
        source: The model folder; nothing is written if it has no lineage.
        target: What was made of it, complete.
        step: What was done.
        known: As for ``write_lineage``.

    Raises:
        DataError: If the lineage of the source is broken.
        StorageError: If the disk refuses.
    """
    if not (source / LINEAGE_FILE).is_file():
        return None
    found = read_lineage(source)
    inputs = {**found.files, **step.inputs}
    steps = [*found.steps, replace(step, inputs=inputs)]
    return write_lineage(target, found.name, steps, known=known)


def read_lineage(folder: Path) -> Lineage:
    """Read the lineage of a model folder.

    Raises:
        DataError: If there is none, or it was changed since it was written.
    """
    path = folder / LINEAGE_FILE
    if not path.is_file():
        raise DataError(
            f"{folder}: there is no {LINEAGE_FILE}, so nobody knows where this model comes from",
            hint="`distill train` and `distill export` write it; name the student's own folder.",
        )
    with storage_errors(path):
        data = path.read_bytes()
    try:
        record: Any = json.loads(data)
        digest = record.pop("sha256")
    except (ValueError, KeyError, AttributeError, TypeError):
        raise DataError(f"{path}: changed since it was written: not a lineage") from None
    if _encode(record) != data or digest != _digest(record):
        raise DataError(f"{path}: changed since it was written")
    if record.get("format") != FORMAT:
        raise DataError(
            f"{path}: a lineage of format {record.get('format')}; this version reads {FORMAT}"
        )
    return from_record(Lineage, record, str(path))


def broken_links(lineage: Lineage) -> list[tuple[str, str]]:
    """(stage, file) of each input that is not what an earlier stage made under that name."""
    made: dict[str, str] = {}
    broken = []
    for step in lineage.steps:
        broken += [
            (step.stage, name)
            for name, value in step.inputs.items()
            if differ(made.get(name, value), value)
        ]
        made |= step.outputs
    return broken


def listed_files(folder: Path) -> list[str]:
    """Files that a lineage lists, named from the folder."""
    names = (path.relative_to(folder) for path in files_of(folder))
    return [
        name.as_posix()
        for name in names
        if name.as_posix() != LINEAGE_FILE and name.parts[0] not in _NOT_PART
    ]


def _encode(record: Mapping[str, Any]) -> bytes:
    """The one form of a record as a file, so that every changed byte shows."""
    whole = {**record, "sha256": _digest(record)}
    return f"{json.dumps(whole, ensure_ascii=True, allow_nan=False, indent=1)}\n".encode()


def _digest(record: Mapping[str, Any]) -> str:
    text = json.dumps(record, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _without_folders(value: object) -> Any:  # noqa: ANN401 - a JSON value
    """A recipe's values as JSON without what is private; of a path only its name."""
    if isinstance(value, Mapping):
        public = {key: inner for key, inner in value.items() if key not in _PRIVATE}
        return {key: _without_folders(inner) for key, inner in public.items()}
    if isinstance(value, tuple | list):
        return [_without_folders(inner) for inner in value]
    return value.name if isinstance(value, PurePath) else value


def _inside(name: str) -> str:
    """A file of the run as it is named there, any other by its last part."""
    return PurePath(name).name if name.startswith(("/", "..")) else name


def _shortened(figures: Mapping[str, Any]) -> dict[str, Any]:
    """A summary without its long lists of numbers."""
    found = {}
    for key, value in figures.items():
        is_series = isinstance(value, list | tuple) and all(
            isinstance(one, int | float) for one in value
        )
        found[key] = [value[0], value[-1]] if is_series and len(value) > _LONG else value
    return found
