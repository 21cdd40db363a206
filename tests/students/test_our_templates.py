"""Our chat templates: a prompt is the same whatever a client sends back of earlier replies."""

import pytest

from distill.reasoning import join_reasoning
from distill.types import Example, Message
from engine.chat_format import is_reasoning_opened, render, render_text
from students.template import tokenize
from students.turn_end import end_ids
from tests.students.families import as_loaded, make, shape

OURS = [("qwen2.5-base", "chatml"), ("qwen3", "chatml"), ("llama3-base", "llama3"), ("r1", "r1")]
SYSTEM = Message("system", "Be brief.")
FIRST, SECOND = Message("user", "1 + 1?"), Message("user", "3 + 4?")
REPLY = Message("assistant", "Two.", reasoning="one and one", is_trained=True)
NEXT = Message("assistant", "Seven.", reasoning="three and four", is_trained=True)


@pytest.mark.parametrize(("family", "template"), OURS)
def test_prompt_is_the_same_whether_a_client_sends_back_reasoning_or_not(
    family: str, template: str
) -> None:
    tokenizer = make(family, shape(template))
    sent = [
        REPLY,
        Message("assistant", REPLY.content),
        Message("assistant", join_reasoning(REPLY.reasoning, REPLY.content)),
    ]
    prompts = {
        render_text(tokenizer, [SYSTEM, FIRST, reply, SECOND], add_generation_prompt=True)
        for reply in sent
    }
    assert len(prompts) == 1
    (prompt,) = prompts
    assert "Two." in prompt
    assert "Be brief." in prompt
    assert "one and one" not in prompt


@pytest.mark.parametrize(("family", "template"), OURS)
def test_each_trained_reply_is_a_row_with_its_own_reasoning(family: str, template: str) -> None:
    tokenizer = make(family, shape(template))
    ends = end_ids(as_loaded(tokenizer))
    rows = tokenize(tokenizer, Example("e", (FIRST, REPLY, SECOND, NEXT)), ends)
    assert len(rows) == 2
    for row, reply, prompt in zip(
        rows, (REPLY, NEXT), ([FIRST], [FIRST, REPLY, SECOND]), strict=True
    ):
        trained = str(tokenizer.decode(row.token_ids[row.is_trained].tolist()))
        assert f"{reply.reasoning}\n</think>\n\n{reply.content}" in trained
        assert int(row.token_ids[-1]) in ends
        prompt_ids = render(tokenizer, prompt, add_generation_prompt=True)
        assert row.token_ids[: len(prompt_ids)].tolist() == prompt_ids
        assert trained.startswith("<think>\n") != is_reasoning_opened(tokenizer, prompt_ids)


@pytest.mark.parametrize(("family", "template"), OURS)
def test_reply_without_reasoning_can_be_trained_on(family: str, template: str) -> None:
    tokenizer = make(family, shape(template))
    bare = Message("assistant", "Two.", is_trained=True)
    (row,) = tokenize(tokenizer, Example("e", (FIRST, bare)), end_ids(as_loaded(tokenizer)))
    assert "Two." in str(tokenizer.decode(row.token_ids[row.is_trained].tolist()))
