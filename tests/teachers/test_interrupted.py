"""A full disk and a changed recipe stop a run of an endpoint with one message, and lose nothing."""

from pathlib import Path

import pytest

from tests.conftest import RunDistill
from tests.servers.recipes import stored_traces
from tests.servers.running import running_stub
from tests.servers.settings import Settings
from tests.teachers.test_api import generate


def test_a_full_disk_stops_the_run_and_the_same_command_goes_on(
    run_distill: RunDistill, tmp_path: Path
) -> None:
    """A limit on the size of files stands for the full disk: the write fails in the same place."""
    limited = ["bash", "-c", 'trap "" XFSZ; ulimit -f 400; exec "$@"', "bash"]
    with running_stub(Settings(latency_seconds=0.01)) as server:
        shown = generate(run_distill, tmp_path, server.base_url, count=300, before=limited)
        assert shown.returncode == 5, shown.stderr
        assert "records are safe" in shown.stderr
        assert "Traceback" not in shown.stderr
        safe = len(stored_traces(tmp_path / "runs/asked").records)
        assert 0 < safe < 300
        paid = server.ledger()["counts"]["paid"]
        shown = generate(run_distill, tmp_path, server.base_url, count=300)
        assert shown.returncode == 0, shown.stderr
        again = server.ledger()["counts"]["paid"] - paid
    assert again == 300 - safe  # nothing that was safe is asked again
    assert len(set(stored_traces(tmp_path / "runs/asked").keys)) == 300
    if paid > safe:
        assert "may have been billed with no answer stored" in shown.stdout


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("generate.temperature=0.9", "generate.temperature: 0.6 -> 0.9"),
        ("teacher.model=other", 'teacher.model: "stub" -> "other"'),
        ("teacher.system=Think.", "teacher.system"),
    ],
)
def test_a_changed_recipe_says_what_changed_and_what_to_do(
    change: str, words: str, run_distill: RunDistill, tmp_path: Path
) -> None:
    with running_stub(Settings()) as server:
        assert generate(run_distill, tmp_path, server.base_url).returncode == 0
        shown = generate(run_distill, tmp_path, server.base_url, "--set", change)
        assert server.ledger()["counts"]["paid"] == 8
    assert shown.returncode == 4
    assert words in shown.stderr
    assert "--restart-from generate" in shown.stderr
    assert "--run-dir" in shown.stderr
    assert "--reuse runs/asked" in shown.stderr


def test_how_an_endpoint_is_reached_may_change_on_the_way(
    run_distill: RunDistill, tmp_path: Path
) -> None:
    with running_stub(Settings()) as server:
        assert generate(run_distill, tmp_path, server.base_url, "--pilot", "3").returncode == 0
    with running_stub(Settings()) as other:
        more = ["--set", "teacher.concurrency=3", "--set", "teacher.attempts=3"]
        shown = generate(run_distill, tmp_path, other.base_url, *more)
        assert shown.returncode == 0, shown.stderr
        assert other.ledger()["counts"]["paid"] == 5
