"""What a worker of the filter takes from Ray Data and gives back, without Ray."""

import pickle
from pathlib import Path

import pyarrow as pa
import pytest

from distill.errors import StageError
from distill.filter_index import build_index
from distill.filter_shard import ShardResult, ShardWork, finished_shard
from distill.scale.cluster import Size
from distill.scale.filter import JUDGED, SHARDS, Rules, Task
from distill.scale.probe import Probe
from distill.trace_source import open_source
from tests.distill.filtering import row, setup_of, write_rows

FIRST = pa.Table.from_pydict({"shard": [0]}, schema=SHARDS)


@pytest.fixture
def work(tmp_path: Path) -> ShardWork:
    folder = tmp_path / "work"
    source = open_source(write_rows(tmp_path / "given.jsonl", [row(1, 0), row(1, 1, "2")]), folder)
    build_index(source).save(folder)
    return ShardWork(source, setup_of(), folder)


def test_a_row_says_what_its_shard_came_to_in_the_columns_that_are_agreed(work: ShardWork) -> None:
    with Probe(work.work) as probe:
        judged = Rules(Task(work, probe.visit, (0,), Size(1)))(FIRST)
    assert judged.schema.equals(JUDGED)
    (found,) = judged.to_pylist()
    assert (found["shard"], found["tries"], found["folder_problem"]) == (0, 1, "")
    assert ShardResult.from_json(found["result"]) == finished_shard(work, 0)


def test_a_shard_that_kills_worker_after_worker_is_given_up(work: ShardWork) -> None:
    with Probe(work.work) as probe:
        rules = Rules(Task(work, probe.visit, (0,), Size(1)))
        tries = [rules(FIRST).to_pylist()[0]["tries"] for _ in range(10)]
        (last,) = rules(FIRST).to_pylist()
    assert tries == list(range(1, 11))
    mistake = pickle.loads(last["mistake"])
    assert isinstance(mistake, StageError)
    assert "10 workers died over one part of the work, shard 1" in mistake.problem
    assert not list(work.work.glob(".probe-*")), (
        "the marks go with the probe: the next run begins anew"
    )


def test_a_worker_that_does_not_share_the_folder_judges_nothing(work: ShardWork) -> None:
    with Probe(work.work) as probe:
        (probe.visit.folder / "held").unlink()  # as where locks are each machine's own
        (found,) = Rules(Task(work, probe.visit, (0,), Size(1)))(FIRST).to_pylist()
    assert "do not reach" in found["folder_problem"]
    assert found["result"] is None
    assert finished_shard(work, 0) is None
