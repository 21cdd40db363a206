"""What all tests share: no model hub, and the command line as a user starts it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import settings

# A loaded machine is no failure, and a test gives the same result twice.
settings.register_profile("any machine", deadline=None, derandomize=True)
settings.load_profile("any machine")

# A shell starts what runs in the background deaf to Ctrl-C, and some tests press it.
signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

RunDistill = Callable[..., "subprocess.CompletedProcess[str]"]

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture
def run_distill(tmp_path: Path) -> RunDistill:
    """Run ``distill`` in a process of its own, in an empty folder; nothing is checked."""

    def run(
        *arguments: str | Path,
        cwd: Path = tmp_path,
        env: Mapping[str, str] | None = None,
        before: Sequence[str] = (),
        stdin: str = "",
        timeout: float = 120,
    ) -> "subprocess.CompletedProcess[str]":
        command = [*before, sys.executable, "-m", "distill", *map(str, arguments)]
        return subprocess.run(
            command,
            cwd=cwd,
            env=clean_environment() | dict(env or {}),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


def clean_environment() -> dict[str, str]:
    """The environment, without what would change how ``distill`` prints; this checkout is run."""
    dropped = {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "CLICOLOR_FORCE"}
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return kept | {"PYTHONPATH": str(REPOSITORY)}
