"""``Journal``: an append-only file of JSON records that survives a kill and a power cut.

One record is one line, valid JSON, and ends with a checksum of what stands before it:

    {"prompt_id":"train-1/0","sample_index":0,"crc":"5f0c3a1e"}

A record is *safe* once `commit` has returned: written and synced. What a crash leaves behind is
the safe records and perhaps a torn last one, which the next `open` cuts. A record that is broken
anywhere else was changed by something else, and is never passed over.

This module knows lines and records, nothing of what they mean.
"""

import json
import os
import re
import time
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from distill.closing import Closing
from distill.errors import DataError, RunDirError, StorageError
from distill.lock import FileLock
from distill.storage import make_folder, storage_errors, sync_folder

Record = dict[str, Any]

_CHECKSUM = "crc"
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_TAIL = re.compile(rb',?"crc":"([0-9a-f]{8})"\}\n')
_LONGEST_TAIL = len(b',"crc":"01234567"}\n')


class Journal(Closing):
    """A journal that is open for writing, by this process alone.

    Attributes:
        path: Where it is.
        cut_bytes: What was cut when it was opened: 0 unless an earlier try was killed.
    """

    def __init__(self, path: Path, descriptor: int, lock: FileLock, scan: "_Scan") -> None:
        """Use `open`."""
        self.path = path
        self.cut_bytes = scan.torn_bytes
        self._descriptor = descriptor
        self._lock = lock
        self._state = _State(scan.safe_bytes, scan.records)
        self._appended = scan.records
        self._pending: deque[tuple[int, bytes]] = deque()
        self._failure: StorageError | None = None

    @classmethod
    def open(cls, path: Path) -> "Journal":
        """Open or create a journal, check all its records, and cut a torn last one.

        Raises:
            RunDirError: If another process writes to it; names its pid.
            DataError: If a record before the last one is broken; names file and line.
            StorageError: If the disk refuses.
        """
        make_folder(path.parent)
        lock = FileLock(_lock_path(path), guards=path)
        try:
            with storage_errors(path):
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                scan = _scan(path)
                with storage_errors(path):
                    os.ftruncate(descriptor, scan.safe_bytes)
                    # A killed writer may have written, and created the file, without syncing.
                    _sync_data(descriptor)
                    sync_folder(path.parent)
                return cls(path, descriptor, lock, scan)
            except BaseException:
                os.close(descriptor)
                raise
        except BaseException:
            lock.release()
            raise

    @property
    def safe_records(self) -> int:
        """How many records are on the disk for good."""
        return self._state.records

    def records(self) -> Iterator[Record]:
        """The safe records in order, one at a time; record ``i`` is line ``i + 1``."""
        return _read(self.path, self._state.records)

    @property
    def appended_records(self) -> int:
        """How many records it holds once what was appended is committed."""
        return self._appended

    def append(self, record: Mapping[str, object] | bytes) -> None:
        """Take a record; it is safe after the next `commit` only, which another thread may call.

        Args:
            record: JSON values, or one line of a JSON object in UTF-8, which is taken as it is.

        Raises:
            ValueError: If it holds NaN or infinity, or a key ``"crc"``.
            TypeError: If it holds something that JSON has no word for.
        """
        self._pending.append((self._appended, _line(record)))
        self._appended += 1

    def commit(self) -> None:
        """Write and sync what was appended; all of it is safe when this returns.

        Raises:
            StorageError: If the disk refuses; says how many records are safe. The journal then
                takes nothing more: after a failed sync nobody knows what a second one would say.
        """
        self._write(is_synced=True)

    def write(self) -> None:
        """Write what was appended without waiting for the disk: it survives a kill of the process.

        Raises:
            StorageError: If the disk refuses, as for `commit`.
        """
        self._write(is_synced=False)

    def _write(self, *, is_synced: bool) -> None:
        if self._failure:
            raise self._failure
        state = self._state
        while self._pending and self._pending[0][0] < state.records:
            self._pending.popleft()
        lines = [line for _, line in tuple(self._pending)]
        if not lines:
            return
        data = b"".join(lines)
        try:
            with storage_errors(self.path, note=f"{state.records} records are safe"):
                _write_at(self._descriptor, data, state.end)
                if is_synced:
                    _sync_data(self._descriptor)
        except StorageError as failure:
            self._failure = failure
            with suppress(OSError):  # else the next open cuts it
                os.ftruncate(self._descriptor, state.end)
            raise
        # One assignment: if Ctrl-C comes before it, the same bytes are written once more to the
        # same place. What is safe leaves the queue at the next commit, by its number.
        self._state = _State(state.end + len(data), state.records + len(lines))

    def close(self) -> None:
        """Commit what is pending, then let others write; a second call does nothing.

        Raises:
            StorageError: If that commit failed.
        """
        if self._descriptor < 0:
            return
        try:
            if not self._failure:
                self.commit()
        finally:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)
            self._lock.release()


