"""The report of a generate stage says what is in the journal."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from distill.errors import DataError
from distill.generate import GenerateReport, generate
from distill.recipe import GenerateSection
from distill.traces import read_traces
from distill.types import Completion, Prompt
from distill.verify.answer import AnswerVerifier


def _generate(path: Path, prompts: list[Prompt], completer: Any, **settings: Any) -> GenerateReport:
    section = GenerateSection(max_failed_share=1.0, **settings)
    return generate(prompts, completer, AnswerVerifier(), section, seed=1, journal_path=path)


def _script(request: Any, block: Any) -> Completion:
    """First sample right, second malformed, third cut, fourth failed."""
    right = rf"\boxed{{{request.prompt.answer}}}"
    return (
        Completion(right, "work"),
        Completion(right),
        Completion("", "work", "length"),
        Completion("", None, "error", error="lost"),
    )[request.sample_index]


def test_each_fate_of_a_sample_is_counted(
    prompts: list[Prompt], scripted: Any, tmp_path: Path
) -> None:
    prompts[6] = replace(prompts[6], answer=None)
    report = _generate(tmp_path / "t.jsonl", prompts, scripted(_script), samples=4)
    assert (report.model, report.prompts, report.samples) == ("scripted", 7, 28)
    assert report.accepted == 12  # six prompts have gold; the malformed second one is right too
    assert report.unknown == 2
    assert report.malformed == 7
    assert report.truncated == 7
    assert report.failed == 7
    assert report.covered == 6


def test_figures_by_kind_add_up_to_the_whole(
    prompts: list[Prompt], scripted: Any, tmp_path: Path
) -> None:
    path = tmp_path / "t.jsonl"
    report = _generate(path, prompts, scripted(), samples=3)
    assert [(kind.kind, kind.prompts, kind.samples) for kind in report.kinds] == [
        ("story", 4, 12),
        ("shop", 3, 9),
    ]
    traces = list(read_traces(path, prompts))
    for figures in report.kinds:
        ids = {prompt.id for prompt in prompts if prompt.kind == figures.kind}
        right = [j for j in traces if j.trace.prompt_id in ids and j.verdict.is_accepted]
        assert figures.accepted == len(right)
        assert figures.covered == len({judged.trace.prompt_id for judged in right})
    assert report.accepted == sum(kind.accepted for kind in report.kinds)
    assert report.covered == sum(kind.covered for kind in report.kinds)


def test_the_report_of_a_resumed_run_is_that_of_the_whole_run(
    prompts: list[Prompt], scripted: Any, tmp_path: Path
) -> None:
    whole = _generate(tmp_path / "whole.jsonl", prompts, scripted(), samples=3)
    with pytest.raises(scripted.Kill):
        _generate(tmp_path / "t.jsonl", prompts, scripted(dies_after=8), samples=3)
    resumed = _generate(tmp_path / "t.jsonl", prompts, scripted(), samples=3)
    assert resumed.outcome.resumed > 0
    assert replace(resumed, outcome=whole.outcome) == whole


def test_until_correct_without_any_gold_answer_is_refused(
    prompts: list[Prompt], scripted: Any, tmp_path: Path
) -> None:
    without = [replace(prompt, answer=None) for prompt in prompts]
    with pytest.raises(DataError, match="needs gold answers"):
        _generate(tmp_path / "t.jsonl", without, scripted(), samples=3, until_correct=1)
    assert _generate(tmp_path / "t.jsonl", without, scripted(), samples=3).unknown > 0
