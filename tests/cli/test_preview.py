"""``distill train --preview``: rows with what is trained marked, in colour or without."""

import json
from pathlib import Path
from unittest import mock

import pytest

from tests.cli.conftest import Invoke

ROWS = [
    {
        "messages": [
            {"role": "user", "content": f"What is {number} + 2 ?"},
            {
                "role": "assistant",
                "content": f"The answer is \\boxed{{{number + 2}}}.",
                "reasoning_content": f"{number} + 2 = {number + 2}",
            },
        ]
    }
    for number in (1, 7)
]


@pytest.fixture
def recipe(tiny_job: Path, tmp_path: Path) -> Path:
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    path = tmp_path / "r.toml"
    path.write_text(
        f'name = "tiny"\nstudent = {{ kind = "local", path = "{tiny_job / "base"}" }}\n'
        'train = { data = { kind = "file", path = "data.jsonl" } }\n'
    )
    return path


def test_trained_text_is_marked_without_colour_and_nothing_is_left_behind(
    invoke: Invoke, recipe: Path
) -> None:
    shown = invoke("train", recipe, "--preview", "2")
    assert shown.code == 0, shown.err
    first = "⟦<think>\n1 + 2 = 3\n</think>\n\nThe answer is \\boxed{3}.<|end|>⟧"
    assert f"<|user|>What is 1 + 2 ?<|end|><|assistant|>{first}" in shown.out
    assert "row 2 of 2" in shown.out
    assert "tokens, 17 trained, weight 1, ends with '<|end|>'" in shown.out
    assert "\x1b" not in shown.out
    assert {path.name for path in recipe.parent.iterdir()} == {"data.jsonl", "r.toml"}


def test_in_a_terminal_it_is_coloured_unless_no_color(
    invoke: Invoke, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    with mock.patch("cli.console.is_terminal", return_value=True):
        coloured = invoke("train", recipe, "--preview", "1").out
        monkeypatch.setenv("NO_COLOR", "1")
        plain = invoke("train", recipe, "--preview", "1").out
    assert "\x1b[32m⟦<think>" in coloured
    assert "\x1b" not in plain
    assert "⟦<think>" in plain


def test_long_text_is_shortened_for_people_and_whole_for_programs(
    invoke: Invoke, recipe: Path
) -> None:
    long = json.loads(json.dumps(ROWS[0]))
    long["messages"][1]["reasoning_content"] = "1 + 2 = 3\n" * 200
    (recipe.parent / "data.jsonl").write_text(json.dumps(long))
    shown = invoke("train", recipe, "--preview", "1").out
    assert "characters ..." in shown
    assert len(shown) < 1800
    found = json.loads(invoke("train", recipe, "--preview", "1", "--json").out)
    assert found["rows"][0]["spans"][1]["text"].count("1 + 2 = 3") == 200


def test_weights_are_shown_where_they_differ(invoke: Invoke, recipe: Path) -> None:
    shown = invoke("train", recipe, "--preview", "1", "--set", "train.reasoning_weight=0.5").out
    assert "weight 0.5 and 1" in shown
    assert "⟦x 0.5: <think>" in shown


def test_a_run_that_has_nothing_to_train_on_yet_is_told_what_comes_first(
    invoke: Invoke, tiny_job: Path
) -> None:
    shown = invoke("train", tiny_job / "tiny.toml", "--preview", "1")
    assert shown.code == 7
    assert "there is nothing to train on yet" in shown.err
    assert "generate and filter" in shown.err


def test_chosen_traces_of_a_run_are_previewed(
    invoke: Invoke, finished_run: Path, tiny_job: Path
) -> None:
    folder = finished_run / "runs" / "tiny"
    before = sorted(path.name for path in folder.iterdir())
    shown = invoke("train", folder, "--preview", "1")
    assert shown.code == 0, shown.err
    assert "row 1 of 1  train-0/" in shown.out
    assert sorted(path.name for path in folder.iterdir()) == before
