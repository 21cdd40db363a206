"""Results to be compared: read from run folders, folders of evaluations, or result files.

A reference is ``[NAME=]PATH[:WHO]``. A run folder alone stands for all of its models, one beside
others for its student; ``:WHO`` picks a model.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from distill.comparison import BASE, STUDENT, TEACHER
from distill.errors import DataError, RunDirError
from distill.eval_result import EvalResult, read_result
from distill.evaluation import is_evaluation, read_evaluation
from distill.layout import RunLayout
from distill.stored_run import read_run

_NAMED: Final = re.compile(r"([A-Za-z_][\w.-]*)=(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Measured:
    """A model that was measured, by the name that it has in a comparison.

    Attributes:
        name: Different from all others'.
        place: Where its result was read.
        result: The result.
        family: Its base and teacher in the same run, by their part in it.
    """

    name: str
    place: Path
    result: EvalResult
    family: tuple[EvalResult, ...] = ()


def read_measured(references: Sequence[str]) -> list[Measured]:
    """The models that references mean, in their order.

    Raises:
        DataError: If one has no result, or two have one name.
        RunDirError: If one is no such folder.
    """
    is_alone = len(references) == 1
    found: list[tuple[bool, Measured]] = []
    for reference in references:
        named = _NAMED.fullmatch(reference)
        given = "" if named is None or Path(reference).exists() else named[1]
        text = named[2] if named is not None and given else reference
        models = _read(text, is_alone=is_alone)
        if given and len(models) > 1:
            models = [one for one in models if one.name == STUDENT] or models
        if given:
            models = [replace(models[0], name=given)]
        found += [(bool(given), one) for one in models]
    return _told_apart(found)


def refuse_other_problems(measured: Sequence[Measured]) -> None:
    """Make sure that all were asked the same problems.

    Raises:
        DataError: If not; says what each was asked.
    """
    hashes = {one.result.benchmark.prompts_hash for one in measured}
    if len(hashes) == 1:
        return
    lines = []
    for one in measured:
        facts = one.result.benchmark
        version = f" version {facts.version}" if facts.version else ""
        lines.append(
            f"\n  {one.name}: {facts.name}{version}, {facts.prompts:,} problems"
            f" (sha256 {facts.prompts_hash[:12]})"
        )
    first, *others = ({problem.id for problem in one.result.report.problems} for one in measured)
    common = len(first.intersection(*others))
    raise DataError(
        f"these were not measured on the same problems:{''.join(lines)}",
        hint=f"{common:,} ids occur in all of them, but a difference is only fair on the same"
        " problems, gold answers and prompts included. Evaluate both on one benchmark.",
    )


def _read(text: str, *, is_alone: bool) -> list[Measured]:
    path, who = Path(text), ""
    if not path.exists():
        before, colon, after = text.rpartition(":")
        if not colon or not Path(before).exists():
            raise DataError(
                f"{text}: there is no such run folder or result",
                hint="Give run folders, folders that `distill eval MODEL --benchmark` made, or"
                " result files; NAME=PATH names one, PATH:WHO picks a model of a run.",
            )
        path, who = Path(before), after
    if path.is_file():
        result = read_result(path)
        return [Measured(result.report.who, path, result)]
    if is_evaluation(path):
        return [_of_evaluation(path)]
    return _of_run(path, who or ("" if is_alone else STUDENT))


def _of_evaluation(path: Path) -> Measured:
    stored = read_evaluation(path)
    if stored.result is None:
        raise DataError(
            f"{path}: this evaluation is not finished, so it has no result",
            hint="Run the same `distill eval` command again: it goes on from here.",
        )
    return Measured(stored.evaluation.who, path, stored.result)


def _of_run(path: Path, who: str) -> list[Measured]:
    stored = read_run(path)
    if not stored.manifest.is_finished("eval"):
        raise DataError(
            f"{path}: stage 'eval' of this run is not finished, so it has no results",
            hint=f"Finish it: distill eval {path}",
        )
    results = _results(stored.paths)
    if not results:
        raise RunDirError(f"{path}: there are no results in eval/results")
    if who and who not in results:
        raise DataError(f"{path}: it has no model '{who}'; it has {', '.join(results)}")
    family = tuple(results[part] for part in (BASE, TEACHER) if part in results)
    models = [results[who]] if who else list(results.values())
    return [
        Measured(one.report.who, path, one, family if one.report.who == STUDENT else ())
        for one in models
    ]


def _results(paths: RunLayout) -> dict[str, EvalResult]:
    """By part, the student first."""
    folder = paths.result("x").parent
    results = [read_result(path) for path in sorted(folder.glob("*.json"))]
    results.sort(key=lambda one: one.report.who != STUDENT)
    return {one.report.who: one for one in results}


def _told_apart(found: Sequence[tuple[bool, Measured]]) -> list[Measured]:
    """Where two have one name, those that the user did not name get that of their folder."""
    counts = Counter(one.name for _, one in found)
    measured = []
    for is_given, one in found:
        place = one.place.parent.parent.parent if one.place.is_file() else one.place
        name = one.name if is_given or counts[one.name] == 1 else place.resolve().name
        measured.append(replace(one, name=name))
    twice = [name for name, count in Counter(one.name for one in measured).items() if count > 1]
    if twice:
        raise DataError(f"two of them are named '{twice[0]}'", hint="Name them: new=PATH old=PATH")
    return measured
