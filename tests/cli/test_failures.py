import errno
import os
from pathlib import Path

import pytest

from cli.failures import report_failure
from distill.errors import DataError, RunDirError


def test_a_mistake_of_the_user_is_its_message_and_its_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = DataError("prompts.jsonl:3: no 'text'", hint="every line needs a text")
    assert report_failure(error) == 3
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "error: prompts.jsonl:3: no 'text'\n  every line needs a text\n"


def test_several_lines_of_a_problem_stay_under_each_other(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report_failure(RunDirError("runs/a:\n  one\n  two"))
    assert capsys.readouterr().err == "error: runs/a:\n  one\n  two\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EFBIG, errno.EACCES])
def test_a_disk_error_is_named_with_its_file(
    capsys: pytest.CaptureFixture[str], number: int
) -> None:
    assert report_failure(OSError(number, os.strerror(number), "runs/a/x.jsonl")) == 5
    assert f"error: runs/a/x.jsonl: {os.strerror(number)}" in capsys.readouterr().err


def test_a_missing_library_comes_with_the_install_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")
    assert report_failure(error) == 8
    assert "pip install -c constraints.txt -e '.[train]'" in capsys.readouterr().err


def test_running_out_of_memory_says_what_to_lower(capsys: pytest.CaptureFixture[str]) -> None:
    assert report_failure(MemoryError()) == 6
    assert "generate.batch_size" in capsys.readouterr().err


def test_a_bug_says_how_to_get_its_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["distill", "run", "my recipe.toml"])
    assert report_failure(KeyError("tokens")) == 70
    assert capsys.readouterr().err == (
        "error: internal error: KeyError: 'tokens'\n"
        "  this is a bug of distill; what is finished is kept; for the traceback:\n"
        "  distill --debug run 'my recipe.toml'\n"
    )


def test_a_reader_that_went_away_is_no_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert report_failure(BrokenPipeError()) == 141
    assert capsys.readouterr().err == ""


def test_a_missing_file_that_no_stage_explained_is_a_bug(tmp_path: Path) -> None:
    assert report_failure(FileNotFoundError(errno.ENOENT, "No such file", str(tmp_path))) == 70
