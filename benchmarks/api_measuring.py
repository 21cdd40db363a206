"""One measured run of ``distill generate`` against the stub endpoint, in a process of its own."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.servers.recipes import write_recipe, write_sums
from tests.servers.running import Server

AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Ran:
    """How a process went.

    Attributes:
        code: What it exited with.
        out: What it printed.
        err: What it said on the way.
        seconds: From its start to its end.
        cpu_seconds: Of all its threads, start and imports included.
        peak_mib: Most resident memory; never less than this process had when it started that one.
    """

    code: int
    out: str
    err: str
    seconds: float
    cpu_seconds: float
    peak_mib: float

    @property
    def summary(self) -> dict[str, Any]:
        """The figures of the stage, as ``--json`` prints them.

        Raises:
            RuntimeError: If nothing was printed, with what was said instead.
        """
        if not self.out:
            raise RuntimeError(f"exit code {self.code}: {self.err[-2000:]}")
        found: dict[str, Any] = json.loads(self.out)["stages"]["generate"]
        return found


def run_measured(arguments: Sequence[str | Path], cwd: Path) -> Ran:
    """Run Python with these arguments and measure that process alone."""
    out, err = cwd / "out.txt", cwd / "err.txt"
    with out.open("wb") as out_file, err.open("wb") as err_file:
        started = time.monotonic()
        command = [sys.executable, *map(str, arguments)]
        process = subprocess.Popen(command, cwd=cwd, stdout=out_file, stderr=err_file)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - started
    return Ran(
        code=process.returncode,
        out=out.read_text(),
        err=err.read_text(),
        seconds=seconds,
        cpu_seconds=used.ru_utime + used.ru_stime,
        peak_mib=used.ru_maxrss / 1024,
    )


def run_generate(
    folder: Path,
    server: Server,
    *,
    prompts: int,
    teacher: Sequence[str] = (),
    generate: Sequence[str] = ("samples = 1", "max_tokens = 4096"),
    run: str = "run",
) -> Ran:
    """One ``distill generate`` on sums; its run folder is ``folder/RUN``."""
    recipe = prepare(folder, server, prompts=prompts, teacher=teacher, generate=generate)
    return run_measured(
        ["-m", "distill", "generate", recipe, "--run-dir", folder / run, "--json"], folder
    )


def prepare(
    folder: Path,
    server: Server,
    *,
    prompts: int,
    teacher: Sequence[str] = (),
    generate: Sequence[str] = ("samples = 1", "max_tokens = 4096"),
) -> Path:
    """Write prompts and recipe; the recipe's path."""
    write_sums(folder / "prompts.jsonl", prompts)
    lines = ['model = "stub"', f"concurrency = {AT_ONCE}", *teacher]
    return write_recipe(folder, base_url=server.base_url, teacher=lines, generate=generate)


@contextmanager
def new_folder() -> Iterator[Path]:
    """An empty folder that is removed at the end."""
    with TemporaryDirectory(prefix="distill-api-") as name:
        yield Path(name)


def median(runs: Sequence[Ran], figure: Callable[[Ran], float]) -> float:
    """The median of a figure over runs."""
    return statistics.median(map(figure, runs))


@dataclass(frozen=True, slots=True)
class Bar:
    """A claim of the issue and what was measured.

    Attributes:
        what: What is measured.
        bar: What it shall be, such as ``"<= 0.35"``.
        figure: What it was.
        is_met: Whether that is good enough.
    """

    what: str
    bar: str
    figure: float
    is_met: bool

    def __str__(self) -> str:
        return (
            f"{'met   ' if self.is_met else 'MISSED'}  {self.what}: {self.figure:.4g} ({self.bar})"
        )


def at_most(what: str, figure: float, most: float) -> Bar:
    """A bar that is met by few."""
    return Bar(what, f"<= {most:g}", figure, figure <= most)


def at_least(what: str, figure: float, least: float) -> Bar:
    """A bar that is met by many."""
    return Bar(what, f">= {least:g}", figure, figure >= least)
