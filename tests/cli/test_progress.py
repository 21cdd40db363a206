import pytest

from cli.progress import Pace, show_progress
from distill.types import Progress


def test_time_left_counts_only_what_this_try_did() -> None:
    pace = Pace(started=100.0)
    resumed = Progress("generate", done=60, total=100, resumed=40)
    assert pace.seconds_left(resumed, now=110.0) == 20.0


def test_nothing_done_yet_gives_no_time_left() -> None:
    assert Pace(0.0).seconds_left(Progress("generate", 40, 100, resumed=40), now=5.0) is None


def test_without_a_terminal_the_first_and_last_report_are_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with show_progress() as report:
        for done in range(101):
            report(Progress("generate", done, 100, figures={"accepted": "81 %"}))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "  generate           0/100  -:-- left  accepted 81 %",
        "  generate           100/100  accepted 81 %",
    ]


def test_each_part_of_a_stage_has_its_own_line(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress() as report:
        report(Progress("eval base", 0, 2))
        report(Progress("eval student", 0, 2))
    assert [line.split()[1] for line in capsys.readouterr().err.splitlines()] == ["base", "student"]
