"""The report about a model agrees with its traces, counted by hand."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from distill.comparison import EvalReport, compare, wins_and_losses
from distill.errors import DataError
from distill.eval_report import ModelReport
from distill.eval_result import BenchmarkFacts, EvalResult, read_result, write_result
from distill.evaluate import evaluate
from distill.intervals import difference_estimate, mean_estimate
from distill.recipe import SamplingSection
from distill.records import from_record, to_record
from distill.traces import read_traces
from distill.types import Completion, Prompt, Usage
from distill.verify.answer import AnswerVerifier


def _evaluate(
    path: Path, prompts: list[Prompt], completer: Any, who: str = "student", samples: int = 4
) -> ModelReport:
    return evaluate(
        who,
        prompts,
        completer,
        AnswerVerifier(),
        SamplingSection(max_failed_share=1.0),
        samples=samples,
        seed=1,
        journal_path=path,
    )


def test_accuracy_is_the_mean_over_samples_with_prompts_as_the_unit(
    prompts: list[Prompt], scripted: Any, tmp_path: Path
) -> None:
    path = tmp_path / "eval" / "student.jsonl"
    report = _evaluate(path, prompts, scripted())
    traces = list(read_traces(path, prompts))
    right = Counter(judged.trace.prompt_id for judged in traces if judged.verdict.is_accepted)
    scores = [right[prompt.id] / 4 for prompt in prompts]
    assert report.scores == tuple(scores)
    assert report.pass_at_1 == mean_estimate(scores)
    assert report.samples == 4
    assert report.truncated == sum(j.trace.completion.is_truncated for j in traces) / 28
    assert report.output_tokens == fmean(j.trace.completion.usage.output_tokens for j in traces)


def test_parts_by_kind_and_level_hold_all_prompts(
    prompts: list[Prompt], scripted: Any, tmp_path: Path
) -> None:
    report = _evaluate(tmp_path / "t.jsonl", prompts, scripted())
    assert [(part.name, part.prompts) for part in report.kinds] == [("story", 4), ("shop", 3)]
    assert [(part.name, part.prompts) for part in report.levels] == [("2", 3), ("3", 2), ("4", 2)]
    stories = [
        score
        for score, prompt in zip(report.scores, prompts, strict=True)
        if prompt.kind == "story"
    ]
    assert report.kinds[0].pass_at_1 == mean_estimate(stories)


def test_each_fate_of_a_sample_is_reported_and_wrong(
    prompts: list[Prompt], scripted: Any, tmp_path: Path
) -> None:
    def script(request: Any, block: Any) -> Completion:
        right = rf"\boxed{{{request.prompt.answer}}}"
        return (
            Completion(right, "work", "length"),
            Completion(right, "work", "error", error="lost"),
            Completion(f"{right} {right}9", "work"),
            Completion(right),
        )[request.sample_index]

    report = _evaluate(tmp_path / "t.jsonl", prompts, scripted(script))
    assert (report.truncated, report.failed, report.malformed) == (0.25, 0.25, 0.25)
    assert report.pass_at_1.value == 0.5  # two boxes that agree are right, if not well formed
    assert report.cons_at_k is not None
    assert report.cons_at_k.value == 1.0  # cut and failed samples cast no vote


def test_consensus_is_the_majority_and_ties_count_in_part(
    prompts: list[Prompt], scripted: Any, tmp_path: Path
) -> None:
    answers = {"p0": "0 0 1", "p1": "1 2 2", "p2": "2 3 4", "p3": "x x x", "p4": "4 4 4"}

    def script(request: Any, block: Any) -> Completion:
        boxed = answers[request.prompt.id].split()[request.sample_index]
        return Completion(rf"\boxed{{{boxed}}}", "work")

    report = _evaluate(tmp_path / "t.jsonl", prompts[:5], scripted(script), samples=3)
    assert report.cons_at_k is not None
    assert report.cons_at_k.value == pytest.approx((1 + 0 + 1 / 3 + 0 + 1) / 5)
    assert report.pass_at_1.value == pytest.approx((2 / 3 + 1 / 3 + 1 / 3 + 0 + 1) / 5)


def test_a_resumed_evaluation_gives_the_same_report(
    prompts: list[Prompt], scripted: Any, tmp_path: Path
) -> None:
    whole = _evaluate(tmp_path / "whole.jsonl", prompts, scripted())
    with pytest.raises(scripted.Kill):
        _evaluate(tmp_path / "t.jsonl", prompts, scripted(dies_after=10))
    resumed = _evaluate(tmp_path / "t.jsonl", prompts, scripted())
    same = {"outcome": whole.outcome, "seconds_per_problem": whole.seconds_per_problem}
    assert replace(resumed, **same) == whole


def test_the_student_is_compared_with_every_other_on_the_same_prompts(
    prompts: list[Prompt], scripted: Any, tmp_path: Path
) -> None:
    def perfect(request: Any, block: Any) -> Completion:
        return Completion(rf"\boxed{{{request.prompt.answer}}}", "work")

    def hopeless(request: Any, block: Any) -> Completion:
        return Completion(r"\boxed{none}", "work")

    models = [
        _evaluate(tmp_path / f"{who}.jsonl", prompts, scripted(script), who)
        for who, script in (("base", hopeless), ("teacher", perfect))
    ]
    student = _evaluate(tmp_path / "student.jsonl", prompts, scripted())
    report = compare("hash", [models[0], student, models[1]])
    assert [(pair.who, pair.other) for pair in report.comparisons] == [
        ("student", "base"),
        ("student", "teacher"),
    ]
    against_base, against_teacher = report.comparisons
    assert against_base.difference.value == student.pass_at_1.value
    assert against_base.ratio is None
    assert against_teacher.difference == difference_estimate(student.scores, [1.0] * 7)
    assert report.recovery == against_teacher.ratio
    assert report.recovery is not None
    assert report.recovery.value == student.pass_at_1.value
    assert report.model("base") == models[0]
    assert report.model("nobody") is None


def test_without_a_student_there_is_nothing_to_compare(
    prompts: list[Prompt], scripted: Any, tmp_path: Path
) -> None:
    report = compare("hash", [_evaluate(tmp_path / "t.jsonl", prompts, scripted(), "base")])
    assert report.comparisons == ()
    assert report.recovery is None


def test_reports_about_other_prompts_cannot_be_compared(
    prompts: list[Prompt], scripted: Any, tmp_path: Path
) -> None:
    student = _evaluate(tmp_path / "a.jsonl", prompts, scripted())
    base = _evaluate(tmp_path / "b.jsonl", prompts[:3], scripted(), "base")
    with pytest.raises(ValueError, match="report about base is about other prompts"):
        compare("hash", [student, base])


def test_a_report_comes_back_from_json_as_it_was(
    prompts: list[Prompt], scripted: Any, tmp_path: Path
) -> None:
    models = [
        _evaluate(tmp_path / f"{who}.jsonl", prompts, scripted(), who)
        for who in ("base", "student", "teacher")
    ]
    report = compare("hash", models)
    stored = json.loads(json.dumps(to_record(report), allow_nan=False))
    assert from_record(EvalReport, stored, "report.json") == report


def test_prompts_without_gold_answers_are_refused(
    prompts: list[Prompt], scripted: Any, tmp_path: Path
) -> None:
    prompts[2] = replace(prompts[2], answer=" ")
    with pytest.raises(DataError, match=r"1 of 7 prompts .* the first is 'p2'"):
        _evaluate(tmp_path / "t.jsonl", prompts, scripted())
    with pytest.raises(DataError, match="there are no prompts"):
        _evaluate(tmp_path / "t.jsonl", [], scripted())


def test_each_problem_is_on_record_and_pass_at_k_comes_from_it(
    prompts: list[Prompt], scripted: Any, tmp_path: Path
) -> None:
    path = tmp_path / "t.jsonl"
    report = _evaluate(path, prompts, scripted())
    for problem, prompt in zip(report.problems, prompts, strict=True):
        group = [j for j in read_traces(path, prompts) if j.trace.prompt_id == prompt.id]
        assert problem.right == sum(j.verdict.is_accepted is True for j in group)
        assert problem.truncated == sum(j.trace.completion.is_truncated for j in group)
        assert problem.reasoning_tokens == 4 * 4
        assert problem.right + problem.truncated + sum(problem.votes) == problem.samples == 4
    assert [at.k for at in report.at_k] == [1, 2, 4]
    assert report.at_k[0].pass_at_k == report.pass_at_1
    at_least_one = [float(problem.right > 0) for problem in report.problems]
    assert report.at_k[-1].pass_at_k == mean_estimate(at_least_one)
    assert report.reasoning_tokens + report.answer_tokens == report.output_tokens


def test_reasoning_that_nobody_counted_has_its_share_of_the_tokens(
    prompts: list[Prompt], scripted: Any, tmp_path: Path
) -> None:
    def script(request: Any, block: Any) -> Completion:
        return Completion("a" * 25, "r" * 75, usage=Usage(output_tokens=40))

    report = _evaluate(tmp_path / "t.jsonl", prompts, scripted(script), samples=1)
    assert (report.reasoning_tokens, report.answer_tokens) == (30, 10)


def test_wins_and_losses_name_the_problems_clearest_first(
    prompts: list[Prompt], scripted: Any, tmp_path: Path
) -> None:
    def half(request: Any, block: Any) -> Completion:
        is_right = request.prompt.id == "p1" or request.sample_index == 0
        return Completion(rf"\boxed{{{request.prompt.answer if is_right else 99}}}", "work")

    def only_p2(request: Any, block: Any) -> Completion:
        return Completion(rf"\boxed{{{2 if request.prompt.id == 'p2' else 99}}}", "work")

    student = _evaluate(tmp_path / "a.jsonl", prompts, scripted(half))
    base = _evaluate(tmp_path / "b.jsonl", prompts, scripted(only_p2), "base")
    won, lost = wins_and_losses(student, base)
    assert [pair.id for pair in won] == ["p1", "p0", "p3", "p4", "p5", "p6"]
    assert [(pair.id, pair.score, pair.other) for pair in lost] == [("p2", 0.25, 1.0)]
    (pair,) = compare("hash", [student, base]).comparisons
    assert (pair.won, pair.lost) == (6, 1)


def test_a_result_comes_back_from_its_file_and_others_are_refused(
    prompts: list[Prompt], scripted: Any, tmp_path: Path
) -> None:
    facts = BenchmarkFacts("mine", "", "", "", 7, "hash", ())
    result = EvalResult.of(facts, _evaluate(tmp_path / "t.jsonl", prompts, scripted()))
    path = tmp_path / "results" / "student.json"
    write_result(path, result)
    assert read_result(path) == result
    record = json.loads(path.read_text())
    for change, message in (
        ({"format": 99}, "a result of format 99"),
        ({"report": None}, "report must be an object"),
    ):
        path.write_text(json.dumps({**record, **change}))
        with pytest.raises(DataError, match=message):
            read_result(path)
    path.write_text('{"models": []}')
    with pytest.raises(DataError, match="no result of an evaluation"):
        read_result(path)
    path.write_text("{")
    with pytest.raises(DataError, match="not valid JSON"):
        read_result(path)
