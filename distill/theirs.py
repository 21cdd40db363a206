"""Figures that another harness measured: kept beside ours, and never taken for ours.

Each file ``eval/theirs/NAME.json`` of a run or evaluation holds the figures of one harness, with
its name and version. It judges by its own rules and may sample otherwise, so nothing here is paired
with our results.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from distill.errors import DataError, StageError
from distill.layout import RunLayout
from distill.manifest import now
from distill.records import from_record, to_record
from distill.storage import storage_errors, write_json_atomically

FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class TheirFigure:
    """One figure.

    Attributes:
        task: As the harness calls it.
        metric: Likewise, such as ``"exact_match"``.
        filter: How answers were read, such as ``"strict-match"``; empty if it does not say.
        value: The figure.
        stderr: Its standard error; ``None`` if it gives none. Samples are its unit.
        problems: How many were asked; 0 if it does not say.
    """

    task: str
    metric: str
    filter: str
    value: float
    stderr: float | None
    problems: int


@dataclass(frozen=True, slots=True)
class TheirResult:
    """What a harness measured of one model.

    Attributes:
        format: Of this record.
        made_by: Name and version of the harness.
        model: What was measured, as the user named it.
        finished: UTC.
        figures: In its order.
    """

    format: int
    made_by: str
    model: str
    finished: str
    figures: tuple[TheirFigure, ...]


def read_lm_eval(folder: Path, model: str) -> TheirResult:
    """The newest results that lm-evaluation-harness wrote below a folder.

    Raises:
        StageError: If it wrote none.
        DataError: If they cannot be read.
    """
    files = sorted(folder.rglob("results_*.json"), key=lambda path: path.stat().st_mtime)
    if not files:
        raise StageError(f"{folder}: lm-eval wrote no results")
    try:
        table = json.loads(files[-1].read_text(encoding="utf-8"))
        figures = tuple(
            figure
            for task, metrics in table["results"].items()
            for figure in _figures(task, metrics, table.get("n-samples", {}))
        )
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise DataError(f"{files[-1]}: these are no results of lm-eval: {error}") from None
    version = table.get("lm_eval_version") or table.get("git_hash") or ""
    return TheirResult(FORMAT, f"lm-eval {version}".strip(), model, now(), figures)


def write_theirs(paths: RunLayout, name: str, result: TheirResult) -> Path:
    """Keep the figures of a harness beside ours; returns where.

    Raises:
        StorageError: If the disk refuses.
    """
    path = _folder(paths) / f"{name}.json"
    write_json_atomically(path, to_record(result))
    return path


def read_theirs(paths: RunLayout) -> list[TheirResult]:
    """All that other harnesses measured in a run or evaluation.

    Raises:
        DataError: If a file is broken.
    """
    found = []
    for path in sorted(_folder(paths).glob("*.json")):
        with storage_errors(path):
            data = path.read_bytes()
        try:
            record: Any = json.loads(data)
        except ValueError as error:
            raise DataError(f"{path}: not valid JSON: {error}") from None
        found.append(from_record(TheirResult, record, str(path)))
    return found


def _folder(paths: RunLayout) -> Path:
    return paths.root / "eval" / "theirs"


def _figures(task: str, metrics: dict[str, Any], counts: dict[str, Any]) -> list[TheirFigure]:
    """Keys are ``metric,filter`` with ``metric_stderr,filter`` beside them."""
    figures = []
    for key, value in metrics.items():
        metric, _, read_by = key.partition(",")
        if not isinstance(value, int | float) or metric.endswith("_stderr") or "," not in key:
            continue
        stderr = metrics.get(f"{metric}_stderr,{read_by}")
        is_known = isinstance(stderr, int | float) and math.isfinite(stderr)
        asked = counts.get(task, {})
        figures.append(
            TheirFigure(
                task,
                metric,
                "" if read_by == "none" else read_by,
                float(value),
                float(stderr) if is_known and stderr is not None else None,
                int(asked.get("effective", asked.get("original", 0))),
            )
        )
    return figures
