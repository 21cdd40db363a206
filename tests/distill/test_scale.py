"""Blocks, the desk and the probe, without Ray: what workers share, and what a kill leaves."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import distill.scale.blocks as blocks_module
from distill.allowance import Limits, Stop, Wait
from distill.budget import Account, Budget
from distill.errors import ClusterError, MissingDependencyError, RecipeError
from distill.journal import Journal, read_journal
from distill.layout import RunLayout
from distill.pricing import PriceList
from distill.records import Record
from distill.scale.blocks import Block, cut, gather, requests_of, spread, traces_of
from distill.scale.cluster import Cluster
from distill.scale.desk import Desk, Report
from distill.scale.lease import LeasedAllowance
from distill.scale.probe import Probe, visit
from distill.tally import Tally
from distill.traces import read_traces, trace_line
from distill.types import Completion, JudgedTrace, Prompt, Trace, Usage, Verdict

HEADER = {"kind": "header", "of": "the run"}
PROMPTS = [Prompt(f"p{number}", f"what is {number}?") for number in range(40)]
BLOCKS = cut(len(PROMPTS), workers=1)


def judged(number: int, sample: int, *, error: str | None = None) -> JudgedTrace:
    finish = "stop" if error is None else "error"
    completion = Completion(f"{sample}", finish=finish, usage=Usage(1, 2), error=error)  # type: ignore[arg-type]
    trace = Trace(PROMPTS[number].id, sample, "model", completion)
    return JudgedTrace(trace, Verdict(True, "", "rule/1"))


ARRIVED = [judged(30, 1), judged(2, 0, error="503"), judged(30, 0), judged(2, 0), judged(17, 0)]


@pytest.fixture
def run(tmp_path: Path) -> RunLayout:
    """Traces in the order of arrival, one asked twice, and a request without an answer."""
    paths = RunLayout(tmp_path)
    with Journal.open(paths.traces) as journal:
        journal.append(HEADER)
        for each in ARRIVED:
            journal.append(trace_line(each))
    with Journal.open(paths.requests) as journal:
        for each in ARRIVED:
            sample = [each.trace.prompt_id, each.trace.sample_index]
            journal.append({"kind": "asked", "samples": [sample], "at": "now"})
        journal.append({"kind": "asked", "samples": [["p5", 0], ["p39", 0]], "at": "now"})
        journal.append({"kind": "refused", "count": 1, "at": "now"})
    return paths


def header_of(block: Block) -> Record:
    return {"kind": "header", "of": block.number}


def spread_out(paths: RunLayout) -> None:
    spread(paths, PROMPTS, BLOCKS, header_of)


def unanswered(requests: Path, traces: Path) -> int:
    asked = sum(
        len(record["samples"]) if record["kind"] == "asked" else -record["count"]
        for record in read_journal(requests)
    )
    return asked - (sum(1 for _ in read_journal(traces)) - 1)


def test_prompts_are_cut_into_blocks_without_a_gap() -> None:
    for prompts, workers in ((1, 1), (40, 1), (1000, 3), (10_000, 2)):
        blocks = cut(prompts, workers)
        assert [block.begin for block in blocks[1:]] == [block.end for block in blocks[:-1]]
        assert (blocks[0].begin, blocks[-1].end) == (0, prompts)
        assert [block.number for block in blocks] == list(range(len(blocks)))


def test_what_is_stored_goes_into_its_block_and_comes_back_sorted(run: RunLayout) -> None:
    stored = spread(run, PROMPTS, BLOCKS, header_of)
    assert (stored.samples, stored.output_tokens) == (4, 8)
    in_second = list(read_journal(traces_of(run.blocks, 1)))
    assert in_second[0] == {"kind": "header", "of": 1}
    assert [(one["trace"]["prompt_id"], one["trace"]["sample_index"]) for one in in_second[1:]] == [
        ("p17", 0),
        ("p30", 0),
        ("p30", 1),
    ]
    with Journal.open(traces_of(run.blocks, 2)) as journal:  # a worker samples the last block
        journal.append(header_of(BLOCKS[2]))
        journal.append(trace_line(judged(39, 0)))
    gather(run, PROMPTS)
    assert not run.scale.exists()
    ids = [one["trace"]["prompt_id"] for one in list(read_journal(run.traces))[1:]]
    assert ids == ["p2", "p2", "p17", "p30", "p30", "p39"]
    assert next(read_journal(run.traces)) == HEADER
    assert [each.trace.completion.error for each in read_traces(run.traces, PROMPTS)] == [None] * 5


def test_unanswered_requests_stay_unanswered_whoever_goes_on(run: RunLayout) -> None:
    before = unanswered(run.requests, run.traces)
    spread_out(run)
    gather(run, PROMPTS)
    assert unanswered(run.requests, run.traces) == before == 1


def test_a_torn_record_of_a_killed_worker_is_cut(run: RunLayout) -> None:
    spread_out(run)
    with traces_of(run.blocks, 1).open("ab") as file:
        file.write(b'{"kind":"trace","tra')
    with requests_of(run.blocks, 1).open("ab") as file:
        file.write(b'{"kind":"ask')
    gather(run, PROMPTS)
    assert len(list(read_journal(run.traces))) == 1 + len(ARRIVED)


class Killed(BaseException):
    pass


@pytest.fixture
def kill_at_rename(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int, bool], None]]:
    """Ends the process, as far as the code under test can see, at its n-th rename."""

    def arm(number: int, after: bool) -> None:
        renames = 0
        for name in ("rename", "replace"):
            original = getattr(Path, name)

            def killing(self: Path, target: Path, original: Callable[..., Path] = original) -> Path:
                nonlocal renames
                renames += 1
                if renames == number and not after:
                    raise Killed
                moved = original(self, target)
                if renames == number:
                    raise Killed
                return moved

            monkeypatch.setattr(Path, name, killing)

    yield arm
    monkeypatch.undo()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_kill_while_gathering_loses_and_doubles_nothing(
    run: RunLayout, kill_at_rename: Callable[[int, bool], None], number: int, after: bool
) -> None:
    spread_out(run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks_module, "sync_folder", lambda folder: None)
        kill_at_rename(number, after)
        with pytest.raises(Killed):
            gather(run, PROMPTS)
    kill_at_rename(-1, False)
    gather(run, PROMPTS)
    assert len(list(read_journal(run.traces))) == 1 + len(ARRIVED)
    assert unanswered(run.requests, run.traces) == 1
    assert not run.scale.exists()


def test_a_kill_while_spreading_leaves_the_run_as_it_was(
    run: RunLayout, kill_at_rename: Callable[[int, bool], None]
) -> None:
    before = run.traces.read_bytes(), run.requests.read_bytes()
    kill_at_rename(1, False)
    with pytest.raises(Killed):
        spread_out(run)
    kill_at_rename(-1, False)
    gather(run, PROMPTS)
    assert (run.traces.read_bytes(), run.requests.read_bytes()) == before


PRICED = Usage(50, 50)


def worker(desk: Desk, block: int) -> LeasedAllowance:
    return LeasedAllowance(block, Tally(), desk.report)


def send(allowance: LeasedAllowance, in_flight: int, wanted: int) -> int:
    """What a sampling loop does before it asks."""
    if allowance.refusal(in_flight=in_flight) is not None:
        return 0
    room = allowance.room(in_flight=in_flight)
    return wanted if room is None else min(wanted, room)


def test_all_workers_together_keep_to_one_limit() -> None:
    desk = Desk(Budget(Limits(tokens=10_000), PriceList()), workers=2)
    workers = [worker(desk, 0), worker(desk, 1)]
    in_flight, answered = [0, 0], 0
    first = send(workers[0], 0, 1)
    assert first == 1
    workers[0].add(PRICED, None)
    answered = 1
    for turn in range(1000):
        who = turn % 2
        in_flight[who] += send(workers[who], in_flight[who], wanted=7)
        if in_flight[who]:
            in_flight[who] -= 1
            workers[who].add(PRICED, None)
            answered += 1
    assert in_flight == [0, 0]
    assert answered == 100
    assert isinstance(workers[0].refusal(in_flight=0), Stop)
    assert "10,000 of 10,000 tokens" in desk.look().stopped


def test_who_has_nothing_under_way_waits_for_what_is_under_way_elsewhere() -> None:
    desk = Desk(Budget(Limits(tokens=200), PriceList()), workers=2)
    first, second = worker(desk, 0), worker(desk, 1)
    first.add(PRICED, None)  # from its journal
    assert send(first, 0, 5) == 1
    assert isinstance(second.refusal(in_flight=0), Wait)
    desk.release(0, is_finished=False)  # the first worker dies before its answer is stored
    assert send(second, 0, 5) == 1


def test_a_block_that_is_begun_again_is_not_counted_twice() -> None:
    desk = Desk(Budget(Limits(tokens=10_000), PriceList()), workers=1)
    for _ in range(2):  # the second worker finds in the journal what the first one stored
        allowance = worker(desk, 0)
        allowance.add(PRICED, None)
        allowance.close()
    desk.release(0, is_finished=True)
    desk.report(Report(1, Tally(samples=3), Account()))
    assert desk.look().tally.samples == 3
    other = worker(desk, 1)
    assert other.refusal(in_flight=98) is None
    assert isinstance(other.refusal(in_flight=99), Stop)


def test_a_run_that_is_stopped_leases_nothing_more() -> None:
    desk = Desk(None, workers=1)
    allowance = worker(desk, 0)
    assert send(allowance, 0, 5) == 5
    desk.stop("interrupted")
    allowance.close()
    assert allowance.refusal(in_flight=0) == Stop("interrupted")


def test_workers_that_see_the_folder_and_its_lock_pass(tmp_path: Path) -> None:
    import subprocess
    import sys

    with Probe(tmp_path) as probe:
        code = (
            "import sys; from pathlib import Path; from distill.scale.probe import Visit, visit;"
            "print(*visit(Visit(Path(sys.argv[1]), *sys.argv[2:])), sep='|')"
        )
        what = probe.visit
        arguments = [str(what.folder), what.nonce, what.version]
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
        )
        problem, mark = done.stdout.strip().split("|")
        probe.check(problem, mark)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_shared_is_found_before_anything_is_paid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distill.scale.probe._PATIENCE_SECONDS", 0.0)
    with Probe(tmp_path) as probe:
        shutil.rmtree(probe.visit.folder)  # another machine has another folder of that name
        with pytest.raises(ClusterError, match=r"(?s)is not the folder of that name.*--run-dir"):
            probe.check(*visit(probe.visit))
    with Probe(tmp_path) as probe, pytest.raises(ClusterError, match="does not arrive here"):
        probe.check("", "gpu7-17")


def test_locks_that_do_not_reach_other_machines_are_found(tmp_path: Path) -> None:
    with Probe(tmp_path) as probe:
        (probe.visit.folder / "held").unlink()  # as where locks are each machine's own
        with pytest.raises(ClusterError, match=r"file locks in .* do not reach"):
            probe.check(*visit(probe.visit))


def test_another_version_on_a_worker_is_refused(tmp_path: Path) -> None:
    from dataclasses import replace

    with Probe(tmp_path) as probe:
        problem, mark = visit(replace(probe.visit, version="0.0"))
        with pytest.raises(ClusterError, match=r"is installed there, here it is 0\.0"):
            probe.check(problem, mark)


def test_ray_that_is_not_installed_is_named_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'distill-reasoning\[ray\]'"):
        Cluster.open("local")


@pytest.mark.parametrize("on", ["http://x:1", "gpu7", "ray://", "host:port"])
def test_a_place_that_is_none_is_refused_with_the_forms(on: str) -> None:
    with pytest.raises(RecipeError, match="Write local for this machine, auto"):
        Cluster.open(on)


@pytest.mark.parametrize("on", ["127.0.0.1:9", "ray://127.0.0.1:9"])
def test_a_cluster_that_does_not_answer_is_named(on: str) -> None:
    with pytest.raises(ClusterError, match=f"--on {on}: no Ray cluster answers there"):
        Cluster.open(on)
