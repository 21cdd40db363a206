"""``distill eval compare`` and ``rejudge`` on a finished run, and on evaluations on their own."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from distill.eval_result import EvalResult, read_result, write_result
from distill.journal import Journal, read_journal
from distill.prompts import read_prompts
from distill.rejudge import rejudge
from distill.traces import trace_from, trace_line
from distill.types import Verdict
from distill.verify.answer import AnswerVerifier
from tests.cli.conftest import invoke_in


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of a finished run: base, student and teacher on four problems."""
    shutil.copytree(finished_run / "runs" / "tiny", tmp_path / "tiny")
    return tmp_path / "tiny"


def changed(path: Path, to: Path, right: list[int]) -> EvalResult:
    """A copy of a result with other counts of right samples."""
    result = read_result(path)
    problems = [
        replace(problem, right=count)
        for problem, count in zip(result.report.problems, right, strict=True)
    ]
    report = replace(result.report, problems=tuple(problems))
    copy = replace(result, report=report)
    write_result(to, copy)
    return copy


def test_a_run_alone_compares_its_student_with_all_others(run: Path) -> None:
    shown = invoke_in(run.parent, "eval", "compare", run)
    assert shown.code == 0, shown.err
    assert "student against base" in shown.out
    assert "student against teacher" in shown.out
    told = json.loads(invoke_in(run.parent, "eval", "compare", run, "--json").out)
    assert list(told["models"]) == ["student", "base", "teacher"]
    reports = {
        who: read_result(run / "eval" / "results" / f"{who}.json").report
        for who in ("student", "teacher")
    }
    pair = next(one for one in told["comparisons"] if one["other"] == "teacher")
    differences = [
        mine - its
        for mine, its in zip(reports["student"].scores, reports["teacher"].scores, strict=True)
    ]
    assert pair["difference"]["value"] == pytest.approx(sum(differences) / len(differences))
    assert len(pair["problems_lost"]) == sum(one < 0 for one in differences)
    assert 0 < pair["p_value"] <= 1


def test_conditions_are_gates_with_an_exit_code_of_their_own(run: Path) -> None:
    met = invoke_in(run.parent, "eval", "compare", run, "--require", "student <= teacher")
    assert met.code == 0, met.err
    assert "met  student <= teacher" in met.out
    failed = invoke_in(
        run.parent,
        *("eval", "compare", run, "--json"),
        *("--require", "student.truncated >= 0", "--require", "student > 2 * teacher + 1"),
    )
    assert failed.code == 13
    gates = json.loads(failed.out)["gates"]
    assert [gate["is_met"] for gate in gates] == [True, False]


def test_a_regression_is_measured_against_each_of_the_others(run: Path) -> None:
    student = run / "eval" / "results" / "student.json"
    folder = run.parent
    changed(student, folder / "new.json", [1, 2, 0, 2])
    changed(student, folder / "old.json", [2, 2, 0, 2])
    command = ["eval", "compare", "new=new.json", "old=old.json", "--max-regression"]
    assert invoke_in(folder, *command, "12.5").code == 0
    shown = invoke_in(folder, *command, "12.4")
    assert shown.code == 13
    assert "NOT MET  new loses at most 12.4 points to old  (12.5 and 12.4)" in shown.out
    assert "lost        1 problem:" in shown.out


def test_two_runs_compare_their_students_by_the_names_of_their_folders(run: Path) -> None:
    shutil.copytree(run, run.parent / "other")
    shown = invoke_in(run.parent, "eval", "compare", "tiny", "other")
    assert shown.code == 0, shown.err
    assert "tiny against other" in shown.out
    assert "+0.0 points" in shown.out
    assert "tiny gained" in shown.out  # over the base of its own run
    chosen = invoke_in(run.parent, "eval", "compare", "tiny:teacher", "other:base", "--json")
    assert list(json.loads(chosen.out)["models"]) == ["teacher", "base"]


def test_other_problems_are_refused_and_say_what_each_was_asked(run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text('{"text": "1 + 1?", "answer": "2"}\n')
    shown = invoke_in(
        tmp_path,
        *("eval", run, "--benchmark", "mine.jsonl", "--samples", "2", "--max-tokens", "4"),
        *("--run-dir", "alone"),
    )
    assert shown.code == 0, shown.err
    refused = invoke_in(tmp_path, "eval", "compare", run, "alone")
    assert refused.code == 3
    assert "not measured on the same problems" in refused.err
    assert "embedded-eval, 4 problems" in refused.err
    assert "mine, 1 problems" in refused.err


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("student >= 0.9 * professor", "there is no model 'professor'; there are student, base"),
        ("student", "it is no comparison"),
        ("student == teacher", "only >=, >, <= and < compare"),
        ("student.speed > 1", "there is no metric 'speed'"),
        ("student.pass_at_9 > 1", "k is one of 1, 2"),
        ("__import__('os') > 1", "has no meaning here"),
        ("student >", "it cannot be read"),
        ("student > 1 / 0", "it divides by 0"),
    ],
)
def test_a_condition_that_cannot_be_read_is_told(run: Path, condition: str, message: str) -> None:
    shown = invoke_in(run.parent, "eval", "compare", run, "--require", condition)
    assert shown.code == 2
    assert message in shown.err
    assert "student >= 0.9 * teacher" in shown.err


