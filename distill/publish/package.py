"""What is published of a folder: the files that belong, a card, and the lineage of them all.

Files are linked, not copied, into a folder beside the original, which the upload then takes as it
is. Only what a user of the model needs belongs: no pickle, no optimizer state, no journal.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from distill.comparison import EvalReport
from distill.errors import DataError, ModelError
from distill.eval_result import EvalResult
from distill.hub_results import write_hub_results
from distill.licences import LicenceView, licence_view
from distill.lineage import FORMAT, LINEAGE_FILE, Lineage, read_lineage, steps_of, write_lineage
from distill.publish.card import (
    CardFacts,
    base_of,
    data_card,
    model_card,
    teachers_of,
)
from distill.records import from_record
from distill.signature import sign_folder
from distill.storage import files_of, storage_errors
from distill.stored_run import read_run

CARD: Final = "README.md"
_WEIGHTS: Final = (".safetensors", ".gguf")
_BELONGS: Final = (*_WEIGHTS, ".json", ".jinja", ".txt", ".model")
_NAMES: Final = ("Modelfile", "LICENSE", "NOTICE")
# JSON of a trainer, of a journal, or of this machine.
_NEVER: Final = ("trainer_state.json", "training_args.json", "origin.json", "requests.json")


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """One file of a publication.

    Attributes:
        name: Named from the folder.
        size: In bytes.
    """

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Package:
    """What is to be published.

    Attributes:
        source: Folder that it was made from.
        folder: Where it lies, ready for the upload.
        files: All that is sent, by name.
        left_out: Files of the source that do not belong.
        card: Text of its card.
        licence: What the terms of its base and teachers say.
        kind: Of the repository that it belongs in.
    """

    source: Path
    folder: Path
    files: tuple[PublishedFile, ...]
    left_out: tuple[str, ...]
    card: str
    licence: LicenceView
    kind: Literal["model", "dataset"] = "model"

    @property
    def total_bytes(self) -> int:
        """Of all files."""
        return sum(file.size for file in self.files)


def student_in(path: Path) -> Path:
    """The student's folder, where the user named that of its run.

    Raises:
        DataError: If that run has no student yet.
    """
    inner = path / "student"
    if (path / "manifest.json").is_file() and not inner.exists():
        raise DataError(
            f"{path}: this run has no student yet", hint="distill train RECIPE makes it"
        )
    return inner if (inner / "config.json").is_file() else path


@contextmanager
def packaged_model(
    source: Path,
    name: str,
    *,
    accepts_risk: bool,
    results: Sequence[EvalResult] = (),
    signing_key: Path | None = None,
) -> Iterator[Package]:
    """Make a student's folder ready for its publication; what was made goes with the block.

    Args:
        source: Folder of a student or of an export of one.
        name: What it is to be called, without its owner.
        accepts_risk: Whether the user goes on against terms; the card says so then.
        results: Of benchmarks, measured with this folder.
        signing_key: Private key to sign with; ``None`` for no signature.

    Raises:
        DataError: If the folder has no lineage, or it is broken.
        LicenceError: If terms stand in the way.
        ModelError: If there are no weights that belong.
    """
    lineage = read_lineage(source)
    names = [path.relative_to(source).as_posix() for path in files_of(source)]
    kept = [one for one in names if belongs(one)]
    if not any(one.endswith(_WEIGHTS) for one in kept):
        raise ModelError(
            f"{source}: there are no weights in it as {' or '.join(_WEIGHTS)}",
            hint="pickled weights are never published; `distill export` writes safetensors",
        )
    licence = licence_view(name, base_of(lineage), teachers_of(lineage))
    licence.require(accepted=accepts_risk)
    card = model_card(
        CardFacts(
            name=name,
            lineage=lineage,
            licence=licence,
            files=tuple(kept),
            evaluation=evaluation_of(source, lineage),
            results=tuple(results),
            is_at_risk=bool(licence.concerns),
        )
    )
    left_out = tuple(one for one in names if one not in (*kept, LINEAGE_FILE, CARD))
    with _linked(source, kept) as folder:
        (folder / CARD).write_text(card, encoding="utf-8")
        for result in results:
            write_hub_results(folder, result)
        # The same steps again: the same folder gives the same bytes, however often it is sent.
        write_lineage(folder, lineage.name, lineage.steps)
        if signing_key is not None:
            sign_folder(folder, signing_key)
        yield Package(source, folder, _listed(folder), left_out, card, licence)


@contextmanager
def packaged_data(source: Path, name: str) -> Iterator[Package]:
    """The same for a file of examples or traces; its card says what is known of it.

    Raises:
        DataError: If the file is no Parquet or JSONL.
    """
    if source.suffix not in {".parquet", ".jsonl"}:
        raise DataError(
            f"{source}: a data set is published as Parquet or JSONL",
            hint="train.parquet in a run folder is what its student learnt from",
        )
    run = source.resolve().parent
    steps = []
    if (run / "manifest.json").is_file():
        stored = read_run(run)
        steps = [
            one for one in steps_of(stored.manifest, stored.recipe, {}) if one.stage != "train"
        ]
    lineage = Lineage(FORMAT, "", name, tuple(steps), {})
    licence = licence_view(name, "", teachers_of(lineage))
    card = data_card(name, lineage, licence)
    with _linked(source.parent, [source.name]) as folder:
        (folder / CARD).write_text(card, encoding="utf-8")
        write_lineage(folder, name, steps)
        yield Package(source, folder, _listed(folder), (), card, licence, "dataset")


def belongs(name: str) -> bool:
    """Whether a file of a model folder is published.

    Example:
        >>> [belongs(name) for name in ("model.safetensors", "adapter/optimizer.pt", "a.jsonl")]
        [True, False, False]
    """
    path = Path(name)
    if path.name in _NEVER or path.name == LINEAGE_FILE or any(p[0] == "." for p in path.parts):
        return False
    return path.suffix in _BELONGS or path.name in _NAMES


def evaluation_of(source: Path, lineage: Lineage) -> EvalReport | None:
    """What the run around a student's folder has measured of these very weights."""
    run = source.resolve().parent
    if source.name != "student" or not (run / "manifest.json").is_file():
        return None
    manifest = read_run(run).manifest
    record = manifest.stages.get("eval")
    if record is None or record.finished is None:
        return None
    measured = {
        name.removeprefix("student/"): value
        for name, value in record.inputs.items()
        if name.startswith("student/") and not name.endswith(LINEAGE_FILE)
    }
    if any(lineage.files.get(name) != value for name, value in measured.items()):
        raise DataError(
            f"{run}: its evaluation is of other weights than those in {source}",
            hint=f"evaluate these: distill eval {run} --restart-from eval",
        )
    return from_record(EvalReport, dict(record.summary["report"]), f"{run}/manifest.json")


@contextmanager
def _linked(source: Path, names: list[str]) -> Iterator[Path]:
    folder = source.resolve().with_name(f".publishing-{source.resolve().name}")
    try:
        with storage_errors(folder):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for name in names:
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link(source / name, target)
                except OSError:  # another file system, or one without links
                    shutil.copyfile(source / name, target)
            (folder / CARD).unlink(missing_ok=True)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _listed(folder: Path) -> tuple[PublishedFile, ...]:
    return tuple(
        PublishedFile(path.relative_to(folder).as_posix(), path.stat().st_size)
        for path in files_of(folder)
    )
