"""``AskedLog``: what was asked of an endpoint, noted before it is sent.

An answer that was paid for and never stored leaves no trace in the journal of traces. What was
asked, less what was stored, is therefore what may have been billed for nothing. The log is written
without waiting for the disk: it survives a kill; after a power cut the last lines may be missing.

This module knows requests, nothing of prices.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import orjson

from distill.errors import TeacherError
from distill.journal import Journal
from distill.types import Request


class AskedLog:
    """The log of one sampling run, open for writing."""

    def __init__(self, journal: Journal, asked: int, answered: int) -> None:
        """Use `open`."""
        self._journal = journal
        self._asked_before = asked
        self._answered_before = answered

    @classmethod
    def open(cls, path: Path, *, answered: int) -> "AskedLog":
        """Open or create a log.

        Args:
            path: A file of its own, beside the journal of traces.
            answered: Records in the journal of traces, those of failed samples included.

        Raises:
            RunDirError: If another process writes to it.
            DataError: If a record before the last one is broken.
            StorageError: If the disk refuses.
        """
        journal = Journal.open(path)
        asked = 0
        for record in journal.records():
            asked += len(record["samples"]) if record["kind"] == "asked" else -record["count"]
        return cls(journal, asked, answered)

    @property
    def unanswered(self) -> int:
        """Requests of earlier tries that may have been billed and whose answer is not stored."""
        return max(self._asked_before - self._answered_before, 0)

    def note(self, requests: Sequence[Request]) -> None:
        """Note what is about to be sent.

        Raises:
            StorageError: If the disk refuses.
        """
        samples = [[request.prompt.id, request.sample_index] for request in requests]
        self._journal.append(orjson.dumps({"kind": "asked", "samples": samples, "at": _now()}))
        self._journal.write()

    def close(self, error: BaseException | None) -> None:
        """End the log; what a ``TeacherError`` says was refused was not billed."""
        if isinstance(error, TeacherError) and error.refused:
            self._journal.append({"kind": "refused", "count": error.refused, "at": _now()})
        self._journal.close()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
