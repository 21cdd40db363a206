"""``filter`` on any file, ``filters`` and ``explain``, as a user sees them."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from cli.explain import explain
from cli.filter import filter_
from cli.filters import filters
from distill.errors import DataError, DistillError, RecipeError, StageError
from distill.rules import ALL_RULES
from tests.distill.filtering import row, write_rows

Run = Callable[..., Result]

ROWS = [
    row(0, 0),
    row(0, 1, "2"),
    row(0, 2, finish="length"),
    row(1, 0),
    row(1, 1),
]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in an empty folder; a ``DistillError`` comes out as it is."""
    app = typer.Typer(add_completion=False)
    for name, command in (("filter", filter_), ("filters", filters), ("explain", explain)):
        app.command(name)(command)
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str | Path) -> Result:
        result = CliRunner().invoke(app, [*map(str, arguments)])
        if isinstance(result.exception, DistillError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result

    return invoke


def _written(folder: Path, rows: Sequence[dict[str, Any]] = ROWS) -> Path:
    return write_rows(folder / "x.jsonl", rows)


def test_any_file_is_filtered_beside_itself(run: Run, tmp_path: Path) -> None:
    shown = run("filter", "--traces", _written(tmp_path)).stdout
    assert "sampled                                5        2" in shown
    assert "60 % of the traces are right (answer/" in shown
    folder = tmp_path / "x.filtered"
    assert sorted(path.name for path in folder.iterdir()) == [
        "filter.html",
        "filter.json",
        "traces.verdicts.parquet",
        "train.parquet",
    ]
    found = json.loads(run("filter", "--traces", "x.jsonl", "--to", "other", "--json").stdout)
    assert (found["traces"], found["kept"], found["folder"]) == (5, 3, "other")


def test_a_mapping_is_suggested_and_taken(run: Run, tmp_path: Path) -> None:
    rows = [{"question": one["prompt"], "gold": "1", "response": one["text"]} for one in ROWS]
    path = _written(tmp_path, rows)
    with pytest.raises(DataError) as caught:
        run("filter", "--traces", path)
    flags = caught.value.hint.removeprefix("Say which is which: ").split()
    assert flags[:4] == ["--map", "prompt=question", "--map", "completion=response"]
    run("filter", "--traces", path, *flags, "--set", "filter.needs_reasoning=false")


def test_settings_are_checked_like_a_recipe(run: Run, tmp_path: Path) -> None:
    path = _written(tmp_path)
    with pytest.raises(RecipeError, match=r"filter.corect: unknown key; did you mean 'correct'"):
        run("filter", "--traces", path, "--set", "filter.corect=only")
    with pytest.raises(RecipeError, match="write KEY=VALUE with a key of verify, filter"):
        run("filter", "--traces", path, "--set", "train.epochs=1")
    with pytest.raises(RecipeError, match="give a recipe, or a file of traces"):
        run("filter")
    with pytest.raises(RecipeError, match="--to goes with --traces"):
        run("filter", "x.toml", "--to", "there")


def test_a_model_judges_in_a_run_only(run: Run, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="a model judges in the stage of a run"):
        run("filter", "--traces", _written(tmp_path), "--set", "verify.kind=judge")


def test_a_rule_that_eats_too_much_stops_the_run(run: Run, tmp_path: Path) -> None:
    path = _written(tmp_path, [row(0, 0), *(row(0, index, "2") for index in range(1, 5))])
    with pytest.raises(StageError, match="fault with 4 of 5 traces, more than 60%"):
        run("filter", "--traces", path, "--max-drop", "0.6")
    run("filter", "--traces", path, "--max-drop", "0.9")


def test_settings_are_compared_without_writing(run: Run, tmp_path: Path) -> None:
    path = _written(tmp_path)
    shown = run(
        "filter", "--traces", path, "--sweep", "correct=label,only", "--sweep", "per_prompt=1,4"
    ).stdout.splitlines()
    assert [line.split()[:4] for line in shown[1:5]] == [
        ["filter.correct=label", "select.per_prompt=1", "2", "5"],
        ["filter.correct=label", "select.per_prompt=4", "4", "5"],
        ["filter.correct=only", "select.per_prompt=1", "2", "5"],
        ["filter.correct=only", "select.per_prompt=4", "3", "5"],
    ]
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(RecipeError, match="there is no key 'corect'"):
        run("filter", "--traces", path, "--sweep", "corect=only")


def test_a_run_is_swept_and_explained(run: Run, finished_run: Path, tmp_path: Path) -> None:
    shutil.copytree(finished_run / "runs", tmp_path / "runs")
    shown = run("filter", "runs/tiny", "--sweep", "correct=prefer,label").stdout
    assert "filter.correct=label" in shown
    story = run("explain", "runs/tiny", "train-0/0#1").stdout
    assert "dropped by correct: boxed" in story
    assert "train-0/0#0  trained on, weight 1" in story
    assert "Gold answer" in story


def test_the_story_of_a_trace_is_told(run: Run, tmp_path: Path) -> None:
    run("filter", "--traces", _written(tmp_path))
    story = run("explain", "x.filtered", "p0#2").stdout
    assert "p0#2  row 3 of x.jsonl" in story
    assert "dropped by finished: cut at the token limit; also fails correct" in story
    assert "✗ finished/1" in story
    assert "wrong: cut at the token limit (answer/" in story
    assert "p0#0  trained on" in story
    assert ROWS[2]["reasoning"] in story
    found = json.loads(run("explain", "x.filtered", "p0#2", "--json").stdout)
    assert found["first_failed"] == "finished"
    assert found["completion"]["finish"] == "length"


def test_a_trace_that_is_not_there_is_an_error(run: Run, tmp_path: Path) -> None:
    run("filter", "--traces", _written(tmp_path))
    with pytest.raises(DataError, match="there is no trace 'p0#9'") as caught:
        run("explain", "x.filtered", "p0#9")
    assert caught.value.hint == "Traces of that prompt: p0#0, p0#1, p0#2"
    with pytest.raises(DataError, match="no filter was finished here"):
        run("explain", tmp_path, "p0#9")


def test_a_story_is_told_without_the_text_where_that_is_gone(run: Run, tmp_path: Path) -> None:
    run("filter", "--traces", _written(tmp_path))
    (tmp_path / "x.jsonl").unlink()
    assert "Its text cannot be shown" in run("explain", "x.filtered", "p0#0").stdout


def test_every_rule_is_listed_with_default_and_source(run: Run) -> None:
    shown = run("filters").stdout
    for rule in ALL_RULES:
        assert f"{rule.name} /{rule.version}" in shown
        assert rule.source.split()[0] in shown
    assert "key      filter.repetition" in run("filters", "repetition").stdout
    listed = json.loads(run("filters", "--json").stdout)
    assert [one["name"] for one in listed] == [rule.name for rule in ALL_RULES]
    with pytest.raises(DataError, match="there is no rule 'x'"):
        run("filters", "x")
