"""What a page shows of the evaluation beyond the report: lengths, and traces side by side.

Every journal is read once, one trace at a time; only the traces that are shown are kept.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from distill.comparison import STUDENT, Comparison, EvalReport, ProblemPair, wins_and_losses
from distill.eval_result import read_result
from distill.prompts import read_prompts
from distill.records import from_record
from distill.stored_run import StoredRun
from distill.traces import read_traces
from distill.types import JudgedTrace, Prompt

_SHOWN: Final = 5
"""Problems won, and as many lost, of each comparison."""


@dataclass(slots=True)
class Lengths:
    """Samples of one model by their number of tokens, each part up to twice the one before.

    Attributes:
        samples: Power of two that a sample's tokens do not exceed, to samples.
        right: The same, of those that the verifier accepted.
    """

    samples: Counter[int] = field(default_factory=Counter)
    right: Counter[int] = field(default_factory=Counter)

    def add(self, judged: JudgedTrace) -> None:
        """Count a sample."""
        tokens = judged.trace.completion.usage.output_tokens
        most = 1 << max(tokens - 1, 0).bit_length()
        self.samples[most] += 1
        self.right[most] += judged.verdict.is_accepted is True


@dataclass(frozen=True, slots=True)
class Side:
    """A problem that two models solve unequally often, with a trace of each that shows it.

    Attributes:
        pair: Who solves it how often.
        prompt: What was asked; ``None`` if the file of prompts is gone.
        traces: By model: a right one of who does better, a wrong one of who does worse.
    """

    pair: ProblemPair
    prompt: Prompt | None
    traces: Mapping[str, JudgedTrace]


@dataclass(frozen=True, slots=True)
class Duel:
    """The student and another model.

    Attributes:
        comparison: The figures.
        won: Problems that the student solves more often, clearest first.
        lost: Problems that the other does.
    """

    comparison: Comparison
    won: Sequence[Side]
    lost: Sequence[Side]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was read.

    Attributes:
        report: All models; ``None`` if nothing was evaluated to the end.
        lengths: By model.
        duels: The student with each other model.
    """

    report: EvalReport | None
    lengths: Mapping[str, Lengths]
    duels: Sequence[Duel]


def read_evidence(stored: StoredRun) -> Evidence:
    """Read what an evaluation left; nothing of one that is under way.

    Raises:
        DataError: If a file is broken.
    """
    if not stored.manifest.is_finished("eval"):
        return Evidence(None, {}, ())
    summary = stored.manifest.stages["eval"].summary["report"]
    report = from_record(EvalReport, dict(summary), str(stored.paths.manifest))
    results = {one.who: read_result(stored.paths.result(one.who)).report for one in report.models}
    prompts = read_prompts(stored.paths.eval_prompts)
    pairs = {
        comparison.other: tuple(
            part[:_SHOWN] for part in wins_and_losses(results[STUDENT], results[comparison.other])
        )
        for comparison in report.comparisons
    }
    wanted = _wanted(pairs)
    shown: dict[tuple[str, str, bool], JudgedTrace] = {}
    lengths: dict[str, Lengths] = {}
    for who in results:
        lengths[who] = Lengths()
        for judged in read_traces(stored.paths.judged(who), prompts):
            lengths[who].add(judged)
            key = (who, judged.trace.prompt_id, judged.verdict.is_accepted is True)
            if key in wanted and key not in shown:
                shown[key] = judged
    texts = {prompt.id: prompt for prompt in prompts}
    duels = [
        Duel(
            comparison,
            *(
                [_side(pair, comparison.other, texts, shown) for pair in part]
                for part in pairs[comparison.other]
            ),
        )
        for comparison in report.comparisons
    ]
    return Evidence(report, lengths, duels)


def _wanted(
    pairs: Mapping[str, tuple[Sequence[ProblemPair], ...]],
) -> set[tuple[str, str, bool]]:
    """(model, problem, whether a right trace) of every trace that is shown."""
    wanted = set()
    for other, parts in pairs.items():
        for pair in (pair for part in parts for pair in part):
            is_won = pair.score > pair.other
            wanted |= {(STUDENT, pair.id, is_won), (other, pair.id, not is_won)}
    return wanted


def _side(
    pair: ProblemPair,
    other: str,
    texts: Mapping[str, Prompt],
    shown: Mapping[tuple[str, str, bool], JudgedTrace],
) -> Side:
    is_won = pair.score > pair.other
    keys = {STUDENT: (STUDENT, pair.id, is_won), other: (other, pair.id, not is_won)}
    traces = {who: shown[key] for who, key in keys.items() if key in shown}
    return Side(pair, texts.get(pair.id), traces)
