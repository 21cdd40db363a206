"""The arguments and options that several commands share, declared once."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Stage(StrEnum):
    """The stages of a run, in their order."""

    GENERATE = "generate"
    FILTER = "filter"
    TRAIN = "train"
    EVAL = "eval"


RecipeFile = Annotated[
    Path, typer.Argument(metavar="RECIPE", help="The recipe, a TOML file.", show_default=False)
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one key of the recipe, such as train.epochs=3; may be given several times.",
        show_default=False,
    ),
]
RunFolder = Annotated[
    Path | None,
    typer.Option(
        "--run-dir", metavar="DIR", help="The run's folder.  [default: runs/NAME-OF-RECIPE]"
    ),
]
Controls = Annotated[
    bool,
    typer.Option(
        "--controls",
        help="Also train and evaluate the student on answers only and on unfiltered traces.",
    ),
]
RestartFrom = Annotated[
    Stage | None,
    typer.Option(
        "--restart-from",
        metavar="STAGE",
        help="Forget the results of this stage and of those after it.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout, and no tables.")
]
