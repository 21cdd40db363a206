"""A recording gives back what was recorded, and says what was not."""

import subprocess
import sys
from pathlib import Path

import pytest

import teachers
from distill.errors import DataError, StageError
from distill.journal import Journal
from distill.recipe import ReplayTeacher as ReplaySection
from distill.sampling import sample_prompts
from distill.schedule import SamplingPlan
from distill.traces import read_traces, trace_line
from distill.types import (
    Answer,
    Completion,
    JudgedTrace,
    Prompt,
    Request,
    Sampling,
    Trace,
    Usage,
    Verdict,
)
from distill.verify.answer import AnswerVerifier
from teachers.replay import ReplayTeacher

PROMPTS = [Prompt(f"p{rank}", "?", "1") for rank in range(5)]


def _recorded(prompt: Prompt, index: int) -> Completion:
    usage = Usage(3, 9, 4)
    if index == 1:
        return Completion("", f"{prompt.id} is cut", "length", usage)
    return Completion(rf"\boxed{{{index}}}", f"{prompt.id} {index}", "stop", usage)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "recorded.jsonl"
    with Journal.open(path) as journal:
        journal.append({"kind": "header"})
        for index in range(3):
            for prompt in PROMPTS:
                trace = Trace(prompt.id, index, "deep", _recorded(prompt, index))
                journal.append(trace_line(JudgedTrace(trace, Verdict(None, "", "other/1"))))
    return path


class _Requests:
    """Hands out given requests."""

    def __init__(self, requests: list[Request]) -> None:
        self.waiting = requests

    def take(self, n: int) -> list[Request]:
        taken, self.waiting = self.waiting[:n], self.waiting[n:]
        return taken


def _ask(teacher: ReplayTeacher, *requests: Request) -> list[Answer]:
    return list(teacher.complete(_Requests(list(requests)), Sampling()))


def test_every_recorded_sample_comes_back_as_it_was(recording: Path) -> None:
    teacher = ReplayTeacher(recording)
    assert teacher.model == "deep"
    requests = [Request(prompt, index) for prompt in PROMPTS for index in range(3)] * 9
    answers = _ask(teacher, *requests)
    assert [answer.request for answer in answers] == requests
    for answer in answers:
        assert answer.completion == _recorded(answer.request.prompt, answer.request.sample_index)


def test_a_missing_recording_is_a_failed_sample_that_names_itself(recording: Path) -> None:
    (answer,) = _ask(ReplayTeacher(recording), Request(PROMPTS[2], 7))
    assert answer.completion.finish == "error"
    assert answer.completion.error == f"sample 7 of prompt 'p2' is not in {recording}"


def test_a_replayed_run_gives_the_recorded_traces_judged_anew(
    recording: Path, tmp_path: Path
) -> None:
    path = tmp_path / "traces.jsonl"
    teacher = teachers.build(ReplaySection(path=recording), batch_size=8)
    with Journal.open(path) as journal:
        outcome = sample_prompts(
            PROMPTS,
            teacher,
            AnswerVerifier(),
            sampling=Sampling(),
            plan=SamplingPlan(4, until_correct=2),
            journal=journal,
            stage="generate",
            max_failed_share=0.25,
        )
    assert (outcome.samples, outcome.accepted, outcome.truncated, outcome.failed) == (20, 0, 5, 5)
    for judged in read_traces(path, PROMPTS, samples=3):
        index = judged.trace.sample_index
        assert judged.trace.completion == _recorded(PROMPTS[int(judged.trace.prompt_id[1])], index)
        assert judged.verdict.verifier == "answer/2"


def test_a_recording_of_other_prompts_stops_the_stage_with_the_reason(
    recording: Path, tmp_path: Path
) -> None:
    with Journal.open(tmp_path / "t.jsonl") as journal, pytest.raises(StageError) as caught:
        sample_prompts(
            [Prompt("q", "?", "1")],
            ReplayTeacher(recording),
            AnswerVerifier(),
            sampling=Sampling(),
            plan=SamplingPlan(1),
            journal=journal,
            stage="generate",
        )
    assert "sample 0 of prompt 'q' is not in" in caught.value.problem


def test_another_recording_is_another_teacher(recording: Path, tmp_path: Path) -> None:
    first = ReplayTeacher(recording).fingerprint
    assert ReplayTeacher(recording).fingerprint == first
    with Journal.open(recording) as journal:
        trace = Trace("p9", 0, "deep", Completion("x"))
        journal.append(trace_line(JudgedTrace(trace, Verdict(None, "", "other/1"))))
    assert ReplayTeacher(recording).fingerprint != first


def test_a_file_without_traces_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    with pytest.raises(DataError, match="holds no traces"):
        ReplayTeacher(empty)
    with pytest.raises(DataError, match="there is no such file"):
        ReplayTeacher(tmp_path / "missing.jsonl")
    other = tmp_path / "other.jsonl"
    other.write_text('{"a": 1}\n{"b": 2}\n')
    with pytest.raises(DataError, match=r"other\.jsonl:1: the record is broken"):
        ReplayTeacher(other)


def test_a_replay_never_waits_for_torch(recording: Path, repository: Path) -> None:
    code = (
        "import sys, pathlib, teachers; from distill.recipe import ReplayTeacher;"
        "teachers.build(ReplayTeacher(path=pathlib.Path(sys.argv[1])), batch_size=1);"
        "sys.exit('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(recording)]
    assert subprocess.run(command, cwd=repository, check=False).returncode == 0
