"""What is acknowledged is on the disk, in order; a disk that refuses is noticed at once."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from distill import journal as journal_module
from distill.commits import GroupCommits
from distill.errors import StorageError
from distill.journal import Journal, read_journal


def test_tokens_come_back_in_order_once_their_records_are_safe(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    given: list[int] = []
    with Journal.open(path) as journal:
        with GroupCommits[int](journal) as commits:
            for number in range(500):
                commits.append({"n": number}, number)
                given += commits.safe()
                assert len(list(read_journal(path))) >= len(given)
            assert commits.is_waiting or len(given) == 500
            given += commits.wait()
        assert given == list(range(500))
    assert [record["n"] for record in read_journal(path)] == given


def test_nothing_is_acknowledged_before_the_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    sync = journal_module._sync_data

    def counted(descriptor: int) -> None:
        sync(descriptor)
        synced.append(os.fstat(descriptor).st_size)

    monkeypatch.setattr(journal_module, "_sync_data", counted)
    path = tmp_path / "j.jsonl"
    with Journal.open(path) as journal, GroupCommits[int](journal) as commits:
        for number in range(50):
            commits.append({"n": number}, number)
            if commits.safe():
                assert synced[-1] > 0
        commits.wait()
        assert synced[-1] == path.stat().st_size
    assert len(synced) < 52  # groups, not one for each


def test_records_encoded_beforehand_are_stored_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with Journal.open(path) as journal, GroupCommits[int](journal) as commits:
        commits.append(b'{"a":1}', 0)
        commits.wait()
    assert list(read_journal(path)) == [{"a": 1}]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_refuses_ends_the_run_and_keeps_what_is_safe(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "j.jsonl"
    write = os.pwrite

    def refusing(descriptor: int, data: Any, offset: int) -> int:
        if offset + len(data) > 20_000:
            raise OSError(code, os.strerror(code))
        return write(descriptor, data, offset)

    journal = Journal.open(path)
    monkeypatch.setattr(os, "pwrite", refusing)
    acknowledged: list[int] = []

    def fill() -> None:
        with GroupCommits[int](journal) as commits:
            for number in range(2000):
                commits.append({"n": number}, number)
                acknowledged.extend(commits.wait() if number == 50 else commits.safe())
            commits.wait()

    with pytest.raises(StorageError, match="records are safe"):
        fill()
    with pytest.raises(StorageError):
        journal.commit()
    journal.close()
    monkeypatch.undo()
    kept = [record["n"] for record in read_journal(path)]
    assert kept == list(range(len(kept)))
    assert len(kept) >= len(acknowledged) >= 50
    with Journal.open(path) as again:  # the next try goes on
        assert again.safe_records == len(kept)
