"""Sampling loses nothing, pays for nothing twice, and resumes to the same result."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from distill.errors import DataError, RunDirError, StageError
from distill.journal import Journal
from distill.sampling import sample_prompts
from distill.schedule import SamplingPlan
from distill.tally import SamplingOutcome
from distill.traces import read_traces
from distill.types import Completion, Progress, Prompt, Sampling
from distill.verify.answer import AnswerVerifier

PLANS = [SamplingPlan(3), SamplingPlan(5, until_correct=1), SamplingPlan(5, until_correct=2)]
SAMPLING = Sampling(seed=3)


def _sample(
    path: Path, prompts: list[Prompt], completer: Any, plan: SamplingPlan, **options: Any
) -> SamplingOutcome:
    with Journal.open(path) as journal:
        return sample_prompts(
            prompts,
            completer,
            AnswerVerifier(),
            plan=plan,
            journal=journal,
            **{"stage": "generate", "sampling": SAMPLING, **options},
        )


def _same(outcome: SamplingOutcome) -> SamplingOutcome:
    """Without what a resumed run may differ in."""
    return replace(outcome, seconds=0, tokens_per_second=0, resumed=0)


@pytest.mark.parametrize("plan", PLANS)
def test_traces_and_figures_do_not_depend_on_the_order_of_arrival(
    plan: SamplingPlan,
    prompts: list[Prompt],
    scripted: Any,
    tmp_path: Path,
) -> None:
    results = []
    for seed in range(5):
        path = tmp_path / f"{seed}.jsonl"
        completer = scripted(seed=seed)
        outcome = _sample(path, prompts, completer, plan)
        results.append((_same(outcome), list(read_traces(path, prompts))))
    assert all(result == results[0] for result in results)


def test_what_was_drawn_is_judged_counted_and_stored(
    prompts: list[Prompt], scripted: Any, tmp_path: Path
) -> None:
    path = tmp_path / "traces.jsonl"
    outcome = _sample(path, prompts, scripted(), SamplingPlan(3))
    traces = list(read_traces(path, prompts))
    assert [judged.trace.id for judged in traces] == [
        f"p{rank}#{index}" for rank in range(7) for index in range(3)
    ]
    assert outcome.samples == 21
    assert outcome.accepted == sum(judged.verdict.is_accepted is True for judged in traces)
    assert 0 < outcome.accepted < 21
    assert outcome.truncated == sum(judged.trace.completion.is_truncated for judged in traces)
    assert outcome.output_tokens == sum(
        judged.trace.completion.usage.output_tokens for judged in traces
    )
    assert (outcome.failed, outcome.resumed) == (0, 0)


def test_sampling_stops_when_a_prompt_has_its_accepted_traces(
    prompts: list[Prompt], scripted: Any, tmp_path: Path
) -> None:
    path = tmp_path / "traces.jsonl"
    _sample(path, prompts, scripted(), SamplingPlan(5, until_correct=1))
    for prompt in prompts:
        verdicts = [
            judged.verdict.is_accepted
            for judged in read_traces(path, prompts)
            if judged.trace.prompt_id == prompt.id
        ]
        assert True not in verdicts[:-1]
        assert verdicts[-1] is True or len(verdicts) == 5


@pytest.mark.parametrize("plan", PLANS)
def test_a_journal_cut_at_any_record_resumes_to_the_uninterrupted_result(
    plan: SamplingPlan,
    prompts: list[Prompt],
    scripted: Any,
    tmp_path: Path,
) -> None:
    whole = tmp_path / "whole.jsonl"
    expected = _sample(whole, prompts, scripted(), plan)
    expected_traces = list(read_traces(whole, prompts))
    lines = whole.read_bytes().splitlines(keepends=True)
    for kept in range(len(lines) + 1):
        path = tmp_path / f"{kept}.jsonl"
        torn = lines[kept][: kept % 7] if kept < len(lines) else b""
        path.write_bytes(b"".join(lines[:kept]) + torn)
        completer = scripted(seed=kept)
        outcome = _sample(path, prompts, completer, plan)
        assert _same(outcome) == _same(expected)
        assert list(read_traces(path, prompts)) == expected_traces
        assert len(path.read_bytes().splitlines()) == len(lines)  # nothing is stored twice
        stored = max(kept - 1, 0)
        assert len(completer.asked) == expected.samples - stored  # and nothing is asked again


@pytest.mark.parametrize("plan", PLANS)
def test_a_run_that_dies_again_and_again_ends_as_if_it_never_had(
    plan: SamplingPlan,
    prompts: list[Prompt],
    scripted: Any,
    tmp_path: Path,
) -> None:
    whole, path = tmp_path / "whole.jsonl", tmp_path / "traces.jsonl"
    expected = _sample(whole, prompts, scripted(), plan)
    for tries in range(100):
        completer = scripted(dies_after=5, seed=tries)
        try:
            outcome = _sample(path, prompts, completer, plan)
            break
        except scripted.Kill:
            continue
    assert 1 < tries < 10
    assert _same(outcome) == _same(expected)
    assert list(read_traces(path, prompts)) == list(read_traces(whole, prompts))


def test_a_finished_journal_asks_for_nothing(
    prompts: list[Prompt], scripted: Any, tmp_path: Path
) -> None:
    path = tmp_path / "traces.jsonl"
    first = _sample(path, prompts, scripted(), SamplingPlan(3))
    before = path.read_bytes()
    again = scripted()
    second = _sample(path, prompts, again, SamplingPlan(3))
    assert again.asked == []
    assert path.read_bytes() == before
    assert second.resumed == second.samples == first.samples


def test_more_samples_can_be_drawn_into_the_same_journal(
    prompts: list[Prompt], scripted: Any, tmp_path: Path
) -> None:
    path, whole = tmp_path / "traces.jsonl", tmp_path / "whole.jsonl"
    _sample(path, prompts, scripted(), SamplingPlan(2))
    _sample(path, prompts, scripted(), SamplingPlan(5))
    _sample(whole, prompts, scripted(), SamplingPlan(5))
    assert list(read_traces(path, prompts)) == list(read_traces(whole, prompts))


def test_a_sample_counts_once_it_is_on_the_disk(
    prompts: list[Prompt], scripted: Any, tmp_path: Path
) -> None:
    path = tmp_path / "traces.jsonl"
    counted: list[int] = []

    def look(progress: Progress) -> None:
        counted.append(progress.done)
        assert progress.done <= len(path.read_bytes().splitlines()) - 1

    many = [Prompt(f"p{rank}", "?", str(rank)) for rank in range(100)]
    _sample(path, many, scripted(_slow), SamplingPlan(1), on_progress=look)
    assert len(set(counted)) > 2
    assert counted[-1] == 100


def _slow(request: Any, block: Any) -> Completion:
    time.sleep(0.003)
    return Completion(r"\boxed{1}", "work")


def test_ctrl_c_keeps_what_is_finished(
    prompts: list[Prompt], scripted: Any, tmp_path: Path
) -> None:
    path = tmp_path / "traces.jsonl"

    def interrupt(progress: Progress) -> None:
        if progress.done >= 6:
            raise KeyboardInterrupt

    many = [Prompt(f"p{rank}", "?", str(rank)) for rank in range(100)]
    with pytest.raises(KeyboardInterrupt):
        _sample(path, many, scripted(_slow), SamplingPlan(3), on_progress=interrupt)
    assert 6 <= len(list(read_traces(path, many))) < 300


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sampling": Sampling(seed=4)}, "seed was 3, is 4"),
        (
            {"sampling": Sampling(temperature=1.0, seed=3)},
            "temperature was 0.6, is 1.0",
        ),
        ({"completer": {"fingerprint": "f2"}}, "weights or template changed"),
        ({"prompts": "other"}, "the prompts changed"),
    ],
)
def test_a_journal_of_other_settings_is_refused_and_left_alone(
    change: dict[str, Any],
    message: str,
    prompts: list[Prompt],
    scripted: Any,
    tmp_path: Path,
) -> None:
    path = tmp_path / "traces.jsonl"
    _sample(path, prompts, scripted(), SamplingPlan(1))
    before = path.read_bytes()
    if "prompts" in change:
        prompts[3] = replace(prompts[3], answer="99")
    with pytest.raises(RunDirError) as caught:
        _sample(
            path,
            prompts,
            scripted(**change.get("completer", {})),
            SamplingPlan(1),
            sampling=change.get("sampling", SAMPLING),
        )
    assert message in caught.value.problem
    assert caught.value.hint
    assert path.read_bytes() == before


def test_a_file_that_is_no_journal_of_traces_is_refused(
    prompts: list[Prompt], scripted: Any, tmp_path: Path
) -> None:
    path = tmp_path / "traces.jsonl"
    with Journal.open(path) as journal:
        journal.append({"kind": "step"})
    with pytest.raises(DataError, match="the first record is no header"):
        _sample(path, prompts, scripted(), SamplingPlan(1))


def _failing(share: float, error: str = "lost") -> Any:
    def script(request: Any, block: Any) -> Completion:
        if (int(request.prompt.id[1:]) + request.sample_index) % 10 < share * 10:
            return Completion("", finish="error", error=error)
        return Completion(r"\boxed{1}", "work")

    return script


def test_a_failed_sample_is_stored_and_counted(
    prompts: list[Prompt], scripted: Any, tmp_path: Path
) -> None:
    path = tmp_path / "traces.jsonl"
    outcome = _sample(path, prompts, scripted(_failing(0.2)), SamplingPlan(2), max_failed_share=0.5)
    assert outcome.failed == 3
    failed = [j for j in read_traces(path, prompts) if j.trace.completion.finish == "error"]
    assert len(failed) == 3
    assert all(judged.verdict.reason == "failed: lost" for judged in failed)


def test_failed_samples_of_independent_rows_are_asked_again_on_resume(
    prompts: list[Prompt], scripted: Any, tmp_path: Path
) -> None:
    path = tmp_path / "traces.jsonl"
    _sample(path, prompts, scripted(_failing(0.2)), SamplingPlan(2), max_failed_share=0.5)
    again = scripted()
    outcome = _sample(path, prompts, again, SamplingPlan(2))
    assert sorted(again.asked) == ["p0#0", "p0#1", "p1#0"]
    assert (outcome.failed, outcome.samples) == (0, 14)
    assert len(list(read_traces(path, prompts))) == 14


def test_the_stage_stops_when_too_many_fail_and_keeps_the_rest(
    scripted: Any, tmp_path: Path
) -> None:
    path = tmp_path / "traces.jsonl"
    prompts = [Prompt(f"p{rank}", "?", "1") for rank in range(500)]
    completer = scripted(_failing(0.4, "the server is gone"))
    with pytest.raises(StageError) as caught:
        _sample(path, prompts, completer, SamplingPlan(1))
    assert re.search(r"\d of \d+ samples failed, more than 10%", caught.value.problem)
    assert "the server is gone" in caught.value.problem
    assert 20 <= len(list(read_traces(path, prompts))) < 500


def test_few_samples_that_all_fail_stop_the_stage_at_the_end(
    prompts: list[Prompt], scripted: Any, tmp_path: Path
) -> None:
    with pytest.raises(StageError, match="7 of 7 samples failed"):
        _sample(tmp_path / "t.jsonl", prompts, scripted(_failing(1)), SamplingPlan(1))


def test_a_completer_that_stops_early_is_a_programmers_mistake(
    prompts: list[Prompt], scripted: Any, tmp_path: Path
) -> None:
    class Lazy(scripted):  # type: ignore[misc]
        def complete(self, source: Any, sampling: Sampling) -> Any:
            answers = super().complete(source, sampling)
            yield next(answers)

    with pytest.raises(RuntimeError, match="ended after 1 of 7 samples, 3 unanswered"):
        _sample(tmp_path / "t.jsonl", prompts, Lazy(), SamplingPlan(1))


def test_two_prompts_with_one_id_are_a_programmers_mistake(scripted: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="same id"):
        _sample(tmp_path / "t.jsonl", [Prompt("p", "a"), Prompt("p", "b")], scripted(), PLANS[0])


def test_half_of_a_surrogate_pair_is_replaced(
    prompts: list[Prompt], scripted: Any, tmp_path: Path
) -> None:
    def script(request: Any, block: Any) -> Completion:
        return Completion("a\ud800b 日\U0001f600", "\udc00", "stop")

    path = tmp_path / "traces.jsonl"
    _sample(path, prompts[:1], scripted(script), SamplingPlan(1))
    (judged,) = read_traces(path, prompts[:1])
    assert judged.trace.completion.text == "a\ufffdb 日\U0001f600"
    assert judged.trace.completion.reasoning == "\ufffd"


def test_progress_counts_up_to_a_total_that_shrinks(
    prompts: list[Prompt], scripted: Any, tmp_path: Path
) -> None:
    seen: list[Progress] = []
    plan = SamplingPlan(5, until_correct=1)
    path = tmp_path / "traces.jsonl"
    outcome = _sample(path, prompts, scripted(), plan, on_progress=seen.append)
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    assert seen[0].total <= 35
    assert seen[-1].done == seen[-1].total == outcome.samples
    assert set(seen[-1].figures) == {"accepted", "traces/s", "tokens", "tokens/s"}
    seen.clear()
    _sample(path, prompts, scripted(), plan, on_progress=seen.append)
    assert seen[-1].done == seen[-1].resumed == outcome.samples


_CHILD = """
import sys, time
sys.path[:0] = [sys.argv[1], sys.argv[2]]
from pathlib import Path
from conftest import ScriptedCompleter, sums
from distill.journal import Journal
from distill.sampling import sample_prompts
from distill.schedule import SamplingPlan
from distill.tally import SamplingOutcome
from distill.types import Prompt, Sampling
from distill.verify.answer import AnswerVerifier

