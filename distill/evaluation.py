"""An evaluation on its own: one model, one benchmark, one folder, no recipe.

evaluation.json                       what was asked, with hashes of the model and of the problems
prompts/eval.jsonl                    the problems
eval/NAME.jsonl                       journal of the judged traces
eval/requests/NAME.jsonl              what an endpoint was asked
eval/results/NAME.json                the result; only once all samples are there
logs/server-1.log                     of a server that was started and failed

It is laid out as the stage ``eval`` of a run, so that whoever compares, explains or reports reads
both. The same command goes on where it was stopped; another setting is refused.

This module knows files, nothing of models.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from distill.benchmarks.table import BENCHMARKS
from distill.changes import compare, listed
from distill.errors import RunDirError
from distill.eval_result import BenchmarkFacts, EvalResult, read_result
from distill.layout import RunLayout
from distill.lock import FileLock
from distill.manifest import now
from distill.records import from_record, to_record
from distill.storage import make_folder, storage_errors, write_json_atomically
from distill.types import Sampling, Verifier
from distill.verify import build_verifier

FORMAT: Final = 1
_RECORD: Final = "evaluation.json"
_BEFORE: Final = ("run.lock", "logs")
"""What may be there before the record."""
_ELSEWHERE: Final = "Take another folder: --run-dir DIR; nothing was changed here."


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What is evaluated, and how.

    Attributes:
        who: Names the model in the folder, such as ``"my-student"``.
        model: As the user named it.
        fingerprint: Of the model.
        benchmark: Which problems.
        verifier: Who judges.
        verifier_kind: How that one is built, such as ``"answer"`` or ``"module:function"``.
        needs_box: Whether an answer without exactly one box is malformed.
        sampling: How completions are drawn.
        samples: Completions per problem; may be raised later.
        created: UTC.
        backend: Who drew a student, where that was not our own engine, such as ``"vllm"``.
    """

    who: str
    model: str
    fingerprint: str
    benchmark: BenchmarkFacts
    verifier: str
    verifier_kind: str
    needs_box: bool
    sampling: Sampling
    samples: int
    created: str
    backend: str = ""

    def build_verifier(self) -> Verifier:
        """Who judges, made anew.

        Raises:
            DistillError: If it cannot be made any more.
        """
        known = {one.name: one.options for one in BENCHMARKS}
        return build_verifier(self.verifier_kind, **known.get(self.benchmark.name, {}))


@dataclass(frozen=True, slots=True)
class StoredEvaluation:
    """A folder as it was found.

    Attributes:
        paths: What lies where in it.
        evaluation: What was asked.
        result: What came of it; ``None`` if it is not finished.
    """

    paths: RunLayout
    evaluation: Evaluation
    result: EvalResult | None


def is_evaluation(folder: Path) -> bool:
    """Whether a folder is that of an evaluation on its own."""
    return (folder / _RECORD).is_file()


def read_evaluation(folder: Path) -> StoredEvaluation:
    """Read a folder, for those who only look.

    Raises:
        RunDirError: If it is none, or one of another version of this program.
        DataError: If what stands in it is broken.
    """
    paths = RunLayout(folder)
    evaluation = _read(folder)
    if evaluation is None:
        raise RunDirError(f"{folder}: this is no folder of an evaluation")
    path = paths.result(evaluation.who)
    result = read_result(path) if path.is_file() else None
    if result is not None and result.report.samples != evaluation.samples:
        result = None  # more samples were wanted since
    return StoredEvaluation(paths, evaluation, result)


@contextmanager
def open_evaluation(folder: Path, wanted: Evaluation) -> Iterator[RunLayout]:
    """Create a folder, or go on with one that was asked the same; alone, until the block ends.

    Args:
        folder: It may be missing or empty.
        wanted: What is asked; only more samples may be wanted than before.

    Raises:
        RunDirError: If the folder is in use, holds something else, or was asked something else.
        StorageError: If the disk refuses.
    """
    refuse_foreign(folder)
    make_folder(folder)
    paths = RunLayout(folder)
    lock = FileLock(paths.lock, guards=folder)
    try:
        found = _read(folder)
        if found is not None:
            _refuse_other(folder, found, wanted)
            wanted = replace(wanted, created=found.created)
        if wanted != found:
            record = {"format": FORMAT, **to_record(wanted)}
            write_json_atomically(folder / _RECORD, record)
        yield paths
    finally:
        lock.release()


def refuse_foreign(folder: Path) -> None:
    """Refuse a folder that holds anything but an evaluation, or what one left that never began.

    Raises:
        RunDirError: If it does.
    """
    if not folder.exists() or is_evaluation(folder):
        return
    if not folder.is_dir():
        raise RunDirError(f"{folder}: this is a file", hint="Name a folder: --run-dir DIR")
    with storage_errors(folder):
        names = sorted(found.name for found in folder.iterdir())
    foreign = [name for name in names if name not in _BEFORE and not name.endswith(".tmp")]
    if foreign:
        what = "the folder of a run" if "manifest.json" in foreign else f"it holds {foreign[0]}"
        raise RunDirError(
            f"{folder}: this folder is not empty and no evaluation: {what}",
            hint="Name a new or empty one: --run-dir DIR",
        )


def new_evaluation(**known: Any) -> Evaluation:  # noqa: ANN401 - the fields of Evaluation
    """An evaluation that begins now."""
    return Evaluation(**known, created=now())


def _read(folder: Path) -> Evaluation | None:
    path = folder / _RECORD
    if not path.is_file():
        return None
    with storage_errors(path):
        data = path.read_bytes()
    try:
        record: Mapping[str, Any] = json.loads(data)
        found = record.get("format")
    except (ValueError, AttributeError) as error:
        raise RunDirError(f"{path}: not valid JSON: {error}") from None
    if found != FORMAT:
        raise RunDirError(
            f"{path}: an evaluation of format {found}; this version reads format {FORMAT}",
            hint=_ELSEWHERE,
        )
    fields = {key: value for key, value in record.items() if key != "format"}
    return from_record(Evaluation, fields, str(path))


def _refuse_other(folder: Path, found: Evaluation, wanted: Evaluation) -> None:
    same = replace(wanted, created=found.created, model=found.model, samples=found.samples)
    changes = compare(_told(found), _told(same))
    if changes:
        raise RunDirError(
            f"{folder} was begun with other settings:{listed(changes)}", hint=_ELSEWHERE
        )
    if wanted.samples < found.samples:
        raise RunDirError(
            f"{folder} was begun with {found.samples} samples of each problem, not"
            f" {wanted.samples}; they may be raised, not lowered",
            hint=f"{_ELSEWHERE} For pass@k of fewer samples: --k",
        )


def _told(evaluation: Evaluation) -> dict[str, Any]:
    """As text that names what differs."""
    record = to_record(evaluation)
    files = {one["name"]: one["sha256"][:12] for one in record["benchmark"].pop("files")}
    return {**record, "files": files}
