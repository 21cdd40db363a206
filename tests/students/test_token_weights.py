import pytest
import torch
from transformers import PreTrainedTokenizerFast

from distill.types import Example, Message
from students.template import TokenizedExample, tokenize
from students.token_weights import weigh_tokens


def turn(content: str, reasoning: str | None) -> Message:
    return Message("assistant", content, reasoning=reasoning, is_trained=True)


def row(tokenizer: PreTrainedTokenizerFast, *messages: Message) -> TokenizedExample:
    (one,) = tokenize(tokenizer, Example("e", messages), {tokenizer.eos_token_id})
    return one


def texts(tokenizer: PreTrainedTokenizerFast, example: TokenizedExample) -> dict[float, str]:
    """What is trained at each weight."""
    assert example.token_weights is not None
    found: dict[float, str] = {}
    for token, trained, weight in zip(
        example.token_ids.tolist(),
        example.is_trained.tolist(),
        example.token_weights.tolist(),
        strict=True,
    ):
        if trained:
            found[weight] = found.get(weight, "") + tokenizer.decode([token])
    return found


USER = Message("user", "1+1?")


@pytest.mark.parametrize("is_one_token", [True, False])
def test_reasoning_ends_with_its_tag_and_the_rest_is_answer(
    tokenizer: PreTrainedTokenizerFast, is_one_token: bool
) -> None:
    if not is_one_token:  # as in the vocabulary of a base that knows no such tags
        tag = tokenizer.convert_tokens_to_ids("</think>")
        example = row(tokenizer, USER, turn("2", "so"))
        spelt = tokenizer("</thi", add_special_tokens=False)["input_ids"]
        spelt += tokenizer("nk>", add_special_tokens=False)["input_ids"]
        place = example.token_ids.tolist().index(tag)
        ids = example.token_ids.tolist()
        ids[place : place + 1] = spelt
        mask = example.is_trained.tolist()
        mask[place : place + 1] = [True] * len(spelt)
        example = TokenizedExample(
            "e", torch.tensor(ids, dtype=torch.int32), torch.tensor(mask), 1.0
        )
    else:
        example = row(tokenizer, USER, turn("2", "so"))
    weighed = weigh_tokens(example, tokenizer, reasoning_weight=0.5, answer_weight=2.0)
    assert texts(tokenizer, weighed) == {0.5: "<think>\nso\n</think>", 2.0: "\n\n2<|end|>"}


def test_each_turn_has_its_own_reasoning(tokenizer: PreTrainedTokenizerFast) -> None:
    example = row(tokenizer, USER, turn("2", "so"), USER, turn("3", None), USER, turn("4", "b"))
    weighed = weigh_tokens(example, tokenizer, reasoning_weight=0.5, answer_weight=2.0)
    assert texts(tokenizer, weighed) == {
        0.5: "<think>\nso\n</think><think>\nb\n</think>",
        2.0: "\n\n2<|end|>3<|end|>\n\n4<|end|>",
    }


def test_weight_nought_is_not_trained_and_equal_weights_change_nothing(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    example = row(tokenizer, USER, turn("2", "so"))
    weighed = weigh_tokens(example, tokenizer, reasoning_weight=0.0, answer_weight=1.0)
    assert texts(tokenizer, weighed) == {1.0: "\n\n2<|end|>"}
    assert weigh_tokens(example, tokenizer, reasoning_weight=1.0, answer_weight=1.0) is example
