"""Compare settings of the filter on one file without writing anything that stays.

Traces are read and verified once; rules and choice are asked for each setting.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from distill.filter import FilterInput
from distill.filter_group import GroupJudge
from distill.filter_index import BrokenPlace, build_index
from distill.filter_setup import FilterSetup
from distill.filter_shard import ShardJudge, ShardWork
from distill.funnel import FilterReport, Tally
from distill.trace_source import open_source


def sweep(given: FilterInput, setups: Sequence[FilterSetup]) -> list[FilterReport]:
    """What each setting would keep; duplicates across prompts and blends are left aside.

    Args:
        given: The traces.
        setups: The settings; their verifiers are built once each.

    Raises:
        DistillError: What reading the file, a verifier or a choice raises.
    """
    judges = [GroupJudge(setup) for setup in setups]
    tallies = [Tally() for _ in setups]
    broken: list[BrokenPlace] = []
    with TemporaryDirectory(prefix="distill-sweep-") as folder:
        work = Path(folder)
        source = open_source(given.traces, work, prompts=given.prompts, mapping=given.mapping)
        index = build_index(source)
        index.save(work)
        broken += index.broken
        with closing(ShardJudge(ShardWork(source, setups[0], work))) as reader:
            for shard in range(index.shards):
                for group in reader.groups(shard, broken):
                    candidates = list(group)
                    for judge, tally, setup in zip(judges, tallies, setups, strict=True):
                        found = judge.judge(candidates)
                        tally.count(one.counted(setup.source) for one in found)
                        candidates = [
                            replace(one, verdict=judged.verdict)
                            for one, judged in zip(candidates, found, strict=True)
                        ]
    for judge in judges:
        judge.close()
    reports = []
    for judge, tally, setup in zip(judges, tallies, setups, strict=True):
        tally.sums["broken"] = len(broken)
        rules = [rule for rule in setup.funnel() if rule != "share"]
        reports.append(tally.report(rules, judge.verifier.name))
    return reports
