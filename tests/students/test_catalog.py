"""The catalogue is right where it can be checked, says where it is from, and names mistakes."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from distill.errors import ModelError
from students.catalog import KnownStudent, catalog, find_student, known_student

# Tensors of the published files, as their indexes count them.
PUBLISHED_PARAMETERS = {
    "Qwen/Qwen2.5-0.5B": 494_032_768,
    "Qwen/Qwen2.5-1.5B": 1_543_714_304,
    "Qwen/Qwen2.5-3B": 3_085_938_688,
    "Qwen/Qwen2.5-7B": 7_615_616_512,
    "Qwen/Qwen2.5-14B": 14_770_033_664,
    "Qwen/Qwen2.5-32B": 32_763_876_352,
    "Qwen/Qwen3-0.6B": 596_049_920,
    "Qwen/Qwen3-8B": 8_190_735_360,
    "Qwen/Qwen3-32B": 32_762_123_264,
    "meta-llama/Llama-3.2-1B": 1_235_814_400,
    "meta-llama/Llama-3.2-3B": 3_212_749_824,
    "meta-llama/Llama-3.1-8B": 8_030_261_248,
}
ONE_OF_EACH_FAMILY = ("Qwen2.5-1.5B", "Qwen3-4B", "Llama-3.2-1B")


@pytest.mark.parametrize("student", catalog().values(), ids=list(catalog()))
def test_every_entry_is_whole(student: KnownStudent) -> None:
    assert student.architecture.heads % student.architecture.kv_heads == 0
    assert student.turn_end != student.text_end
    assert student.pad != student.turn_end
    assert student.licence
    for settings in student.settings:
        assert settings.source
        assert settings.epochs or settings.steps or settings.batch_examples


@pytest.mark.parametrize(("name", "parameters"), PUBLISHED_PARAMETERS.items())
def test_parameters_are_those_of_the_published_files(name: str, parameters: int) -> None:
    assert find_student(name).architecture.parameters == parameters


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_parameters_are_those_that_transformers_builds(name: str) -> None:
    facts = find_student(name).architecture
    config = AutoConfig.for_model(
        facts.model_type,
        num_hidden_layers=facts.layers,
        hidden_size=facts.hidden,
        num_attention_heads=facts.heads,
        num_key_value_heads=facts.kv_heads,
        head_dim=facts.head_dim,
        intermediate_size=facts.intermediate,
        vocab_size=facts.vocabulary,
        tie_word_embeddings=facts.is_tied,
    )
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert model.num_parameters() == facts.parameters


def test_a_student_is_found_without_its_owner_and_in_any_case() -> None:
    assert find_student("qwen2.5-7b").name == "Qwen/Qwen2.5-7B"
    assert find_student("meta-llama/llama-3.1-8b-instruct").form == "chat"
    assert known_student("gpt2") is None


def test_an_unknown_student_is_answered_with_the_likeliest() -> None:
    with pytest.raises(ModelError, match=r"did you mean .*Qwen/Qwen2\.5-7B") as caught:
        find_student("Qwen2.5-8B")
    assert "distill students" in caught.value.hint


def test_licences_that_ask_something_say_so() -> None:
    assert "research only" in find_student("Qwen2.5-3B").licence_note
    assert "Built with Llama" in find_student("Llama-3.1-8B").licence_note
    assert find_student("Llama-3.1-8B").is_gated
    assert not find_student("Qwen2.5-7B").licence_note


def test_settings_belong_to_a_size() -> None:
    rates = {one.run: one.learning_rate for one in find_student("Qwen2.5-14B").settings}
    assert rates == {"DeepSeek-R1-Distill-Qwen-14B": 7e-5}
    assert {one.method for one in find_student("Qwen3-8B-Base").settings} == {"full", "lora"}
