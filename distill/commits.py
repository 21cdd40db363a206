"""``GroupCommits``: records are written and synced in the background, many at a time.

A sync takes milliseconds whatever it syncs, so records gather for a moment and one sync takes them
all: the rate of answers does not depend on the disk's. Who appends learns later which records are
safe, and counts them only then; who has nothing else to do can ask for the sync at once.

This module knows journals and threads, nothing of what a record means.
"""

import threading
from collections import deque
from collections.abc import Mapping
from typing import Generic, TypeVar

from distill.closing import Closing
from distill.journal import Journal

T = TypeVar("T")

_GATHER_SECONDS = 0.02


class GroupCommits(Closing, Generic[T]):
    """A journal that one thread appends to and another one commits.

    Each record comes with a token, which is given back once the record is safe. While this is
    open, nothing else may append to the journal or commit it.
    """

    def __init__(self, journal: Journal) -> None:
        """Start the committing thread."""
        self._journal = journal
        self._waiting: deque[tuple[int, T]] = deque()
        self._failure: BaseException | None = None
        self._is_closing = False
        self._is_urgent = False
        self._is_resting = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._commit_all, name="journal", daemon=True)
        self._thread.start()

    @property
    def is_waiting(self) -> bool:
        """Whether records were appended whose tokens were not given back."""
        return bool(self._waiting)

    def append(self, record: Mapping[str, object] | bytes, token: T) -> None:
        """Take a record; its token comes back from `safe` or `wait` once it is on the disk."""
        self._journal.append(record)
        self._waiting.append((self._journal.appended_records, token))
        if self._is_resting:
            with self._changed:
                self._is_urgent = self._is_urgent and not self._is_idle()
                self._changed.notify_all()

    def safe(self) -> list[T]:
        """Tokens of the records that became safe since the last call, in order; never waits.

        Raises:
            StorageError: If the disk refused; the records that are safe stay so.
        """
        if self._failure is not None:
            raise self._failure
        found: list[T] = []
        records = self._journal.safe_records
        while self._waiting and self._waiting[0][0] <= records:
            found.append(self._waiting.popleft()[1])
        return found

    def wait(self) -> list[T]:
        """The same once everything that was appended is safe."""
        with self._changed:
            self._is_urgent = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._failure is not None or self._is_idle())
        return self.safe()

    def close(self) -> None:
        """Commit what is left and end the thread; the failure of a commit stays the journal's."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join()

    def _is_wanted_now(self) -> bool:
        return self._is_closing or self._is_urgent

    def _is_idle(self) -> bool:
        return self._journal.safe_records == self._journal.appended_records

    def _commit_all(self) -> None:
        while True:
            with self._changed:
                self._is_resting = True
                self._changed.wait_for(lambda: self._is_closing or not self._is_idle())
                self._is_resting = False
                if self._is_idle():
                    return
                self._changed.wait_for(self._is_wanted_now, timeout=_GATHER_SECONDS)
            try:
                self._journal.commit()
            except BaseException as failure:  # noqa: BLE001 - raised again where it is waited for
                with self._changed:
                    self._failure = failure
                    self._changed.notify_all()
                return
            with self._changed:
                self._is_urgent = self._is_urgent and not self._is_idle()
                self._changed.notify_all()
