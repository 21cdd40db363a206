"""What can go wrong, as one message and one exit code.

A ``DistillError`` explains itself. Disk errors, missing libraries and an interruption are named
here. Anything else is a bug of ours and says so.
"""

import errno
import shlex
import sys
from pathlib import Path

from typer.exceptions import TyperException

from cli.console import note, print_error
from distill.errors import DistillError, MissingDependencyError, ModelError, StorageError
from distill.storage import storage_errors

EXIT_CODES: dict[int, str] = {
    0: "done",
    1: "another problem that the message explains",
    2: "the command line or the recipe is wrong",
    3: "a prompt set, trace file or other data is broken",
    4: "the run folder belongs to another recipe or version, or is in use",
    5: "the disk is full, read-only or fails",
    6: "a model, tokenizer or chat template is missing or does not fit",
    7: "a stage ran and has no usable result",
    8: "a library is missing, or another package shadows one of ours",
    9: "an endpoint refuses its key, URL or model, or its account is empty",
    10: "a limit on money, tokens or time is reached; the same command goes on",
    11: "done, but some samples got no answer; they are listed",
    12: "the terms of a base or a teacher stand in the way",
    13: "a condition of a comparison does not hold, or verdicts differ",
    14: "a Ray cluster does not answer, is full, or cannot see the run's folder",
    70: "a bug of distill itself",
    130: "interrupted with Ctrl-C; finished work is kept",
    141: "nobody reads the output any more",
    143: "told to end (SIGTERM); finished work is kept",
}

_DISK_ERRORS = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EROFS,
        errno.EIO,
        errno.EACCES,
        errno.EPERM,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.ENAMETOOLONG,
    }
)
_TRAIN_LIBRARIES = frozenset(
    {"torch", "transformers", "peft", "accelerate", "bitsandbytes", "datasets", "safetensors"}
)


INTERRUPTED = 130
INSTALL_LINE = "pip install -c constraints.txt -e '.[train]'"


def report_failure(error: Exception) -> int:
    """Print one message about an error; returns the exit code."""
    if isinstance(error, BrokenPipeError):
        return 141
    known = _as_distill_error(error)
    if known is not None:
        print_error(known.problem, known.hint)
        return known.exit_code
    if isinstance(error, TyperException):
        message = error.format_message().replace(": Value error, ", ": ").rstrip(".")
        print_error(message, _usage_hint(error))
        return error.exit_code
    return _report_bug(error)


def report_stop(how: str, *, goes_on: bool) -> None:
    """Say that the user ended the command, and what that left."""
    kept = "; what is finished is kept, and the same command goes on from there"
    note(f"\n{how}{kept if goes_on else ''}")


def _as_distill_error(error: Exception) -> DistillError | None:
    """The error as one that the user can act on, if it is one."""
    if isinstance(error, DistillError):
        return error
    if isinstance(error, ModuleNotFoundError) and error.name is not None:
        return _missing_library(error.name.partition(".")[0])
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        return _explained(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return ModelError(
            "out of memory",
            hint="take less at once: --set generate.batch_size=..., eval.batch_size or "
            "train.batch_tokens",
        )
    return None


def _explained(error: OSError) -> StorageError:
    try:
        with storage_errors(Path(str(error.filename or "output"))):
            raise error
    except StorageError as explained:
        return explained


def _missing_library(name: str) -> MissingDependencyError | None:
    if name in _TRAIN_LIBRARIES:
        return MissingDependencyError(
            f"the library '{name}' is not installed",
            hint=f"in the checkout of this project: {INSTALL_LINE}",
        )
    return None


def _usage_hint(error: TyperException) -> str:
    context = getattr(error, "ctx", None)
    return f"see: {context.command_path} --help" if context is not None else "see: distill --help"


def _report_bug(error: Exception) -> int:
    command = shlex.join(["distill", "--debug", *sys.argv[1:]])
    what = " ".join(f"{type(error).__name__}: {error}".split())
    print_error(
        f"internal error: {what}",
        f"this is a bug of distill; what is finished is kept; for the traceback:\n{command}",
    )
    return 70
