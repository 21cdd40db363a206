"""A student from the Hub's cache, with another chat template, through training and back."""

import json
import shutil
from pathlib import Path

import pytest

from distill.layout import RunLayout
from students.base import own_template, template_text
from tests.cli.conftest import Invoke

TEMPLATE = """{%- for message in messages -%}
{{- '<|' + message.role + '|>' -}}
{%- if message.reasoning_content is string -%}
{{- '<think>\\n' + message.reasoning_content + '\\n</think>\\n\\n' -}}
{%- endif -%}
{{- message.content + '<|end|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}
"""
RECIPE = """
name = "tiny"
[student]
kind = "hub"
model = "tiny/base"
template = "mine.jinja"
[train]
epochs = 1
batch_tokens = 256
seq_len = 256
[train.data]
kind = "file"
path = "data.jsonl"
"""


@pytest.fixture
def folder(tiny_job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from huggingface_hub import constants

    place = tmp_path / "cache" / "models--tiny--base"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("e" * 40)
    shutil.copytree(tiny_job / "base", place / "snapshots" / ("e" * 40))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    turns = [{"role": "user", "content": "1 + 2 ?"}, {"role": "assistant", "content": "3"}]
    (tmp_path / "data.jsonl").write_text(json.dumps({"messages": turns}))
    (tmp_path / "mine.jinja").write_text(TEMPLATE)
    (tmp_path / "r.toml").write_text(RECIPE)
    return tmp_path


def test_student_of_the_hub_is_trained_offline_with_the_recipes_template(
    invoke: Invoke, folder: Path
) -> None:
    shown = invoke("train", "r.toml")
    assert shown.code == 0, shown.err
    paths = RunLayout(folder / "runs" / "tiny")
    assert own_template(paths.model("student")) == TEMPLATE
    assert (paths.base / "model.safetensors").resolve().parent.name == "e" * 40
    again = invoke("train", "r.toml", "--json")
    assert json.loads(again.out)["stages"]["train"]["was_done"], again.out


def test_template_that_would_ruin_the_student_stops_before_the_first_step(
    invoke: Invoke, folder: Path
) -> None:
    (folder / "mine.jinja").write_text(template_text(Path("chatml")))
    shown = invoke("train", "r.toml")
    assert shown.code == 6
    assert "'<|im_end|>' ends a turn but is" in shown.err
    assert "(rule 'special tokens')" in shown.err
    assert not RunLayout(folder / "runs" / "tiny").model("student").exists()
