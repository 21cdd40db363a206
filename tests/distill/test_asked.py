"""What was asked and never answered is known, whatever ended the run."""

from pathlib import Path

from distill.asked import AskedLog
from distill.errors import StageError, TeacherError
from distill.spent import unanswered_requests
from distill.types import Prompt, Request


def requests(count: int) -> list[Request]:
    return [Request(Prompt(f"p{number}", "?"), 0) for number in range(count)]


def test_what_was_asked_less_what_was_stored_is_unanswered(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    log = AskedLog.open(path, answered=0)
    assert log.unanswered == 0
    log.note(requests(3))
    log.note(requests(2))
    log.close(StageError("x"))
    assert AskedLog.open(path, answered=4).unanswered == 1
    assert unanswered_requests(path, 4) == 1
    assert unanswered_requests(tmp_path / "none", 4) == 0


def test_what_a_server_refused_was_not_billed(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    log = AskedLog.open(path, answered=0)
    log.note(requests(4))
    log.close(TeacherError("401", refused=4))
    assert unanswered_requests(path, 0) == 0


def test_a_note_survives_a_kill_right_after_it(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    log = AskedLog.open(path, answered=0)
    log.note(requests(3))
    assert path.stat().st_size > 0  # written, not only kept to be written
    log.close(None)