def wait_for_writer(path: Path, seconds: float) -> None:
    """Wait until nobody writes a journal, such as the worker of a run that was killed just now.

    Raises:
        RunDirError: If somebody still does after so many seconds.
    """
    make_folder(path.parent)
    deadline = time.monotonic() + seconds
    while True:
        try:
            FileLock(_lock_path(path), guards=path).release()
        except RunDirError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def without_checksum(line: bytes) -> bytes:
    """A whole line of a journal as ``Journal.append`` takes it."""
    tail = _TAIL.search(line, max(0, len(line) - _LONGEST_TAIL))
    if tail is None:
        raise ValueError("this is no whole line of a journal")
    return line[: tail.start()] + b"}"


def read_journal(path: Path) -> Iterator[Record]:
    """The records of a journal that this process does not write, in order, one at a time.

    A torn last record is passed over: its writer died, or is about to finish it.

    Raises:
        DataError: If there is no such file, or a record before the last one is broken.
    """
    return _read(path, None)


@dataclass(frozen=True, slots=True)
class _State:
    """Where the safe records end, and how many they are."""

    end: int
    records: int


@dataclass(frozen=True, slots=True)
class _Scan:
    """What a look at the whole file found."""

    safe_bytes: int
    records: int
    torn_bytes: int


def _lock_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _line(record: Mapping[str, object] | bytes) -> bytes:
    if isinstance(record, bytes):
        head, comma = record[:-1], b","
        return head + comma + b'"crc":"%08x"}\n' % zlib.crc32(head)
    if _CHECKSUM in record:
        raise ValueError(f"a record may not have a key {_CHECKSUM!r}: the journal adds it")
    text = _encode(dict(record))
    # UTF-8 has no lone surrogates; backslashreplace writes just them as JSON escapes.
    head = text[:-1].encode("utf-8", "backslashreplace")
    comma = b"," if record else b""
    return head + comma + b'"crc":"%08x"}\n' % zlib.crc32(head)


def _is_whole(line: bytes) -> bool:
    tail = _TAIL.search(line, max(0, len(line) - _LONGEST_TAIL))
    return (
        tail is not None
        and tail.end() == len(line)
        and int(tail[1], 16) == zlib.crc32(memoryview(line)[: tail.start()])
    )


def whole_lines(path: Path) -> Iterator[bytes]:
    """Lines up to a torn last one, checksums included.

    Raises:
        DataError: If a broken one is followed by another.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if _is_whole(line):
                yield line
                continue
            if file.read(1):
                raise DataError(
                    f"{path}:{number}: the record is broken (its checksum does not fit)",
                    hint="Something other than this program changed the file: restore it from a"
                    f" copy, or delete line {number} to have that one made again.",
                )


def _scan(path: Path) -> _Scan:
    with storage_errors(path):
        safe_bytes = records = 0
        for line in whole_lines(path):
            safe_bytes += len(line)
            records += 1
        return _Scan(safe_bytes, records, path.stat().st_size - safe_bytes)


def _read(path: Path, most: int | None) -> Iterator[Record]:
    try:
        for line in islice(whole_lines(path), most):
            record: Record = json.loads(line)
            del record[_CHECKSUM]
            yield record
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None


def _write_at(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _sync_data(descriptor: int) -> None:
    """Sync what is needed to read the bytes again; macOS has no fdatasync."""
    getattr(os, "fdatasync", os.fsync)(descriptor)
