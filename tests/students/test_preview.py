"""A preview shows what training would see: the same tokens, the same weights, nothing loaded."""

import shutil
from pathlib import Path

import pytest

from distill.errors import ModelError
from distill.train_sections import TrainSection
from distill.types import Document, Example, Message
from students.load import load_student
from students.preview import preview
from students.template import end_ids, tokenize

SECTION = TrainSection(seq_len=64, batch_tokens=64)


def test_rows_are_those_of_training(tiny_qwen2: Path, examples: list[Example]) -> None:
    loaded = load_student(tiny_qwen2)
    assert loaded.model.generation_config is not None
    ends = end_ids(loaded.model.generation_config)
    shown = preview(examples, tiny_qwen2, SECTION, 3)
    assert [row.example_id for row in shown.rows] == ["p0", "p1", "p2"]
    for row, example in zip(shown.rows, examples, strict=False):
        (trained,) = tokenize(loaded.tokenizer, example, ends)
        assert (row.tokens, row.trained_tokens) == (len(trained), trained.trained_tokens)
        text = "".join(span.text for span in row.spans)
        assert text == loaded.tokenizer.decode(trained.token_ids.tolist())
        assert [bool(span.weight) for span in row.spans] == [False, True]
        assert row.ends_with == "<|end|>"
    assert shown.stops_at == ("<|end|>",)


def test_weights_of_example_reasoning_and_answer_are_multiplied(tiny_qwen2: Path) -> None:
    reply = Message("assistant", "yo", reasoning="hm", is_trained=True)
    example = Example("e", (Message("user", "hi"), reply), weight=2.0)
    section = SECTION.model_copy(update={"reasoning_weight": 0.5})
    (row,) = preview([example], tiny_qwen2, section, 1).rows
    assert [(span.text, span.weight) for span in row.spans] == [
        ("<|user|>hi<|end|><|assistant|>", 0.0),
        ("<think>\nhm\n</think>", 1.0),
        ("\n\nyo<|end|>", 2.0),
    ]


def test_row_that_is_too_long_is_marked(tiny_qwen2: Path) -> None:
    reply = Message("assistant", "x" * 90, is_trained=True)
    (row,) = preview([Example("e", (Message("user", "hi"), reply))], tiny_qwen2, SECTION, 1).rows
    assert row.is_too_long
    assert row.tokens > 64


def test_plain_text_is_shown_too(tiny_qwen2: Path) -> None:
    (row,) = preview([Document("d", "abc")], tiny_qwen2, SECTION, 1).rows
    assert "".join(span.text for span in row.spans) == "abc<|end|>"


def test_examples_are_read_no_further_than_needed(
    tiny_qwen2: Path, examples: list[Example]
) -> None:
    unread = iter(examples)
    preview(unread, tiny_qwen2, SECTION, 2)
    assert next(unread).id == "p2"


def test_broken_template_is_refused_as_in_training(
    tiny_qwen2: Path, tmp_path: Path, examples: list[Example]
) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny_qwen2, base)
    template = base / "chat_template.jinja"
    template.write_text(template.read_text().replace("+ m.reasoning_content", ""))
    with pytest.raises(ModelError, match="rule 'reasoning'"):
        preview(examples, base, SECTION, 1)
