"""The Typer application: the commands in the order of their use, and how the process ends.

No command module imports anything heavy at its top, so that ``--help`` answers at once.
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from cli.benchmarks import benchmarks
from cli.bundle import bundle
from cli.chat import chat
from cli.console import columns, paint, say
from cli.cost import cost
from cli.doctor import doctor
from cli.eval import eval_
from cli.eval_compare import eval_compare
from cli.eval_rejudge import eval_rejudge
from cli.explain import explain
from cli.export import export
from cli.failures import EXIT_CODES, INTERRUPTED, report_failure, report_stop
from cli.filter import filter_
from cli.filters import filters
from cli.fit import fit
from cli.init import init
from cli.job import JOBS, job_command
from cli.plan import plan
from cli.push import push
from cli.report import report
from cli.serve import serve
from cli.shard import shard
from cli.status import status
from cli.students import students
from cli.teachers import teachers
from cli.trace_back import trace_back
from cli.verify import verify
from distill import __version__

_SET_UP, _JOB, _LOOK, _USE = "Set up", "The job", "Look at it", "Use the student"
_UNREAD, _TERMINATED = 141, 143
_STOPPED = {INTERRUPTED: "interrupted", _TERMINATED: "ended by SIGTERM"}
_NAME_WIDTH = len("generate")

app = typer.Typer(
    name="distill",
    help="From a mixture-of-experts teacher to a small dense student.",
    epilog="Exit codes:\n\n\b\n"
    + "\n".join(f"{code:>3}  {meaning}" for code, meaning in EXIT_CODES.items()),
    rich_markup_mode=None,
    # Typer's own completion and help options load pydantic to convert their values: 0.06 s of CPU.
    add_completion=False,
    add_help_option=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command("init", rich_help_panel=_SET_UP)(init)
app.command("doctor", rich_help_panel=_SET_UP)(doctor)
app.command("teachers", rich_help_panel=_SET_UP)(teachers)
app.command("students", rich_help_panel=_SET_UP)(students)
app.command("fit", rich_help_panel=_SET_UP)(fit)
app.command("shard", rich_help_panel=_SET_UP)(shard)
app.command("plan", rich_help_panel=_SET_UP)(plan)
app.command("filters", rich_help_panel=_SET_UP)(filters)
app.command("benchmarks", rich_help_panel=_SET_UP)(benchmarks)
_OWN: dict[str, Callable[..., None]] = {"filter": filter_, "eval": eval_}
for _name in JOBS:
    app.command(_name, rich_help_panel=_JOB)(_OWN.get(_name) or job_command(_name))
app.command("eval compare", rich_help_panel=_LOOK)(eval_compare)
app.command("eval rejudge", rich_help_panel=_LOOK)(eval_rejudge)
app.command("status", rich_help_panel=_LOOK)(status)
app.command("report", rich_help_panel=_LOOK)(report)
app.command("explain", rich_help_panel=_LOOK)(explain)
app.command("cost", rich_help_panel=_LOOK)(cost)
app.command("export", rich_help_panel=_USE)(export)
app.command("chat", rich_help_panel=_USE)(chat)
app.command("serve", rich_help_panel=_USE)(serve)
app.command("push", rich_help_panel=_USE)(push)
app.command("bundle", rich_help_panel=_USE)(bundle)
app.command("trace-back", rich_help_panel=_USE)(trace_back)
app.command("verify", rich_help_panel=_USE)(verify)


def _show_help(context: typer.Context, *, value: bool) -> None:
    if value:
        say(context.get_help())
        raise typer.Exit


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of whatever fails.")
    ] = False,
    show_help: Annotated[
        bool,
        typer.Option(
            "-h", "--help", is_eager=True, callback=_show_help, help="Show this message and end."
        ),
    ] = False,
) -> None:
    """From a mixture-of-experts teacher to a small dense student."""
    del debug, show_help  # main() reads the first from the arguments; the second has ended
    if version:
        say(f"distill {__version__}")
    elif context.invoked_subcommand is None:
        say(overview())


def overview() -> str:
    """What ``distill`` alone shows: every command, in the order of use, with one line each."""
    commands = [
        (info.callback, info.name, info.rich_help_panel) for info in app.registered_commands
    ]
    width = max(len(name or callback.__name__) for callback, name, _ in commands if callback)
    lines = [f"{paint(f'distill {__version__}', 'bold')}  {app.info.help}"]
    for panel in (_SET_UP, _JOB, _LOOK, _USE):
        lines += ["", paint(panel, "bold")]
        rows = [
            ((name or callback.__name__).ljust(width), first_line(callback.__doc__))
            for callback, name, its_panel in commands
            if callback and its_panel == panel
        ]
        lines.append(columns(rows))
    lines += ["", "Start with   distill run recipes/quickstart.toml"]
    lines += ["Explain one  distill COMMAND --help"]
    return "\n".join(lines)


def first_line(text: str | None) -> str:
    """The first line of a docstring, without its full stop."""
    return (text or "").strip().split("\n", 1)[0].rstrip(".")


def main() -> int:
    """Run the command line; returns the exit code of the process."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a locale without our characters is no failure
    signal.signal(signal.SIGTERM, _end)
    stdout = sys.stdout
    try:
        code = _invoke()
        sys.stdout.flush()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
        if sys.stdout is not stdout:  # what Typer leaves when nobody reads the output
            code = _UNREAD
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:
        if sys.argv[1:2] == ["--debug"] and not isinstance(error, TyperException):
            raise
        code = report_failure(error)
    if code in _STOPPED:
        report_stop(_STOPPED[code], goes_on=bool(set(JOBS) & set(sys.argv[1:3])))
    _leave_no_broken_pipe()
    return code


def _invoke() -> int:
    """Parse and run; a KeyboardInterrupt comes back as 130, which is Typer's doing."""
    command = typer.main.get_command(app)
    arguments = with_joined_name(sys.argv[1:])
    result = command.main(args=arguments, prog_name="distill", standalone_mode=False)
    return result if isinstance(result, int) else 0


def with_joined_name(arguments: Sequence[str]) -> list[str]:
    """The arguments, with the name of a command that has two words as one.

    Example:
        >>> with_joined_name(["--debug", "eval", "compare", "runs/a"])
        ['--debug', 'eval compare', 'runs/a']
    """
    names = {info.name for info in app.registered_commands}
    begin = next((at for at, one in enumerate(arguments) if not one.startswith("-")), 0)
    joined = " ".join(arguments[begin : begin + 2])
    if joined not in names or " " not in joined:
        return list(arguments)
    return [*arguments[:begin], joined, *arguments[begin + 2 :]]


def _end(signal_number: int, frame: FrameType | None) -> NoReturn:
    del signal_number, frame
    raise SystemExit(_TERMINATED)


def _leave_no_broken_pipe() -> None:
    """Python flushes stdout once more when it ends, and complains if nobody reads it."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
