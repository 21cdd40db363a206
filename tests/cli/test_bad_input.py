"""What can go wrong for a user: one message, the right exit code, no traceback, nothing lost."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from distill.problems import embedded_prompts
from distill.prompts import write_prompts
from tests.cli.conftest import Invoke
from tests.conftest import RunDistill, clean_environment

FULL_DISK = ["bash", "-c", 'ulimit -f 8; exec "$@"', "bash"]
"""A process whose files cannot grow over 8 KiB."""


@pytest.fixture
def job(tiny_job: Path, tmp_path: Path) -> Path:
    """A copy of the tiny recipe that a test may change; the models stay where they are."""
    text = (tiny_job / "tiny.toml").read_text()
    for name in ("recorded.jsonl", "base"):
        text = text.replace(f'"{name}"', f'"{tiny_job / name}"')
    (tmp_path / "tiny.toml").write_text(text)
    return tmp_path / "tiny.toml"


def test_an_unknown_key_is_answered_with_a_suggestion(invoke: Invoke, job: Path) -> None:
    shown = invoke("train", "tiny.toml", "--set", "train.learning_rat=1")
    assert shown.code == 2
    assert "unknown key; did you mean 'learning_rate'?" in shown.err


def test_a_wrong_type_names_the_key_and_what_is_allowed(invoke: Invoke, job: Path) -> None:
    job.write_text(job.read_text().replace("samples = 2", 'samples = "two"'))
    shown = invoke("run", "tiny.toml")
    assert shown.code == 2
    assert "generate.samples: " in shown.err
    assert "eval.samples: " in shown.err


def test_a_missing_recipe_lists_those_nearby(invoke: Invoke, job: Path) -> None:
    shown = invoke("run", "tini.toml")
    assert shown.code == 2
    assert "tini.toml: there is no such recipe" in shown.err
    assert "tiny.toml" in shown.err


def test_a_broken_prompt_line_is_named_by_file_and_line(
    invoke: Invoke, job: Path, tmp_path: Path
) -> None:
    write_prompts(tmp_path / "mine.jsonl", embedded_prompts("train", 3, 0))
    with (tmp_path / "mine.jsonl").open("a") as file:
        file.write('{"text": "half a li\n')
    sets = ["--set", "prompts.kind=file", "--set", "prompts.path='mine.jsonl'"]
    shown = invoke("generate", "tiny.toml", *sets)
    assert shown.code == 3
    assert "mine.jsonl:4" in shown.err


def test_the_folder_of_another_recipe_is_refused_with_what_differs(
    invoke: Invoke, job: Path
) -> None:
    assert invoke("generate", "tiny.toml").code == 0
    shown = invoke("generate", "tiny.toml", "--set", "generate.temperature=0.9")
    assert shown.code == 4
    assert "generate.temperature: 0.6 -> 0.9" in shown.err
    assert "--restart-from generate" in shown.err


def test_the_folder_of_another_version_is_refused(
    invoke: Invoke, job: Path, tmp_path: Path
) -> None:
    assert invoke("generate", "tiny.toml").code == 0
    path = tmp_path / "runs/tiny/manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    for command in (["run", "tiny.toml"], ["status", "runs/tiny"]):
        shown = invoke(*command)
        assert shown.code == 4
        assert "format 99" in shown.err


def test_a_folder_that_holds_something_else_is_refused(
    invoke: Invoke, job: Path, tmp_path: Path
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter-1.tex").write_text("")
    shown = invoke("run", "tiny.toml", "--run-dir", "thesis")
    assert shown.code == 4
    assert "chapter-1.tex" in shown.err


@pytest.mark.parametrize("place", ["/proc/run", "tiny.toml/run"])
def test_a_place_that_takes_no_files_is_a_disk_error(invoke: Invoke, job: Path, place: str) -> None:
    """Root may write to a folder of any mode, but not to these."""
    shown = invoke("run", "tiny.toml", "--run-dir", place)
    assert shown.code == 5
    assert f"error: {place.removesuffix('/run')}" in shown.err


def test_a_full_disk_keeps_what_is_finished_and_the_run_goes_on(
    run_distill: RunDistill, job: Path, invoke: Invoke
) -> None:
    arguments = ["generate", "tiny.toml", "--set", "prompts.count=12"]
    shown = run_distill(*arguments, before=FULL_DISK)
    assert shown.returncode == 5, shown.stderr
    assert "records are safe" in shown.stderr
    assert "Traceback" not in shown.stderr
    assert invoke(*arguments).code == 0


def test_output_that_cannot_be_written_is_an_error(run_distill: RunDistill, tmp_path: Path) -> None:
    shown = run_distill("--help", before=["bash", "-c", 'exec "$@" > /dev/full', "bash"])
    assert shown.returncode == 5
    assert "No space left on device" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_a_reader_that_left_is_no_error_message(run_distill: RunDistill) -> None:
    pipe = ["bash", "-c", '"$@" | sleep 0; exit ${PIPESTATUS[0]}', "bash"]
    shown = run_distill("--help", before=pipe)
    assert shown.stderr == ""
    assert shown.returncode == 141


def test_ctrl_c_keeps_what_is_finished_and_the_run_goes_on(job: Path, invoke: Invoke) -> None:
    settings = ["--set", "train.epochs=3000", "--set", "train.checkpoint_every_steps=1"]
    checkpoints = job.parent / "runs/tiny/checkpoints/student"
    with subprocess.Popen(
        [sys.executable, "-m", "distill", "run", job.name, *settings],
        cwd=job.parent,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        started = time.monotonic()
        while time.monotonic() - started < 60 and not list(checkpoints.glob("checkpoint-*")):
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.endswith(
        "\ninterrupted; what is finished is kept, and the same command goes on from there\n"
    )
    assert "Traceback" not in err
    assert out == ""
    shown = invoke("status", "runs/tiny")
    assert "training of student is at step" in shown.out
    assert "distill train runs/tiny" in shown.out


@pytest.mark.parametrize(
    ("stop", "code", "message"),
    [
        (lambda: signal.raise_signal(signal.SIGTERM), 143, "ended by SIGTERM; "),
        (lambda: signal.raise_signal(signal.SIGINT), 130, "interrupted; "),
    ],
    ids=["SIGTERM", "SIGINT"],
)
def test_a_signal_ends_with_one_line(
    invoke: Invoke,
    job: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop: Callable[[], None],
    code: int,
    message: str,
) -> None:
    monkeypatch.setattr("distill.problems.embedded_prompts", lambda *_, **__: stop())
    shown = invoke("generate", "tiny.toml")
    assert shown.code == code
    assert message in shown.err
    assert "Traceback" not in shown.err
