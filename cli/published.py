"""What ``push`` and ``bundle`` share: the options of a publication, and its evaluations."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from distill.eval_result import EvalResult

AcceptRisk = Annotated[
    bool, typer.Option("--accept-licence-risk", help="Go on against terms; the card says so.")
]
Results = Annotated[
    list[Path] | None,
    typer.Option(
        "--results",
        metavar="DIR",
        help="An evaluation of it by `distill eval`, for the card; may be given several times.",
        show_default=False,
    ),
]
SigningKey = Annotated[
    Path | None,
    typer.Option("--sign", metavar="KEY.pem", help="Sign its files with a private EC key."),
]


def read_results(source: Path, folders: Sequence[Path]) -> "tuple[EvalResult, ...]":
    """The results in folders of evaluations.

    Args:
        source: Folder of the model that is published.
        folders: Of evaluations.

    Raises:
        DataError: If one is not finished, or of another model.
        RunDirError: If one is no folder of an evaluation.
    """
    from distill.errors import DataError
    from distill.evaluation import read_evaluation

    found = []
    own = _fingerprints(source) if folders else set()
    for folder in folders:
        result = read_evaluation(folder).result
        if result is None:
            raise DataError(
                f"--results {folder}: this evaluation is not finished",
                hint="the command that began it goes on where it stopped",
            )
        if result.report.fingerprint not in own:
            raise DataError(
                f"--results {folder}: an evaluation of another model than {source}",
                hint=f"evaluate this one: distill eval {source} --benchmark"
                f" {result.benchmark.name}",
            )
        found.append(result)
    return tuple(found)


def _fingerprints(source: Path) -> set[str]:
    """What an evaluation of this folder, or of a GGUF file in it, calls it."""
    from distill.digest import sha256_file
    from engine.model_files import folder_fingerprint

    found = {sha256_file(path)[:16] for path in source.glob("*.gguf")}
    return found | ({folder_fingerprint(source)} if (source / "config.json").is_file() else set())