def test_what_is_not_finished_or_no_result_is_never_compared(run: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["stages"]["eval"]["finished"] = None
    (run / "manifest.json").write_text(json.dumps(manifest))
    shown = invoke_in(run.parent, "eval", "compare", run)
    assert shown.code == 3
    assert "stage 'eval' of this run is not finished" in shown.err
    half = run.parent / "half.json"
    half.write_text((run / "eval" / "results" / "base.json").read_text()[:-200])
    assert "not valid JSON" in invoke_in(run.parent, "eval", "compare", half, half).err
    assert "there is no such run" in invoke_in(run.parent, "eval", "compare", "nowhere").err


def test_verdicts_judged_again_are_identical(run: Path) -> None:
    shown = invoke_in(run.parent, "eval", "rejudge", run)
    assert shown.code == 0, shown.err
    for who in ("base", "student", "teacher"):
        assert f"{who}" in shown.out
    assert shown.out.count("8 verdicts, all as they were (answer/2)") == 3


def test_a_verdict_that_differs_is_named_and_fails(run: Path) -> None:
    prompts = read_prompts(run / "prompts" / "eval.jsonl")
    path, other = run / "eval" / "teacher.jsonl", run.parent / "teacher.jsonl"
    records = list(read_journal(path))
    with Journal.open(other) as journal:
        journal.append(records[0])
        for place, record in enumerate(records[1:]):
            judged = trace_from(record, "x")
            if place == 0:
                is_right = judged.verdict.is_accepted is not True
                judged = replace(judged, verdict=Verdict(is_right, "bribed", "answer/2"))
            journal.append(trace_line(judged))
    other.replace(path)
    found = rejudge(path, prompts, AnswerVerifier())
    assert [one.then.reason for one in found.changed] == ["bribed"]
    shown = invoke_in(run.parent, "eval", "rejudge", run)
    assert shown.code == 13
    assert "1 differ" in shown.out
    assert "bribed  ->" in shown.out


def test_explain_tells_an_evaluated_completion(run: Path) -> None:
    shown = invoke_in(run.parent, "explain", run, "eval-0/0#1", "--model", "teacher")
    assert shown.code == 0, shown.err
    assert "eval-0/0#1  of teacher" in shown.out
    assert "Other samples of the prompt" in shown.out
    unknown = invoke_in(run.parent, "explain", run, "eval-0/9#0", "--model", "teacher")
    assert "there is no completion 'eval-0/9#0'" in unknown.err
    nobody = invoke_in(run.parent, "explain", run, "eval-0/0#0", "--model", "nobody")
    assert "there are base, student, teacher" in nobody.err


def test_the_hubs_file_says_what_was_measured(tmp_path: Path, run: Path) -> None:
    import yaml

    from distill.hub_results import write_hub_results

    result = read_result(run / "eval" / "results" / "student.json")
    assert write_hub_results(tmp_path, result) is None  # the Hub has no such data set
    facts = replace(result.benchmark, name="gsm8k", hub="openai/gsm8k", revision="abc")
    path = write_hub_results(tmp_path, replace(result, benchmark=facts))
    assert path == tmp_path / ".eval_results" / "gsm8k.yaml"
    (entry,) = yaml.safe_load(path.read_text())
    assert entry["dataset"] == {"id": "openai/gsm8k", "task_id": "gsm8k", "revision": "abc"}
    assert entry["value"] == round(100 * result.report.pass_at_1.value, 2)
    assert "2 samples of each of 4 problems" in entry["notes"]


def test_a_recipe_may_name_a_benchmark_and_a_wrong_one_is_told_at_once(
    tiny_job: Path, tmp_path: Path
) -> None:
    sets = ["--set", "eval.prompts.kind=benchmark", "--run-dir", tmp_path / "run"]
    wrong = invoke_in(
        tmp_path, "run", tiny_job / "tiny.toml", *sets, "--set", "eval.prompts.name=aime2024"
    )
    assert wrong.code == 2
    assert "did you mean 'aime24'" in wrong.err
    missing = invoke_in(
        tmp_path, "run", tiny_job / "tiny.toml", *sets, "--set", "eval.prompts.name=aime24"
    )
    assert missing.code == 3
    assert "hf download HuggingFaceH4/aime_2024" in missing.err
    assert not (tmp_path / "run" / "traces.jsonl").exists()


def test_a_recipes_models_are_put_on_a_benchmark_with_its_own_verifier(
    finished_run: Path, tiny_job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished_run.with_name("benchmarked") / "runs" / "tiny"  # as deep: its paths are relative
    shutil.copytree(finished_run / "runs" / "tiny", run)
    folder = run.parent / "copies" / "gpqa-diamond"
    folder.mkdir(parents=True)
    header = "Record ID,Question,Correct Answer,Incorrect Answer 1,Incorrect Answer 2"
    (folder / "gpqa_diamond.csv").write_text(
        f"{header},Incorrect Answer 3\nr1,What is 1 + 1?,2,3,4,5\nr2,What is 2 + 2?,4,5,6,7\n"
    )
    monkeypatch.setenv("DISTILL_BENCHMARKS", str(folder.parent))
    shown = invoke_in(
        run.parent,
        *("eval", tiny_job / "tiny.toml", "--run-dir", run, "--restart-from", "eval"),
        *("--set", "eval.prompts.kind=benchmark", "--set", "eval.prompts.name=gpqa-diamond"),
        *("--set", 'eval.models=["base", "student"]'),
    )
    assert shown.code == 0, shown.err
    result = read_result(run / "eval" / "results" / "student.json")
    assert (result.benchmark.name, result.benchmark.prompts) == ("gpqa-diamond", 2)
    assert result.report.verifier == "choice/1"
    manifest = json.loads((run / "manifest.json").read_text())
    files = manifest["stages"]["eval"]["settings"]["benchmark"]["files"]
    assert [one["name"] for one in files] == ["gpqa_diamond.csv"]  # pinned by its hash
    assert "2 held-out prompts" in invoke_in(run.parent, "status", run).out
