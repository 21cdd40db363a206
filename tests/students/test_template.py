import pytest
from transformers import GenerationConfig, PreTrainedTokenizerFast

from distill.errors import DataError, ModelError
from distill.types import Document, Example, Message
from engine.chat_format import render
from students.template import (
    check_template,
    end_ids,
    tokenize,
    tokenize_all,
    tokenize_document,
    with_turn_end,
)

USER = Message("user", "hi")
REPLY = Message("assistant", "yo", reasoning="hm", is_trained=True)
END = frozenset([1])
STOPS_AT_END = GenerationConfig(eos_token_id=1, pad_token_id=0)


def trained_text(tokenizer: PreTrainedTokenizerFast, example: Example) -> list[str]:
    return [
        str(tokenizer.decode(row.token_ids[row.is_trained].tolist()))
        for row in tokenize(tokenizer, example, END)
    ]


def test_reasoning_answer_and_end_are_trained_and_the_prompt_is_not(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    row = tokenize(tokenizer, Example("e", (USER, REPLY), weight=0.5), END)[0]
    text = "<|user|>hi<|end|><|assistant|><think>\nhm\n</think>\n\nyo<|end|>"
    assert tokenizer.decode(row.token_ids.tolist()) == text
    trained = row.token_ids[row.is_trained].tolist()
    assert tokenizer.decode(trained) == "<think>\nhm\n</think>\n\nyo<|end|>"
    assert row.weight == 0.5
    assert (len(row), row.trained_tokens) == (len(row.token_ids), len(trained))


def test_training_row_begins_with_the_prompt_of_inference(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    row = tokenize(tokenizer, Example("e", (USER, REPLY)), END)[0]
    prompt = render(tokenizer, [USER], add_generation_prompt=True)
    assert row.token_ids[: len(prompt)].tolist() == prompt
    assert not row.is_trained[: len(prompt)].any()
    assert row.is_trained[len(prompt) :].all()


def test_only_trained_turns_of_a_long_conversation_carry_loss(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    untrained = Message("assistant", "first")
    example = Example("e", (USER, untrained, USER, REPLY, USER, REPLY))
    reply = "<think>\nhm\n</think>\n\nyo<|end|>"
    assert trained_text(tokenizer, example) == [reply + reply]


def test_template_that_forgets_earlier_turns_gives_a_row_for_each_prompt(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    tokenizer.chat_template = str(tokenizer.chat_template).replace(
        "for m in messages", "for m in (messages[-1:] if add_generation_prompt else messages[-2:])"
    )
    rows = tokenize(tokenizer, Example("e", (USER, REPLY, Message("user", "2"), REPLY)), END)
    texts = [str(tokenizer.decode(row.token_ids.tolist())) for row in rows]
    reply = "<|assistant|><think>\nhm\n</think>\n\nyo<|end|>"
    assert texts == [f"<|user|>hi<|end|>{reply}", f"<|user|>2<|end|>{reply}"]


def test_what_a_template_adds_after_the_end_is_not_trained(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    tokenizer.chat_template = str(tokenizer.chat_template).replace("<|end|>", r"<|end|>\n")
    reply = "<think>\nhm\n</think>\n\nyo<|end|>"
    assert trained_text(tokenizer, Example("e", (USER, REPLY, USER, REPLY))) == [reply + reply]


def test_template_without_a_reasoning_field_gets_it_in_the_content(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    tokenizer.chat_template = (
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    check_template(tokenizer, STOPS_AT_END)
    trained = trained_text(tokenizer, Example("e", (USER, REPLY)))
    assert trained == ["<think>\nhm\n</think>\n\nyo<|end|>"]


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ((USER, Message("assistant", "yo")), "no message is trained"),
        ((Message("user", "hi", is_trained=True),), "message 1 is trained but is the user's"),
        ((REPLY,), "nothing stands before"),
    ],
)
def test_example_that_cannot_be_trained_is_named(
    tokenizer: PreTrainedTokenizerFast, messages: tuple[Message, ...], problem: str
) -> None:
    with pytest.raises(DataError, match=f"example 'e': .*{problem}"):
        tokenize(tokenizer, Example("e", messages), END)


def test_good_template_passes(tokenizer: PreTrainedTokenizerFast) -> None:
    check_template(tokenizer, STOPS_AT_END)


# What is replaced in the good template, and the rule that the result breaks.
BROKEN = {
    "prefix": ("'<|assistant|>'", "'<|assistant|>\\n'"),
    "reasoning": ("+ m.reasoning_content", ""),
    "think tags": ("+ m.reasoning_content", "+ '<think>' + m.reasoning_content"),
    "end": (" + '<|end|>'", ""),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_broken_template_is_refused_by_rule(tokenizer: PreTrainedTokenizerFast, rule: str) -> None:
    tokenizer.chat_template = str(tokenizer.chat_template).replace(*BROKEN[rule])
    with pytest.raises(ModelError, match=f"rule '{rule}'") as caught:
        check_template(tokenizer, STOPS_AT_END)
    assert caught.value.hint


def test_template_that_keeps_only_what_follows_the_reasoning_is_refused(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    tokenizer.chat_template = (
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content.split('</think>')[-1] }}<|end|>"
        "{% endfor %}{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}"
    )
    with pytest.raises(ModelError, match="rule 'reasoning'"):
        check_template(tokenizer, STOPS_AT_END)


def test_padding_that_is_the_end_token_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.pad_token = tokenizer.eos_token
    with pytest.raises(ModelError, match="rule 'padding'"):
        check_template(tokenizer, STOPS_AT_END)


def test_generation_that_does_not_stop_at_the_end_of_a_turn_is_refused_and_mended(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    stops_elsewhere = GenerationConfig(eos_token_id=7)
    with pytest.raises(ModelError, match="rule 'end'"):
        check_template(tokenizer, stops_elsewhere)
    mended = with_turn_end(tokenizer, stops_elsewhere)
    assert end_ids(mended) == {1, 7}
    assert mended.pad_token_id == 0
    check_template(tokenizer, mended)


def test_tokenizer_without_a_template_is_named(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = None
    with pytest.raises(ModelError, match="no chat template"):
        check_template(tokenizer, STOPS_AT_END)


def test_template_that_refuses_a_role_is_named(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = "{{ raise_exception('no system role') }}"
    with pytest.raises(ModelError, match="refuses a conversation of user: no system role"):
        render(tokenizer, [USER])


def test_a_plain_text_is_trained_from_its_second_token_to_one_end_token(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    row = tokenize_document(tokenizer, Document("d", "ab"))
    assert tokenizer.decode(row.token_ids) == "ab<|end|>"
    assert row.is_trained.tolist() == [False, True, True]
    ended = tokenize_document(tokenizer, Document("d", "ab<|end|>"))
    assert ended.token_ids.tolist() == row.token_ids.tolist()


def test_plain_text_needs_no_chat_template(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = None
    config = GenerationConfig(eos_token_id=tokenizer.eos_token_id)
    (row,) = tokenize_all(tokenizer, config, [Document("d", "ab", 0.5)])
    assert (row.example_id, row.weight) == ("d", 0.5)


def test_template_that_fails_as_a_program_is_named(tokenizer: PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = "{% for tool in tools %}{{ tool }}{% endfor %}"
    with pytest.raises(ModelError, match=r"refuses a conversation of user: .*not iterable"):
        render(tokenizer, [USER])
