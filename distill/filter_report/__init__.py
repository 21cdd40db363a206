"""One self-contained page about a filter: figures, plots, examples; no script, nothing fetched."""

from pathlib import Path

from distill.filter_report.page import Examples, page
from distill.filter_setup import FilterSetup
from distill.funnel import FilterReport
from distill.storage import write_atomically


def write_page(path: Path, report: FilterReport, examples: Examples, setup: FilterSetup) -> None:
    """Write the page, whole or not at all.

    Raises:
        StorageError: If the disk refuses.
    """
    write_atomically(path, page(report, examples, setup).encode("utf-8", "replace"))
