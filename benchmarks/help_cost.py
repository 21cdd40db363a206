"""What `--help` of every command costs, beside a bare Typer application, and what it loads.

    python benchmarks/help_cost.py [--runs 5]

Each call is a fresh interpreter; its CPU seconds are the kernel's count, user and system. The
commands take turns, so that a slow moment of the machine falls on all of them.

Expected before the first run: a bare application 0.15 s, no command over 0.22 s, and none of them
loads torch, transformers or pydantic.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.results_file import write  # noqa: E402
from cli.main import app  # noqa: E402

BARE = "bare Typer application"
_BARE_CODE = """
import typer
app = typer.Typer()
@app.command()
def hello(name: str) -> None:
    "Say hello."
app()
"""
_LOADED_CODE = """
import sys
from distill.__main__ import main
main()
sys.stderr.write(" ".join(sys.modules))
"""
_UNWANTED = {"torch", "transformers", "pydantic", "pydantic_core"}


def main() -> None:
    """Measure every command, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    names = ["", *(str(info.name) for info in app.registered_commands)]
    calls = {BARE: ["-c", _BARE_CODE, "--help"]}
    calls |= {_shown(name): ["-m", "distill", *name.split(), "--help"] for name in names}
    seconds: dict[str, list[float]] = {call: [] for call in calls}
    for _ in range(runs + 1):  # the first one compiles what was not compiled yet
        for call, arguments in calls.items():
            seconds[call].append(cpu_seconds(arguments))
    medians = {call: round(median(kept[1:]), 3) for call, kept in seconds.items()}
    bare = medians.pop(BARE)
    worst = max(medians, key=medians.__getitem__)
    figures = {
        "runs": runs,
        "bare_typer_cpu_seconds": bare,
        "worst": worst,
        "worst_cpu_seconds": medians[worst],
        "worst_by_bare": round(medians[worst] / bare, 2),
        "unwanted_modules": {
            _shown(name): found for name in names if (found := unwanted_modules(name))
        },
        "cpu_seconds": medians,
    }
    print(f"bare {bare}, worst {worst} {medians[worst]}, loaded {figures['unwanted_modules']}")
    write("help_cost", figures)


def cpu_seconds(arguments: list[str]) -> float:
    """User and system seconds of one Python process."""
    process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{arguments} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def unwanted_modules(name: str) -> list[str]:
    """Which of the heavy packages are loaded once the command's help is shown."""
    arguments = [*name.split(), "--help"]
    done = subprocess.run(
        [sys.executable, "-c", _LOADED_CODE, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return sorted(_UNWANTED & set(done.stderr.split()))


def _shown(name: str) -> str:
    return f"distill {name} --help".replace("  ", " ")


if __name__ == "__main__":
    main()
