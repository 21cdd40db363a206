"""``distill benchmarks``: the benchmarks that are known, and whether their data is here."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import columns, paint, say, say_json, table
from cli.options import AsJson

if TYPE_CHECKING:
    from distill.benchmarks.table import Benchmark


def benchmarks(
    benchmark: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Show all that is known of one.")
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List the known benchmarks: problems, verifier, data.

    Problems are not part of the package, but for the embedded ones: their files are fetched from
    the Hub on first use, or taken from a copy of yours. A file with text and answer is a benchmark
    as well.

    Example: distill benchmarks math500
    """
    from distill.benchmarks.table import BENCHMARKS, find_benchmark

    shown = [find_benchmark(benchmark)] if benchmark else list(BENCHMARKS)
    if as_json:
        say_json([_as_json(one) for one in shown])
    elif benchmark:
        _say_one(shown[0])
    else:
        rows = [["", "problems", "samples", "verifier", "data"]]
        rows += [
            [one.name, f"{one.problems:,}", str(one.samples), one.verifier, _state(one)]
            for one in shown
        ]
        say(table(rows))
        say("\nMore on one: distill benchmarks NAME")
        say("Use one:     distill eval MODEL --benchmark NAME, or a file with text and answer")


def _say_one(one: "Benchmark") -> None:
    from distill.benchmarks.locate import how_to_fetch

    place = _place(one)
    rows = [
        ("problems", f"{one.problems:,}"),
        ("samples", f"{one.samples} of each, unless --samples says otherwise"),
        ("verifier", one.verifier),
        ("version", one.version),
        ("licence", one.licence or "its card says nothing"),
        ("data set", one.hub or "in the package"),
        ("data", _state(one) + (f": {place}" if place else "")),
    ]
    rows += [("note", one.note)] if one.note else []
    say(f"{paint(one.name, 'bold')}  {one.title}")
    say(columns(rows))
    if one.hub and not place:
        say("\nIt is fetched on first use; or, without a network here,")
        say("\n".join(f"  {line}" for line in how_to_fetch(one).split("\n")))


def _state(one: "Benchmark") -> str:
    if one.read is None:
        return "in the package"
    return "here" if _place(one) else "not here"


def _place(one: "Benchmark") -> str:
    """The folder that its files are in; empty if they are not here."""
    from distill.benchmarks.locate import find_files

    found = find_files(one) if one.read is not None else None
    return str(found.files[0].parent) if found else ""


def _as_json(one: "Benchmark") -> dict[str, Any]:
    from distill.benchmarks.locate import local_folder

    return {
        "name": one.name,
        "title": one.title,
        "version": one.version,
        "problems": one.problems,
        "samples": one.samples,
        "verifier": one.verifier,
        "hub": one.hub,
        "files": list(one.files),
        "licence": one.licence,
        "note": one.note,
        "is_present": one.read is None or bool(_place(one)),
        "place": _place(one),
        "expected": str(local_folder(one)) if one.hub else "",
    }
