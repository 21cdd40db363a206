"""``ModelReport``: one model on one set of problems, from its judged traces.

It keeps a record of each problem, so that whoever reads it can compare models on the same problems
and take other k without the traces. A truncated, malformed or failed sample counts as wrong, and
the report says how many there were.

This module knows no files and no models.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from distill.intervals import Estimate, mean_estimate
from distill.metrics import Vote, cons_at_k, pass_at_k, shown_ks
from distill.tally import SamplingOutcome
from distill.types import Completer, Completion, JudgedTrace, Prompt, Sampling, Verifier
from distill.votes import Voter, voter_of

FaultFinder = Callable[[Completion], str]


@dataclass(frozen=True, slots=True)
class ProblemResult:
    """One problem.

    Attributes:
        id: Of its prompt.
        kind: Of its prompt.
        level: Of its prompt.
        samples: Completions that were drawn.
        right: How many the verifier accepted.
        unknown: How many it could not judge; they count as wrong.
        truncated: How many the token limit cut.
        malformed: How many ended by themselves and are not in the form that was asked for.
        failed: How many got no answer.
        votes: Samples of each wrong answer, most frequent first; empty where nothing is voted on.
        reasoning_tokens: Of all its samples; by their share of the characters where the model did
            not count them.
        answer_tokens: The same after the think tags.
    """

    id: str
    kind: str
    level: int
    samples: int
    right: int
    unknown: int
    truncated: int
    malformed: int
    failed: int
    votes: tuple[int, ...]
    reasoning_tokens: int
    answer_tokens: int

    @property
    def score(self) -> float:
        """Mean accuracy over its samples."""
        return self.right / self.samples


@dataclass(frozen=True, slots=True)
class PartFigures:
    """Accuracy on a part of the problems.

    Attributes:
        name: The kind or the level.
        prompts: How many there are.
        pass_at_1: Mean accuracy over their samples, with its interval.
    """

    name: str
    prompts: int
    pass_at_1: Estimate


@dataclass(frozen=True, slots=True)
class AtK:
    """What a user gets who draws ``k`` samples of each problem.

    Attributes:
        k: At most the samples that were drawn.
        pass_at_k: At least one is right.
        cons_at_k: The majority is right; ``None`` where nothing is voted on.
    """

    k: int
    pass_at_k: Estimate
    cons_at_k: Estimate | None


@dataclass(frozen=True, slots=True)
class ModelReport:
    """One model on a set of problems.

    Attributes:
        who: Its part in the run, such as ``"student"``.
        model: Its name.
        fingerprint: Of its weights and template.
        verifier: Who judged.
        sampling: How completions were drawn.
        samples: Completions per problem.
        pass_at_1: Mean accuracy over all samples, with an interval clustered by problem.
        at_k: The same for more samples, smallest k first.
        truncated: Share of samples that the token limit cut.
        malformed: Share that ended by themselves and are not in the form that was asked for.
        failed: Share that got no answer.
        unknown: Share that the verifier could not judge.
        output_tokens: Mean over samples.
        reasoning_tokens: The part of them in think tags.
        answer_tokens: The part after them.
        seconds_per_problem: Wall time of all samples of a problem at the pace of this try; ``None``
            if it drew nothing.
        kinds: Accuracy by kind of prompt, in the order of the prompts.
        levels: Accuracy by level, lowest first.
        problems: One record for each, in the order of the prompts.
        outcome: How the sampling went, with time and speed of this try.
    """

    who: str
    model: str
    fingerprint: str
    verifier: str
    sampling: Sampling
    samples: int
    pass_at_1: Estimate
    at_k: tuple[AtK, ...]
    truncated: float
    malformed: float
    failed: float
    unknown: float
    output_tokens: float
    reasoning_tokens: float
    answer_tokens: float
    seconds_per_problem: float | None
    kinds: tuple[PartFigures, ...]
    levels: tuple[PartFigures, ...]
    problems: tuple[ProblemResult, ...]
    outcome: SamplingOutcome

    @property
    def scores(self) -> tuple[float, ...]:
        """Accuracy on each problem, in the order of the prompts."""
        return tuple(problem.score for problem in self.problems)

    @property
    def cons_at_k(self) -> Estimate | None:
        """Accuracy of the majority of all samples of a problem."""
        return self.at_k[-1].cons_at_k


def report_model(
    prompts: Sequence[Prompt],
    traces: Iterable[JudgedTrace],
    *,
    who: str,
    completer: Completer,
    verifier: Verifier,
    sampling: Sampling,
    outcome: SamplingOutcome,
    find_fault: FaultFinder,
) -> ModelReport:
    """Count what came of sampling a model.

    Args:
        prompts: What was sampled.
        traces: By rank of their prompt, then by sample, equally many of each prompt.
        who: Its part in the run.
        completer: The model.
        verifier: Who judged.
        sampling: How the traces were drawn.
        outcome: How the sampling went.
        find_fault: What is wrong with the form of a finished completion.
    """
    problems = tuple(problem_results(prompts, traces, voter_of(verifier.name), find_fault))
    samples = problems[0].samples
    total = samples * len(problems)

    def mean(name: str) -> float:
        return float(sum(getattr(problem, name) for problem in problems) / total)

    drawn = outcome.samples - outcome.resumed
    return ModelReport(
        who=who,
        model=completer.model,
        fingerprint=completer.fingerprint,
        verifier=verifier.name,
        sampling=sampling,
        samples=samples,
        pass_at_1=mean_estimate([problem.score for problem in problems]),
        at_k=tuple(
            figures_at(k, problems, has_votes=voter_of(verifier.name) is not None)
            for k in shown_ks(samples)
        ),
        truncated=mean("truncated"),
        malformed=mean("malformed"),
        failed=mean("failed"),
        unknown=mean("unknown"),
        output_tokens=mean("reasoning_tokens") + mean("answer_tokens"),
        reasoning_tokens=mean("reasoning_tokens"),
        answer_tokens=mean("answer_tokens"),
        seconds_per_problem=outcome.seconds / drawn * samples if drawn else None,
        kinds=_parts((problem.kind, problem.score) for problem in problems),
        levels=_parts(
            (str(problem.level), problem.score)
            for problem in sorted(problems, key=lambda one: one.level)
        ),
        problems=problems,
        outcome=outcome,
    )


def figures_at(k: int, problems: Sequence[ProblemResult], *, has_votes: bool) -> AtK:
    """pass@k and cons@k over all problems.

    Raises:
        ValueError: If a problem has fewer than ``k`` samples.
    """
    passed = [pass_at_k(problem.samples, problem.right, k) for problem in problems]
    agreed = [cons_at_k(_votes(problem), k) for problem in problems] if has_votes else []
    return AtK(k, mean_estimate(passed), mean_estimate(agreed) if agreed else None)


def problem_results(
    prompts: Sequence[Prompt],
    traces: Iterable[JudgedTrace],
    voter: Voter | None,
    find_fault: FaultFinder,
) -> Iterator[ProblemResult]:
    """One record for each prompt that has traces, in their order."""
    by_id = {prompt.id: prompt for prompt in prompts}
    for prompt_id, group in groupby(traces, key=lambda judged: judged.trace.prompt_id):
        yield _problem_result(by_id[prompt_id], list(group), voter, find_fault)


def _problem_result(
    prompt: Prompt, group: Sequence[JudgedTrace], voter: Voter | None, find_fault: FaultFinder
) -> ProblemResult:
    completions = [judged.trace.completion for judged in group]
    verdicts = [judged.verdict.is_accepted for judged in group]
    wrong: dict[str, int] = {}
    for completion, is_accepted in zip(completions, verdicts, strict=True):
        vote = voter(prompt, completion) if voter and is_accepted is not True else None
        if vote is not None:
            wrong[vote] = wrong.get(vote, 0) + 1
    reasoning = sum(map(_reasoning_tokens, completions))
    output = sum(completion.usage.output_tokens for completion in completions)
    return ProblemResult(
        id=prompt.id,
        kind=prompt.kind,
        level=prompt.level,
        samples=len(group),
        right=verdicts.count(True),
        unknown=verdicts.count(None),
        truncated=sum(completion.is_truncated for completion in completions),
        malformed=sum(
            completion.finish == "stop" and bool(find_fault(completion))
            for completion in completions
        ),
        failed=sum(completion.finish == "error" for completion in completions),
        votes=tuple(sorted(wrong.values(), reverse=True)),
        reasoning_tokens=reasoning,
        answer_tokens=output - reasoning,
    )


def _reasoning_tokens(completion: Completion) -> int:
    usage, reasoning = completion.usage, completion.reasoning or ""
    if usage.reasoning_tokens or not reasoning:
        return usage.reasoning_tokens
    return round(usage.output_tokens * len(reasoning) / len(reasoning + completion.text))


def _votes(problem: ProblemResult) -> list[Vote]:
    votes = [Vote(None, True)] * problem.right
    for rank, count in enumerate(problem.votes):
        votes += [Vote(str(rank), False)] * count
    return votes + [Vote(None, False)] * (problem.samples - len(votes))


def _parts(scores: Iterable[tuple[str, float]]) -> tuple[PartFigures, ...]:
    parts: dict[str, list[float]] = {}
    for name, score in scores:
        parts.setdefault(name, []).append(score)
    return tuple(PartFigures(name, len(part), mean_estimate(part)) for name, part in parts.items())
