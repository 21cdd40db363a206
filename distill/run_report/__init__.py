"""One self-contained page about a run: funnel, loss, accuracy, lengths, wins and losses."""

from pathlib import Path

from distill.run_report.evidence import read_evidence
from distill.run_report.page import page
from distill.storage import write_atomically
from distill.stored_run import StoredRun


def write_report(stored: StoredRun) -> Path:
    """Write the page about what a run has done so far, whole or not at all.

    Returns:
        Where it lies, in the run folder.

    Raises:
        DataError: If a file of the run is broken.
        StorageError: If the disk refuses.
    """
    path = stored.paths.page
    write_atomically(path, page(stored, read_evidence(stored)).encode("utf-8", "replace"))
    return path
