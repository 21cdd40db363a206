"""What the journal promises: safe records stay, torn tails go, broken records stop."""

import json
import math
import os
import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.errors import DataError, RunDirError, StorageError
from distill.journal import Journal, read_journal

RECORDS: list[dict[str, object]] = [
    {"n": 1},
    {"text": "zwei 二\n\u2028"},
    {"nested": {"a": [1, 2.5, None, True]}},
]
FULL_DISK = Path("/dev/full")
SYNC = "fdatasync" if hasattr(os, "fdatasync") else "fsync"  # macOS


def write(path: Path, *records: dict[str, object]) -> None:
    with Journal.open(path) as journal:
        for record in records:
            journal.append(record)


def run_python(code: str, *args: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, args)],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_committed_records_are_read_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "new" / "traces.jsonl"
    with Journal.open(path) as journal:
        assert list(journal.records()) == []
        for record in RECORDS:
            journal.append(record)
        assert journal.safe_records == 0
        assert list(journal.records()) == []
        journal.commit()
        assert journal.safe_records == len(RECORDS)
        assert list(journal.records()) == RECORDS
    assert list(read_journal(path)) == RECORDS


def test_each_line_is_json_with_a_trailing_checksum(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    write(path, {"a": "b"}, {})
    lines = path.read_bytes().splitlines()
    assert [list(json.loads(line)) for line in lines] == [["a", "crc"], ["crc"]]
    assert lines[0] == b'{"a":"b","crc":"9267180b"}'


def test_a_reopened_journal_goes_on_after_its_records(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    for record in RECORDS:
        write(path, record)
    assert list(read_journal(path)) == RECORDS


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
record_values = st.dictionaries(st.text().filter(lambda key: key != "crc"), json_values, max_size=4)


@settings(max_examples=25, deadline=None)
@given(records=st.lists(record_values, max_size=4))
def test_any_json_record_comes_back_as_it_was(
    records: list[dict[str, object]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("journal") / "traces.jsonl"
    write(path, *records)
    assert list(read_journal(path)) == records


def test_lone_surrogates_come_back_and_the_file_is_utf8(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    records: list[dict[str, object]] = [{"text": "a\udc80\\\ud83d."}, {"\udfff": '"\ud800"'}]
    write(path, *records)
    path.read_text(encoding="utf-8")
    assert list(read_journal(path)) == records


def test_a_record_of_many_megabytes_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    write(path, {"text": "ü" * 4_000_000}, {"after": 1})
    assert [len(str(record)) > 100 for record in read_journal(path)] == [True, False]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_is_refused_and_spoils_nothing(tmp_path: Path, value: float) -> None:
    path = tmp_path / "traces.jsonl"
    with Journal.open(path) as journal:
        with pytest.raises(ValueError, match="JSON"):
            journal.append({"reward": [value]})
        journal.append({"reward": 1})
    assert list(read_journal(path)) == [{"reward": 1}]


def test_a_record_with_its_own_checksum_is_refused(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "t") as journal, pytest.raises(ValueError, match="'crc'"):
        journal.append({"crc": "x"})


def test_every_cut_of_the_last_record_is_a_torn_tail(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    write(path, {"n": 1}, {"n": 2})
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for end in range(first, len(whole)):
        path.write_bytes(whole[:end])
        assert list(read_journal(path)) == [{"n": 1}]
        with Journal.open(path) as journal:
            assert journal.cut_bytes == end - first
            journal.append({"n": 3})
        assert list(read_journal(path)) == [{"n": 1}, {"n": 3}]


@pytest.mark.parametrize("tail", [b"\0" * 64, b'{"n":2,"crc":"00000000"}\n', b"\n", b"\xff\n"])
def test_a_last_record_that_fails_its_checksum_is_cut(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "traces.jsonl"
    write(path, {"n": 1})
    with path.open("ab") as file:
        file.write(tail)
    with Journal.open(path) as journal:
        assert journal.cut_bytes == len(tail)
        assert list(journal.records()) == [{"n": 1}]
    assert list(read_journal(path)) == [{"n": 1}]


def test_a_broken_record_before_others_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    write(path, {"n": 1}, {"n": 2}, {"n": 3})
    broken = path.read_bytes().replace(b'"n":2', b'"n":7')
    path.write_bytes(broken)
    with pytest.raises(DataError, match=r"traces\.jsonl:2: .*checksum") as found:
        Journal.open(path)
    assert "delete line 2" in found.value.hint
    with pytest.raises(DataError, match=r"traces\.jsonl:2"):
        list(read_journal(path))
    assert path.read_bytes() == broken
    path.write_bytes(b"".join(broken.splitlines(keepends=True)[::2]))  # as the hint says
    with Journal.open(path) as journal:
        assert list(journal.records()) == [{"n": 1}, {"n": 3}]


def test_a_missing_journal_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        list(read_journal(tmp_path / "none.jsonl"))


def test_a_second_writer_learns_who_the_first_is(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    with Journal.open(path), pytest.raises(RunDirError, match=f"process {os.getpid()}"):
        Journal.open(path)
    with Journal.open(path):
        pass
    assert [found.name for found in tmp_path.iterdir()] == ["traces.jsonl"]


def test_a_journal_is_readable_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    with Journal.open(path) as journal:
        journal.append({"n": 1})
        journal.commit()
        journal.append({"n": 2})
        assert list(read_journal(path)) == [{"n": 1}]


def test_ctrl_c_keeps_what_was_appended(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"

    def interrupted() -> None:
        with Journal.open(path) as journal:
            journal.append({"n": 1})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(read_journal(path)) == [{"n": 1}]


def test_ctrl_c_inside_a_commit_writes_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "traces.jsonl"
    sync = getattr(os, SYNC)

    def interrupted_once(descriptor: int) -> None:
        monkeypatch.setattr(os, SYNC, sync)
        raise KeyboardInterrupt

    def run() -> None:
        with Journal.open(path) as journal:
            journal.append({"n": 1})
            monkeypatch.setattr(os, SYNC, interrupted_once)
            journal.commit()

    with pytest.raises(KeyboardInterrupt):
        run()
    assert list(read_journal(path)) == [{"n": 1}]


def test_killed_writer_loses_no_acknowledged_record(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    writer = """
        import sys
        from pathlib import Path
        from distill.journal import Journal
        journal = Journal.open(Path(sys.argv[1]))
        first = journal.safe_records
        for n in range(first, 10**9):
            journal.append({"n": n, "text": "x" * (n * 37 % 3000)})
            if n % 8 == 7:
                journal.commit()
                print(journal.safe_records, flush=True)
    """
    for kill_after in (3, 20, 60):
        with run_python(writer, path) as process:
            assert process.stdout
            acknowledged = [process.stdout.readline() for _ in range(kill_after)]
            process.kill()
            acknowledged += process.stdout.readlines()
        assert process.returncode == -signal.SIGKILL
        numbers = [record["n"] for record in read_journal(path)]
        assert numbers == list(range(len(numbers)))
        assert len(numbers) >= int(acknowledged[-1]) > 0


def test_a_full_disk_says_what_is_safe_and_the_next_open_works(tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl"
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer = """
        import resource, signal, sys
        from pathlib import Path
        from distill.errors import StorageError
        from distill.journal import Journal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, int(sys.argv[2])))
        try:
            with Journal.open(Path(sys.argv[1])) as journal:
                for n in range(100):
                    journal.append({"n": n, "text": "x" * 300})
                    journal.commit()
        except StorageError as error:
            print(error)
    """
    process = run_python(writer, path, hard)
    message, _ = process.communicate()
    assert process.returncode == 0
    safe = len(list(read_journal(path)))
    assert safe == 12
    assert f"{path}: File too large; {safe} records are safe" in message
    write(path, {"n": "next"})
    assert [record["n"] for record in read_journal(path)] == [*range(safe), "next"]


@pytest.mark.skipif(not FULL_DISK.exists(), reason="no /dev/full here")
def test_a_write_without_space_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "traces.jsonl"
    write(path, {"n": 1})
    write_at = os.pwrite
    with FULL_DISK.open("wb", buffering=0) as full, Journal.open(path) as journal:
        journal.append({"n": 2})
        monkeypatch.setattr(os, "pwrite", lambda _, data, at: write_at(full.fileno(), data, at))
        with pytest.raises(StorageError) as found:
            journal.commit()
        monkeypatch.undo()
    assert found.value.problem == f"{path}: No space left on device; 1 records are safe"
    assert "Make room" in found.value.hint
    assert list(read_journal(path)) == [{"n": 1}]


def test_a_journal_that_failed_takes_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "traces.jsonl"

    def failing(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with Journal.open(path) as journal:
        journal.append({"n": 1})
        with monkeypatch.context() as patch:
            patch.setattr(os, SYNC, failing)
            with pytest.raises(StorageError, match="0 records are safe"):
                journal.commit()
        with pytest.raises(StorageError, match="Input/output error"):
            journal.commit()
    assert list(read_journal(path)) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_a_storage_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="Permission denied"):
        Journal.open(tmp_path / "traces.jsonl")


def test_a_file_in_place_of_the_folder_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "eval").write_text("")
    with pytest.raises(StorageError, match="choose another path"):
        Journal.open(tmp_path / "eval" / "base.jsonl")
