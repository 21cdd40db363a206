"""Training on a data set from elsewhere: by a recipe without a teacher, or by a flag."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from distill.digest import digest_file
from tests.cli.conftest import Invoke, Shown

TRAINS_ONLY = """
name = "sft"

[student]
kind = "local"
path = "{base}"

[train]
epochs = 1
learning_rate = 1e-3
batch_tokens = 512
seq_len = 256
"""
EVALUATES = """
[eval]
samples = 1
max_tokens = 4

[eval.prompts]
kind = "embedded"
split = "eval"
count = 2
"""
ROWS = [
    {
        "messages": [
            {"role": "user", "content": f"{n} + {n} = ?"},
            {"role": "assistant", "content": f"{2 * n}", "reasoning_content": f"twice {n}"},
        ]
    }
    for n in range(12)
]


@pytest.fixture
def folder(tiny_job: Path, tmp_path: Path) -> Path:
    """Where ``sft.toml`` and ``chats.jsonl`` lie."""
    (tmp_path / "sft.toml").write_text(TRAINS_ONLY.format(base=tiny_job / "base"))
    write(tmp_path / "chats.jsonl", ROWS)
    return tmp_path


def write(path: Path, rows: Sequence[Any]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def manifest(shown: Shown, run: Path) -> Any:
    assert shown.code == 0, shown.err
    return json.loads((run / "manifest.json").read_text())["stages"]


def test_a_recipe_that_only_trains_is_done_after_training(invoke: Invoke, folder: Path) -> None:
    text = (folder / "sft.toml").read_text()
    data = '[train.data]\nkind = "file"\npath = "chats.jsonl"\n'
    (folder / "sft.toml").write_text(f"{text}\n{data}")
    shown = invoke("run", "sft.toml")
    stages = manifest(shown, folder / "runs/sft")
    assert list(stages) == ["train"]
    assert "chats.jsonl: conversations (messages)" in shown.err
    assert "distill chat runs/sft/student" in shown.out
    assert stages["train"]["inputs"] == {"../../chats.jsonl": digest_file(folder / "chats.jsonl")}
    (found,) = stages["train"]["summary"]["data"]
    assert (found["examples"], found["with_reasoning"], found["broken"]) == (12, 12, 0)
    again = invoke("train", "sft.toml")
    assert "already done" in again.err
    status = invoke("status", "runs/sft")
    assert "generate" not in status.out
    assert "All stages are done." in (folder / "runs/sft/report.html").read_text()
    for command in ("generate", "eval"):
        refused = invoke(command, "sft.toml")
        assert refused.code == 2
        assert f"no stage '{command}'" in refused.err


def test_a_dry_run_says_the_form_and_makes_nothing(invoke: Invoke, folder: Path) -> None:
    shown = invoke("train", "sft.toml", "--data", "chats.jsonl", "--dry-run")
    assert shown.code == 0, shown.err
    assert "its form: conversations (messages)" in shown.out
    assert not (folder / "runs").exists()


def test_every_form_of_the_same_rows_trains_the_same_student(invoke: Invoke, folder: Path) -> None:
    other = [
        {
            "question": row["messages"][0]["content"],
            "reply": f"<think>\n{row['messages'][1]['reasoning_content']}\n</think>\n\n"
            f"{row['messages'][1]['content']}",
        }
        for row in ROWS
    ]
    write(folder / "pairs.jsonl", other)
    chats = invoke("train", "sft.toml", "--data", "chats.jsonl", "--run-dir", "a")
    mapping = ("--map", "prompt=question", "--map", "completion=reply")
    pairs = invoke("train", "sft.toml", "--data", "pairs.jsonl", *mapping, "--run-dir", "b")
    name = "student/model.safetensors"
    made = [
        manifest(shown, folder / run)["train"]["outputs"][name]
        for shown, run in ((chats, "a"), (pairs, "b"))
    ]
    assert made[0] == made[1]


def test_data_beside_a_whole_recipe_is_trained_on_and_evaluated(
    invoke: Invoke, folder: Path
) -> None:
    text = (folder / "sft.toml").read_text()
    (folder / "sft.toml").write_text(f"{text}\n{EVALUATES}")
    shown = invoke("run", "sft.toml", "--set", 'train.data={kind="file",path="chats.jsonl"}')
    stages = manifest(shown, folder / "runs/sft")
    assert list(stages) == ["train", "eval"]
    models = [model["who"] for model in stages["eval"]["summary"]["report"]["models"]]
    assert models == ["base", "student"]


def test_plain_text_trains_a_base_without_a_chat_template(
    invoke: Invoke, folder: Path, tiny_job: Path
) -> None:
    import shutil

    shutil.copytree(tiny_job / "base", folder / "plain")
    (folder / "plain/chat_template.jinja").unlink()
    write(folder / "text.jsonl", [{"text": f"{n} + {n} = {2 * n}"} for n in range(20)])
    base = ("--set", "student.path=plain")
    shown = invoke("train", "sft.toml", "--data", "text.jsonl", *base)
    assert shown.code == 0, shown.err
    assert "plain text, trained on whole" in shown.err
    refused = invoke("train", "sft.toml", "--data", "chats.jsonl", *base, "--run-dir", "b")
    assert refused.code == 6
    assert "no chat template" in refused.err


def test_a_row_without_an_assistant_turn_is_named_and_may_be_left_out(
    invoke: Invoke, folder: Path
) -> None:
    write(folder / "chats.jsonl", [ROWS[0], {"messages": ROWS[0]["messages"][:1]}, *ROWS])
    shown = invoke("train", "sft.toml", "--data", "chats.jsonl")
    assert shown.code == 3
    assert "chats.jsonl:2: no assistant turn to learn from" in shown.err
    assert "--set train.data.broken=drop" in shown.err
    drop = ("--set", "train.data.broken=drop")
    left = invoke("train", "sft.toml", "--data", "chats.jsonl", *drop)
    assert left.code == 0, left.err
    assert "13 examples (1 broken)" in left.err


def test_a_set_without_any_assistant_turn_says_what_a_row_needs(
    invoke: Invoke, folder: Path
) -> None:
    write(folder / "chats.jsonl", [{"messages": row["messages"][:1]} for row in ROWS])
    shown = invoke("train", "sft.toml", "--data", "chats.jsonl")
    assert shown.code == 3
    assert "chats.jsonl:1: no assistant turn to learn from" in shown.err
    assert "needs a turn of the assistant" in shown.err
    assert "--map messages=COLUMN" in shown.err
    assert "broken=drop" not in shown.err  # nothing would be left


def test_data_that_was_changed_since_is_noticed(invoke: Invoke, folder: Path) -> None:
    arguments = ("train", "sft.toml", "--data", "chats.jsonl")
    assert invoke(*arguments).code == 0
    write(folder / "chats.jsonl", ROWS[1:])
    shown = invoke(*arguments)
    assert shown.code == 4
    assert "chats.jsonl" in shown.err
    assert "--restart-from train" in shown.err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--data", "none.jsonl"), "there is no "),
        (("--data", "hub:name"), "train.data.dataset"),
        (("--data", "hub:org/name"), "hf download org/name --repo-type dataset"),
        (("--data", "chats.jsonl", "--map", "question=a"), "fields are\n"),
        (("--data", "chats.jsonl", "--map", "prompt=a"), "there is no such column"),
    ],
)
def test_what_cannot_be_read_is_said_before_anything_is_trained(
    invoke: Invoke, folder: Path, arguments: tuple[str, ...], problem: str
) -> None:
    shown = invoke("train", "sft.toml", *arguments)
    assert shown.code in (2, 3)
    assert problem in shown.err
    assert "Traceback" not in shown.err


def test_a_teacher_that_is_not_there_is_not_evaluated(invoke: Invoke, folder: Path) -> None:
    evaluates = EVALUATES.replace("samples", 'models = ["teacher"]\nsamples')
    text = (folder / "sft.toml").read_text()
    (folder / "sft.toml").write_text(f"{text}\n{evaluates}")
    shown = invoke("train", "sft.toml", "--data", "chats.jsonl")
    assert shown.code == 2
    assert "eval.models has the teacher, and the recipe has no [teacher]" in shown.err
