"""A student stops where its template ends a turn, whoever asks, and its files belong together."""

from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from distill.errors import ModelError
from engine.folder import quiet_transformers
from students.load import load_student, save_student
from students.turn_end import end_ids
from tests.students.conftest import make_model
from tests.students.families import make, shape


def base(folder: Path, family: str, template: str, vocabulary: int | None = None) -> Path:
    """A base as it is published: it stops at its end of text only."""
    tokenizer = make(family, shape(template))
    model = make_model("qwen2", vocabulary or len(tokenizer))
    model.config.eos_token_id = tokenizer.eos_token_id
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id)
    with quiet_transformers():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("family", "template", "end", "text_end"),
    [
        ("qwen2.5-base", "chatml", "<|im_end|>", "<|endoftext|>"),
        ("llama3-base", "llama3", "<|eot_id|>", "<|end_of_text|>"),
    ],
)
def test_saved_student_stops_at_the_end_of_a_turn_whoever_asks(
    tmp_path: Path, family: str, template: str, end: str, text_end: str
) -> None:
    loaded = load_student(base(tmp_path, family, template))
    folder = tmp_path / "student"
    save_student(loaded.model, loaded, folder)
    with quiet_transformers():
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder)
    turn, text = tokenizer.convert_tokens_to_ids([end, text_end])
    assert tokenizer.eos_token == end
    assert end_ids(model.generation_config) == {turn, text}
    assert model.config.eos_token_id == [turn, text]
    assert tokenizer.pad_token_id not in (None, turn)
    assert model.generation_config.pad_token_id == tokenizer.pad_token_id
    assert tokenizer.chat_template == shape(template)
    again = load_student(folder)
    assert again.model.generation_config is not None
    assert end_ids(again.model.generation_config) == {turn, text}


def test_tokenizer_of_another_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"262 tokens, the model's embedding 100 rows"):
        load_student(base(tmp_path, "qwen3", "chatml", vocabulary=100))