def slow(request, block):
    time.sleep(0.004)
    return sums(request, block)

prompts = [Prompt(f"p{rank}", "?", str(rank)) for rank in range(40)]
with Journal.open(Path(sys.argv[3])) as journal:
    sample_prompts(
        prompts,
        ScriptedCompleter(slow),
        AnswerVerifier(),
        sampling=Sampling(),
        plan=SamplingPlan(4, until_correct=2),
        journal=journal,
        stage="generate",
    )
"""


def test_kill_9_and_the_same_command_again_give_the_same_traces(tmp_path: Path) -> None:
    here = Path(__file__).parent
    prompts = [Prompt(f"p{rank}", "?", str(rank)) for rank in range(40)]

    def start(path: Path) -> subprocess.Popen[bytes]:
        arguments = [str(here.parents[1]), str(here), str(path)]
        return subprocess.Popen([sys.executable, "-c", _CHILD, *arguments])

    whole, path = tmp_path / "whole.jsonl", tmp_path / "traces.jsonl"
    assert start(whole).wait(60) == 0
    kills = 0
    for try_number in range(4):
        child = start(path)
        size = path.stat().st_size if path.exists() else 0
        deadline = time.monotonic() + 20
        while child.poll() is None and time.monotonic() < deadline:
            if path.exists() and path.stat().st_size > size + 2000:
                time.sleep(0.01 * try_number)
                os.kill(child.pid, signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.002)
        child.wait(20)
    assert kills >= 2
    assert start(path).wait(60) == 0
    assert list(read_traces(path, prompts)) == list(read_traces(whole, prompts))
    keys = [json.loads(line).get("trace", {}) for line in path.read_text().splitlines()]
    assert len(keys) == len({(key.get("prompt_id"), key.get("sample_index")) for key in keys})
