"""Where the command line speaks: results on stdout, everything else on stderr.

Tables are plain text that looks the same in a terminal, a pipe and a log. Colour is only for a
terminal, and never with ``NO_COLOR``.
"""

import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Literal

Style = Literal["bold", "dim", "red", "green", "yellow", "cyan"]
_CODES: dict[Style, str] = {
    "bold": "1",
    "dim": "2",
    "red": "1;31",
    "green": "32",
    "yellow": "33",
    "cyan": "36",
}


def is_terminal(stream: IO[str]) -> bool:
    """Whether a person is likely to watch this stream and it can be drawn on."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def paint(text: str, style: Style, stream: IO[str] | None = None) -> str:
    """The text in a colour, if the stream (stdout) shows colours."""
    if os.environ.get("NO_COLOR") or not is_terminal(stream or sys.stdout):
        return text
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m"


def paint_note(text: str, style: Style) -> str:
    """The same for what `note` prints."""
    return paint(text, style, sys.stderr)


def say(text: str = "") -> None:
    """A result, on stdout."""
    sys.stdout.write(text + "\n")


def note(text: str = "") -> None:
    """What goes on beside the result, on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def say_json(summary: object) -> None:
    """The one JSON document of a ``--json`` command."""
    say(json.dumps(summary, indent=2, allow_nan=False))


def print_error(problem: str, hint: str = "") -> None:
    """One message on stderr: what is wrong, then what to do."""
    first, *rest = problem.split("\n")
    note("\n".join([f"{paint('error:', 'red', sys.stderr)} {first}", *rest]))
    if hint:
        note("\n".join(f"  {line}" for line in hint.split("\n")))


def table(rows: Sequence[Sequence[str]], *, indent: int = 2) -> str:
    """Rows under a header row, columns padded; the first is text, the others are figures.

    Example:
        >>> print(table([["", "pass@1"], ["base", "3 %"], ["student", "61 %"]]))
                   pass@1
          base        3 %
          student    61 %
    """
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append((" " * indent + "  ".join(cells)).rstrip())
    lines[0] = paint(lines[0], "dim") if rows[0][0] == "" else lines[0]
    return "\n".join(lines)


def columns(rows: Sequence[tuple[str, str]], *, indent: int = 2) -> str:
    """Names on the left, what they stand for on the right.

    Example:
        >>> print(columns([("run", "all stages"), ("filter", "stage 2")], indent=0))
        run     all stages
        filter  stage 2
    """
    width = max((_visible(name) for name, _ in rows), default=0)
    lines = [f"{' ' * indent}{name}{' ' * (width - _visible(name))}  {text}" for name, text in rows]
    return "\n".join(line.rstrip() for line in lines)


def percent(share: float) -> str:
    """A share in [0, 1] for people.

    Example:
        >>> percent(0.734), percent(0.0049)
        ('73 %', '0.5 %')
    """
    hundredths = share * 100
    return f"{hundredths:.1f} %" if 0 < hundredths < 1 else f"{hundredths:.0f} %"


def duration(seconds: float) -> str:
    """A time span for people.

    Example:
        >>> duration(7.4), duration(185), duration(7500)
        ('7 s', '3 min 5 s', '2 h 5 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes_left} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def shown_path(path: Path) -> str:
    """A path as the user would type it: relative, where it lies below the current folder."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _visible(text: str) -> int:
    """Characters that show, colours left out."""
    return len(re.sub(r"\x1b\[[0-9;]*m", "", text))
