"""``distill report``: the whole run on one page, for a browser."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from cli.console import say, say_json
from cli.options import AsJson


def report(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of a run.", show_default=False)
    ],
    *,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write one page about a run: funnel, loss, accuracy, wins.

    The page is a file of its own that fetches nothing; stages that are not done yet are left out.

    Example: distill report runs/quickstart --open
    """
    from distill.run_report import write_report
    from distill.stored_run import read_run

    stored = read_run(run)
    path = write_report(stored)
    if as_json:
        say_json({"run": str(run), "page": str(path), "bytes": path.stat().st_size})
    else:
        say(f"{path}  ({path.stat().st_size / 1024:,.0f} KiB)")
    if show:
        webbrowser.open(path.resolve().as_uri())
