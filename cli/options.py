"""The arguments and options that several commands share, declared once."""

from pathlib import Path
from typing import Annotated

import typer

from distill.layout import Stage

RecipeFile = Annotated[
    Path,
    typer.Argument(
        metavar="RECIPE",
        help="A recipe (TOML), or the folder of a run that shall go on.",
        show_default=False,
    ),
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
        help="Begin again at this stage; what it and later ones made is put aside.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout, and no tables.")
]
BudgetUsd = Annotated[
    float | None,
    typer.Option(
        "--budget-usd",
        metavar="USD",
        min=0.0,
        help="Stop before this is spent, what earlier tries spent included.",
        show_default=False,
    ),
]
BudgetTokens = Annotated[
    str | None,
    typer.Option(
        "--budget-tokens",
        metavar="N",
        help="The same for tokens read and written, such as 500000, 800K or 3M.",
        show_default=False,
    ),
]
Deadline = Annotated[
    str | None,
    typer.Option(
        "--deadline",
        metavar="WHEN",
        help="Ask for nothing after this: 6h, 90m, or 2026-11-25T06:00.",
        show_default=False,
    ),
]
OffPeakOnly = Annotated[
    bool,
    typer.Option("--off-peak-only", help="Wait while the endpoint charges its peak price."),
]
Reuse = Annotated[
    Path | None,
    typer.Option(
        "--reuse",
        metavar="RUN",
        help="Take over the answers that another run has paid for: same model, text and settings.",
        show_default=False,
    ),
]
On = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="WHERE",
        help="Spread the work over processes with Ray: local, auto, or a cluster's address, such as"
        " ray://head:10001. The run's folder must be on a disk that all its machines share.",
        show_default=False,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        min=1,
        help="With --on: how many processes.  [default: one for each core]",
        show_default=False,
    ),
]
Pilot = Annotated[
    int | None,
    typer.Option(
        "--pilot",
        metavar="N",
        min=1,
        help="Sample the first N prompts only, to measure what all will cost.",
        show_default=False,
    ),
]
Preview = Annotated[
    int | None,
    typer.Option(
        "--preview",
        metavar="N",
        min=1,
        help="Show the first N rows as training would see them, what is trained marked; then end.",
        show_default=False,
    ),
]
