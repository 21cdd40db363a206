import re
import resource
import subprocess
import sys

import pytest

from cli.failures import EXIT_CODES
from cli.main import app, overview
from distill.errors import DistillError
from tests.conftest import RunDistill

COMMANDS = [
    "init",
    "doctor",
    "teachers",
    "students",
    "fit",
    "shard",
    "plan",
    "filters",
    "benchmarks",
    "run",
    "generate",
    "filter",
    "train",
    "eval",
    "eval compare",
    "eval rejudge",
    "status",
    "report",
    "explain",
    "cost",
    "export",
    "chat",
    "serve",
    "push",
    "bundle",
    "trace-back",
    "verify",
]


def all_errors(root: type[DistillError] = DistillError) -> list[type[DistillError]]:
    return [root, *(leaf for child in root.__subclasses__() for leaf in all_errors(child))]


def test_distill_alone_shows_each_command_in_the_order_of_use(run_distill: RunDistill) -> None:
    shown = run_distill()
    assert shown.returncode == 0
    assert re.findall(r"^  ([\w-]+(?: [\w-]+)?)  ", shown.stdout, re.MULTILINE) == COMMANDS


def test_each_command_has_one_line_that_fits_a_narrow_terminal() -> None:
    assert len(app.registered_commands) == len(COMMANDS)
    assert max(map(len, overview().splitlines())) <= 80
    for info in app.registered_commands:
        assert info.callback is not None
        assert (info.callback.__doc__ or "").splitlines()[0].endswith(".")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_has_an_example(run_distill: RunDistill, command: str) -> None:
    shown = run_distill(*command.split(), "--help")
    assert shown.returncode == 0
    example = next(line for line in shown.stdout.splitlines() if "Example: distill" in line)
    assert example.startswith(f"  Example: distill {command}")
    rest = shown.stdout.split(f"{example}\n", 1)[1]
    assert rest.startswith("\n"), "an example of two lines cannot be copied"
    assert max(map(len, shown.stdout.splitlines())) <= 80


def test_help_cuts_no_line_at_eighty_columns(run_distill: RunDistill) -> None:
    shown = run_distill("--help").stdout
    assert "..." not in shown.split("Commands:")[1]
    assert max(map(len, shown.splitlines())) <= 80


def test_help_costs_little() -> None:
    """The bar is 0.22 s of CPU where a bare Typer application needs 0.15, so 1.47 times its CPU."""
    bare = "import typer; app = typer.Typer(); app.command()(lambda: None); app()"
    ours, theirs = zip(
        *((cpu_seconds("-m", "distill"), cpu_seconds("-c", bare)) for _ in range(4)), strict=True
    )
    assert min(ours) < 1.47 * min(theirs)


def cpu_seconds(*arguments: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments, "--help"], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def test_every_exit_code_is_documented(run_distill: RunDistill) -> None:
    assert {error.exit_code for error in all_errors()} <= set(EXIT_CODES)
    shown = run_distill("--help").stdout
    for code, meaning in EXIT_CODES.items():
        assert re.search(rf"^ *{code}  {re.escape(meaning)}$", shown, re.MULTILINE)


def test_an_unknown_command_is_one_line_with_a_suggestion(run_distill: RunDistill) -> None:
    shown = run_distill("trian", "x.toml")
    assert shown.returncode == 2
    assert shown.stderr == (
        "error: No such command 'trian'. Did you mean 'train'?\n  see: distill --help\n"
    )


def test_version_is_the_packages_version(run_distill: RunDistill) -> None:
    from distill import __version__

    assert run_distill("--version").stdout == f"distill {__version__}\n"
