"""One tree of errors: what a user can act on.

A ``DistillError`` says what was found, what is allowed and what to do next. The command line
prints it without a traceback and exits with its ``exit_code``. A programmer's mistake is a plain
``ValueError`` or ``TypeError``; bad model output is a ``Verdict``, not an error.
"""

from typing import ClassVar


class DistillError(Exception):
    """A mistake or condition that the user can act on.

    Attributes:
        exit_code: What the process exits with.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, problem: str, *, hint: str = "") -> None:
        """Take the problem (where, found, allowed) and the hint (what to do next)."""
        super().__init__(problem)
        self.problem = problem
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.problem}\n  {self.hint}" if self.hint else self.problem


class RecipeError(DistillError):
    """A recipe that cannot be read or holds a key or value that is not allowed."""

    exit_code = 2


class DataError(DistillError):
    """A prompt set, trace file or other input that is broken; names file and line."""

    exit_code = 3


class RunDirError(DistillError):
    """A run folder that belongs to another recipe or version, or is in use."""

    exit_code = 4


class StorageError(DistillError):
    """A disk that is full, read-only or fails."""

    exit_code = 5


class ModelError(DistillError):
    """A model, tokenizer or template that is missing or does not fit."""

    exit_code = 6


class StageError(DistillError):
    """A stage that ran and cannot give a usable result, such as a filter that keeps nothing."""

    exit_code = 7


class MissingDependencyError(DistillError):
    """An optional library that is not installed; the hint is the install line."""

    exit_code = 8


class TeacherError(DistillError):
    """An endpoint that refuses every request: a wrong key, URL or model, an empty account.

    Attributes:
        refused: Requests that it refused, so that nobody takes them for billed.
    """

    exit_code = 9

    def __init__(self, problem: str, *, hint: str = "", refused: int = 0) -> None:
        """Take the problem in the server's words, and how many requests it refused."""
        super().__init__(problem, hint=hint)
        self.refused = refused


class BudgetError(DistillError):
    """A limit on money, tokens or time that was reached; the stage goes on when it is raised."""

    exit_code = 10


class LicenceError(DistillError):
    """The terms of a base, a teacher or data that stand in the way of what the user wants."""

    exit_code = 12


class ClusterError(DistillError):
    """Machines to work on that do not answer, have no room, or do not share the run's folder."""

    exit_code = 14
