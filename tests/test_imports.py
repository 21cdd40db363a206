import json
import subprocess
import sys
from pathlib import Path

import pytest

from cli.main import app

HEAVY = {"torch", "transformers", "peft", "accelerate", "bitsandbytes", "datasets"}
NOT_FOR_HELP = HEAVY | {"pydantic", "pydantic_core", "rich", "numpy", "pyarrow", "aiohttp"}


def loaded_packages(code: str, cwd: Path) -> set[str]:
    """Top-level packages that a fresh interpreter has loaded after ``code``."""
    probe = (
        f"{code}\nimport json, sys\n"
        "sys.stderr.write(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=cwd, capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


def test_the_whole_core_loads_without_torch(repository: Path) -> None:
    files = sorted((repository / "distill").rglob("*.py"))
    modules = [
        ".".join(file.relative_to(repository).with_suffix("").parts).removesuffix(".__init__")
        for file in files
    ]
    code = "\n".join(f"import {module}" for module in modules)
    assert not loaded_packages(code, repository) & HEAVY


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--help"],
        ["--version"],
        *([*(info.name or "").split(), "--help"] for info in app.registered_commands),
    ],
    ids=" ".join,
)
def test_help_loads_nothing_heavy(arguments: list[str], repository: Path) -> None:
    code = (
        f"import sys; sys.argv = ['distill', *{arguments!r}]\n"
        "from distill.__main__ import main; assert main() == 0"
    )
    assert not loaded_packages(code, repository) & NOT_FOR_HELP
