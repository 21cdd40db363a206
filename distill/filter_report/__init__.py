"""One self-contained page about a filter: figures, plots, examples."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distill.filter_setup import FilterSetup
from distill.funnel import FilterReport
from distill.storage import write_atomically


def write_page(
    path: Path,
    report: FilterReport,
    examples: Mapping[str, Sequence[Mapping[str, Any]]],
    setup: FilterSetup,
) -> None:
    """Write the page, whole or not at all."""
    write_atomically(path, f"<!doctype html><title>{report.kept}</title>".encode())
