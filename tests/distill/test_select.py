"""Choosing among a prompt's good traces: each way, the draws, and the whole set's blend."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from distill import filter_index
from distill.blend_sources import draw, targets
from distill.errors import DataError
from distill.filter import FilterInput
from distill.filter_sections import BlendSection, SelectSection, SourceSection
from distill.filter_sweep import sweep
from distill.select import Choosable, choose
from tests.distill.filtering import (
    check,
    fates,
    reasoning,
    row,
    run_filter,
    setup_of,
    trained,
    write_rows,
)

GROUP = [Choosable(f"p#{place}", tokens, f"t{place}") for place, tokens in enumerate((5, 9, 2, 7))]


def _chosen(seed: int = 0, group: list[Choosable] = GROUP, **settings: Any) -> set[int]:
    return choose(group, SelectSection(**settings), seed, "p")


def test_each_way_chooses_what_it_says() -> None:
    assert _chosen(per_prompt=2, by="shortest") == {0, 2}
    assert _chosen(per_prompt=2, by="longest") == {1, 3}
    assert _chosen(per_prompt=2, by="first") == {0, 1}
    for by in ("shortest", "longest", "first", "random", "farthest"):
        assert _chosen(per_prompt=4, by=by) == {0, 1, 2, 3}
        assert len(_chosen(per_prompt=3, by=by)) == 3


def test_a_random_choice_depends_on_seed_and_prompt_alone() -> None:
    drawn = {tuple(sorted(_chosen(seed, per_prompt=2, by="random"))) for seed in range(60)}
    assert len(drawn) == 6  # all pairs come up
    assert _chosen(3, per_prompt=2, by="random") == _chosen(3, per_prompt=2, by="random")


def test_farthest_takes_the_traces_that_share_least() -> None:
    words = [f"w{number}" for number in range(60)]
    texts = [words[:30], words[2:32], words[4:34], words[30:]]
    group = [Choosable(f"p#{place}", 30, " ".join(text)) for place, text in enumerate(texts)]
    assert 3 in _chosen(group=group, per_prompt=2, by="farthest")
    assert _chosen(group=group, per_prompt=1, by="farthest") == {1}  # most like all others


def test_farthest_copes_with_many_traces_of_one_prompt() -> None:
    group = [Choosable(str(place), 1, reasoning(0, place)) for place in range(500)]
    chosen = _chosen(group=group, per_prompt=3, by="farthest")
    assert len(chosen) == 3
    assert chosen == _chosen(group=group, per_prompt=3, by="farthest")
    assert chosen != _chosen(1, group=group, per_prompt=3, by="farthest")


def test_farthest_agrees_with_trying_every_pair() -> None:
    rng = random.Random(0)
    for _ in range(20):
        texts = [" ".join(rng.choices("abcdef", k=40)) for _ in range(6)]
        group = [Choosable(str(place), 1, text) for place, text in enumerate(texts)]
        chosen = sorted(_chosen(group=group, per_prompt=2, by="farthest"))

        def shared(one: int, other: int, texts: list[str] = texts) -> float:
            runs = [
                {tuple(words[start : start + 5]) for start in range(36)}
                for words in (texts[one].split(), texts[other].split())
            ]
            return len(runs[0] & runs[1]) / len(runs[0] | runs[1])

        least = min(shared(one, other) for one in range(6) for other in range(one))
        assert shared(*chosen) == pytest.approx(least)


def test_short_mix_takes_short_ones_in_its_share() -> None:
    count = Counter[int]()
    for seed in range(400):
        count.update(_chosen(seed, per_prompt=1, short_mix=0.8))
    assert set(count) == {2, 1}  # the shortest and the longest
    assert count[2] / 400 == pytest.approx(0.8, abs=0.06)  # three standard errors


def test_the_band_of_difficulty_leaves_out_prompts(tmp_path: Path) -> None:
    rows = [
        row(prompt, sample, "1" if sample < prompt else "2")
        for prompt in range(5)
        for sample in range(4)
    ]
    report = run_filter(tmp_path, rows, min_pass_rate=0.25, max_pass_rate=0.5)
    kept = Counter(one["prompt_id"] for one in trained(tmp_path))
    assert kept == {"p1": 1, "p2": 2}
    assert (
        check(tmp_path, "p4#0", "pass_rate")["reason"] == "100 % of the prompt's traces are right"
    )
    step = next(step for step in report.funnel if step.rule == "pass_rate")
    assert step.is_choice


def test_a_curriculum_orders_by_pass_rate(tmp_path: Path) -> None:
    rows = [
        row(prompt, sample, "1" if sample < (3, 1, 4, 2)[prompt] else "2")
        for prompt in range(4)
        for sample in range(4)
    ]
    for order, expected in (
        ("easy_first", ["p2", "p0", "p3", "p1"]),
        ("hard_first", ["p1", "p3", "p0", "p2"]),
        ("prompts", ["p0", "p1", "p2", "p3"]),
    ):
        with mock.patch.object(filter_index, "SHARD_ROWS", 4):
            run_filter(tmp_path, rows, order=order)
        assert list(dict.fromkeys(one["prompt_id"] for one in trained(tmp_path))) == expected


def test_duplicates_across_prompts_are_dropped_when_asked(tmp_path: Path) -> None:
    rows = [row(0, 0), row(1, 0), row(2, 0) | {"reasoning": row(0, 0)["reasoning"] + " indeed"}]
    assert run_filter(tmp_path, rows).kept == 3
    with mock.patch.object(filter_index, "SHARD_ROWS", 1):
        report = run_filter(tmp_path, rows, duplicates="across")
    assert fates(tmp_path) == {"p0#0": None, "p1#0": None, "p2#0": "near_duplicate"}
    assert check(tmp_path, "p2#0", "near_duplicate")["reason"].endswith("the same as p0#0")
    assert (report.kept, report.kept_prompts) == (2, 2)
    assert [one["id"] for one in trained(tmp_path)] == ["p0#0", "p1#0"]


def _general(folder: Path, count: int) -> Path:
    turns = [
        {"role": "user", "content": "Say something kind."},
        {"role": "assistant", "content": "You are doing well. " * 5},
    ]
    return write_rows(folder / "general.jsonl", [{"messages": turns}] * count)


def test_sources_have_their_shares_of_tokens(tmp_path: Path) -> None:
    rows = [row(prompt, sample) for prompt in range(30) for sample in range(2)]
    source = SourceSection(name="general", path=_general(tmp_path, 200), share=0.25)
    report = run_filter(tmp_path, rows, blend=BlendSection(sources=(source,)))
    tokens = Counter[str]()
    for one in trained(tmp_path):
        text = json.dumps(one["messages"])
        tokens[one["source"]] += len(text)
    own = [one for one in trained(tmp_path) if one["source"] == "traces"]
    assert len(own) == report.kept == 60  # the traces are the scarce part
    general = [one for one in trained(tmp_path) if one["source"] == "general"]
    counted = sum(one["tokens"] for one in general)
    share = counted / (counted + _tokens(own))
    assert share == pytest.approx(0.25, abs=0.005)
    assert len({one["id"] for one in general}) == len(general) < 200
    assert (report.mixed_in, report.mixed_in_tokens) == (len(general), counted)


def _tokens(rows: list[dict[str, Any]]) -> int:
    """As the blend counts without a tokenizer: four bytes a token."""
    total = 0
    for one in rows:
        user, assistant = one["messages"]
        think = f"<think>\n{assistant['reasoning_content']}\n</think>\n\n{assistant['content']}"
        total += sum(-(-len(text.encode()) // 4) for text in (user["content"], think))
    return total


def test_traces_over_their_share_are_left_out_by_the_seed(tmp_path: Path) -> None:
    rows = [row(prompt, 0) for prompt in range(60)]
    source = SourceSection(name="general", path=_general(tmp_path, 20), share=0.5)
    report = run_filter(tmp_path, rows, blend=BlendSection(sources=(source,)))
    gone = [name for name, rule in fates(tmp_path).items() if rule == "share"]
    assert len(gone) == 60 - report.kept > 0
    assert report.mixed_in == 20
    step = next(step for step in report.funnel if step.rule == "share")
    assert (step.dropped, step.prompts_left) == (len(gone), report.kept_prompts)
    run_filter(tmp_path, rows, blend=BlendSection(sources=(source,)), seed=1)
    assert [name for name, rule in fates(tmp_path).items() if rule == "share"] != gone


def test_the_cold_start_set_comes_first_and_whole(tmp_path: Path) -> None:
    cold = BlendSection(cold_start=_general(tmp_path, 3))
    run_filter(tmp_path, [row(0, 0)], blend=cold)
    names = [one["id"] for one in trained(tmp_path)]
    assert names == ["cold_start/1", "cold_start/2", "cold_start/3", "p0#0"]


def test_a_source_with_a_broken_row_is_refused(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "bad.jsonl", [{"messages": [{"role": "user", "content": "?"}]}])
    with pytest.raises(DataError, match=r"bad\.jsonl:1: no assistant turn to learn from"):
        run_filter(tmp_path, [row(0, 0)], blend=BlendSection(cold_start=path))


def test_targets_take_the_scarcest_source_whole() -> None:
    assert targets(300, {"a": 50}, {"a": 0.25}) == {"": 150, "a": 50}
    assert targets(600, {"a": 900, "b": 100}, {"a": 0.3, "b": 0.1}) == {"": 600, "a": 300, "b": 100}


def test_a_draw_comes_as_close_to_its_target_as_its_order_allows() -> None:
    rng = random.Random(0)
    for seed in range(50):
        tokens = [rng.randint(1, 30) for _ in range(40)]
        taken = draw(tokens, 200, str(seed))
        total = sum(one for one, is_in in zip(tokens, taken, strict=True) if is_in)
        assert abs(total - 200) <= 15
    assert draw([5, 5], 10, "x") == [True, True]


def test_a_sweep_says_what_each_setting_would_keep_and_writes_nothing(tmp_path: Path) -> None:
    rows = [row(prompt, sample, "12"[sample % 2]) for prompt in range(6) for sample in range(4)]
    rows += [row(9, sample, "2") for sample in range(2)]
    path = write_rows(tmp_path / "x.jsonl", rows)
    settings = [
        {"correct": c, "per_prompt": n} for c in ("prefer", "only", "label") for n in (1, 4)
    ]
    found = sweep(FilterInput(path), [setup_of(**one) for one in settings])
    assert [report.kept for report in found] == [7, 14, 6, 12, 7, 26]
    assert list(tmp_path.iterdir()) == [path]
    for one, report in zip(settings, found, strict=True):
        assert run_filter(tmp_path / "real", path, **one).kept == report.kept


def test_words_of_the_helpers_are_far_apart() -> None:
    assert not set(reasoning(0, 0).split()) & set(reasoning(0, 1).split())
