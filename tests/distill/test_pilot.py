"""Whole prompts as the unit: right sums, and an error that holds what it says."""

import math
import random
from pathlib import Path

import pytest

from distill.journal import Journal
from distill.pilot import PromptTotals, read_totals
from distill.traces import trace_line
from distill.types import Completion, JudgedTrace, Receipt, Trace, Usage, Verdict

Answers = list[tuple[int, bool]]
"""Of one prompt: output tokens, and whether the verifier accepted."""


def write_journal(path: Path, prompts: list[Answers], *, finish: str = "stop") -> Path:
    with Journal.open(path) as journal:
        journal.append({"kind": "header"})
        for name, answers in enumerate(prompts):
            for index, (tokens, is_right) in enumerate(answers):
                completion = Completion("", "", finish=finish, usage=Usage(output_tokens=tokens))  # type: ignore[arg-type]
                trace = Trace(str(name), index, "m", completion, Receipt("", 1.0))
                journal.append(trace_line(JudgedTrace(trace, Verdict(is_right, "", "v"))))
        journal.commit()
    return path


def test_prompts_with_all_their_answers_are_summed(tmp_path: Path) -> None:
    prompts: list[Answers] = [
        [(10, True)],
        [(10, False), (10, True)],
        [(10, False), (20, False), (30, False)],  # all that it gets
        [(99, False)],  # more are to come
    ]
    path = write_journal(tmp_path / "traces.jsonl", prompts)
    totals = read_totals(path, samples=3, until_correct=1)
    # Totals 10, 20, 60: mean 30, variance 700. With one more of 3 x 15: 33.75 and 522.9.
    low = 1 - 2 * math.sqrt(700 / 3) / 30
    high = (33.75 + 2 * math.sqrt(522.91667 / 4)) / 30
    assert totals == PromptTotals(3, 1, 2.0, 30.0, max(low, 0), pytest.approx(high))
    assert read_totals(path, samples=3, until_correct=None) is None


def test_samples_that_failed_are_no_answers(tmp_path: Path) -> None:
    path = write_journal(tmp_path / "traces.jsonl", [[(0, False)]] * 9, finish="error")
    assert read_totals(path, samples=1, until_correct=None) is None


@pytest.mark.parametrize("shape", [(0.8, 0.5), (2.0, 2.0), (0.3, 0.3)])
def test_the_range_of_a_pilot_of_20_prompts_holds_the_truth(
    shape: tuple[float, float], tmp_path: Path
) -> None:
    """Hard prompts get longer answers here. 19 of 20 are promised; of 60 pilots, 51 are the bar."""
    rng = random.Random(7)

    def pilot(count: int) -> list[Answers]:
        prompts = []
        for _ in range(count):
            rate, answers = rng.betavariate(*shape), []
            while len(answers) < 8 and not (answers and answers[-1][1]):
                tokens = 1000 * math.exp(rng.gauss(0, 0.5) + 1 - rate)
                answers.append((round(tokens), rng.random() < rate))
            prompts.append(answers)
        return prompts

    large = pilot(20_000)
    truth = sum(tokens for answers in large for tokens, _ in answers) / len(large)
    held = 0
    for number in range(60):
        path = write_journal(tmp_path / f"{number}.jsonl", pilot(20))
        totals = read_totals(path, samples=8, until_correct=1)
        assert totals is not None
        mean = totals.output_tokens
        held += totals.low * mean <= truth <= totals.high * mean
    assert held >= 51
