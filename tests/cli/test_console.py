import io

import pytest

from cli.console import columns, paint, percent, table


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colour_is_only_for_a_terminal_without_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert paint("x", "green", io.StringIO()) == "x"
    assert paint("x", "green", Terminal()) == "\x1b[32mx\x1b[0m"
    monkeypatch.setenv("NO_COLOR", "1")
    assert paint("x", "green", Terminal()) == "x"


def test_columns_line_up_under_colours() -> None:
    painted = "\x1b[32mok\x1b[0m"
    lines = columns([(painted, "one"), ("longer", "two")], indent=0).split("\n")
    assert lines == [f"{painted}      one", "longer  two"]


def test_a_table_has_no_spaces_at_the_end_of_a_line() -> None:
    text = table([["", "a", "b"], ["x", "1", ""]])
    assert [line.rstrip() for line in text.split("\n")] == text.split("\n")


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0 %"), (0.004, "0.4 %"), (0.996, "100 %"), (1, "100 %")]
)
def test_small_shares_keep_a_digit(share: float, text: str) -> None:
    assert percent(share) == text
