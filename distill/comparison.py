"""Models on the same problems: differences with interval and p-value, wins and losses, recovery.

Everything is paired by problem: two models find the same problems hard, and what they share says
nothing about which is better.

This module knows no files and no models.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from distill.eval_report import ModelReport
from distill.intervals import Estimate, difference_estimate, ratio_estimate
from distill.permutation import permutation_p_value

STUDENT = "student"
TEACHER = "teacher"
BASE = "base"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models on the same problems.

    Attributes:
        who: The one.
        other: The other.
        difference: Accuracy of the one minus the other's, paired by problem.
        p_value: Chance of a difference as large if both were right equally often.
        ratio: Accuracy of the one by the other's, such as recovery of the teacher; ``None`` if
            the other has none right.
        won: Problems that the one solves more often.
        lost: Problems that the other solves more often.
    """

    who: str
    other: str
    difference: Estimate
    p_value: float
    ratio: Estimate | None
    won: int
    lost: int


@dataclass(frozen=True, slots=True)
class EvalReport:
    """All models on one set of problems.

    Attributes:
        prompts: How many there are.
        prompts_hash: Of their content: figures of other prompts cannot be compared.
        models: In the order of evaluation.
        comparisons: The student with each other model.
    """

    prompts: int
    prompts_hash: str
    models: tuple[ModelReport, ...]
    comparisons: tuple[Comparison, ...]

    def model(self, who: str) -> ModelReport | None:
        """The report about one model."""
        return next((report for report in self.models if report.who == who), None)

    @property
    def recovery(self) -> Estimate | None:
        """The student's accuracy by the teacher's."""
        return next((pair.ratio for pair in self.comparisons if pair.other == TEACHER), None)


@dataclass(frozen=True, slots=True)
class ProblemPair:
    """One problem that two models solve unequally often.

    Attributes:
        id: Of its prompt.
        score: Accuracy of the one.
        other: Accuracy of the other.
    """

    id: str
    score: float
    other: float


def compare(prompts_hash: str, models: Sequence[ModelReport], who: str = STUDENT) -> EvalReport:
    """Put the reports about several models on the same problems together.

    Args:
        prompts_hash: Of the prompts.
        models: At least one.
        who: The one that each other is compared with.

    Raises:
        ValueError: If a report is about other problems.
    """
    ids = _ids(models[0])
    for report in models:
        if _ids(report) != ids:
            raise ValueError(f"the report about {report.who} is about other prompts")
    one = next((report for report in models if report.who == who), None)
    others = [report for report in models if report.who != who]
    return EvalReport(
        prompts=len(ids),
        prompts_hash=prompts_hash,
        models=tuple(models),
        comparisons=tuple(compare_pair(one, other) for other in others) if one else (),
    )


def compare_pair(one: ModelReport, other: ModelReport) -> Comparison:
    """Two models on the same problems in the same order.

    Raises:
        ValueError: If they are about other problems.
    """
    if _ids(one) != _ids(other):
        raise ValueError(f"the reports about {one.who} and {other.who} are about other prompts")
    won, lost = wins_and_losses(one, other)
    return Comparison(
        who=one.who,
        other=other.who,
        difference=difference_estimate(one.scores, other.scores),
        p_value=permutation_p_value(
            [(problem.right, problem.samples) for problem in one.problems],
            [(problem.right, problem.samples) for problem in other.problems],
        ),
        ratio=ratio_estimate(one.scores, other.scores),
        won=len(won),
        lost=len(lost),
    )


def wins_and_losses(
    one: ModelReport, other: ModelReport
) -> tuple[list[ProblemPair], list[ProblemPair]]:
    """Problems that the one solves more often, and those that the other does, clearest first."""
    pairs = [
        ProblemPair(mine.id, mine.score, its.score)
        for mine, its in zip(one.problems, other.problems, strict=True)
    ]
    pairs.sort(key=lambda pair: -abs(pair.score - pair.other))
    won = [pair for pair in pairs if pair.score > pair.other]
    return won, [pair for pair in pairs if pair.score < pair.other]


def _ids(report: ModelReport) -> tuple[str, ...]:
    return tuple(problem.id for problem in report.problems)
