"""Good templates pass without an alarm; each way to break one is caught, by name, with a fix."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from transformers import GenerationConfig, PreTrainedTokenizerFast

from distill.errors import ModelError
from students.base import EMBEDDED
from students.load import load_student
from students.template_check import check_template, find_faults
from students.template_notes import find_notes
from students.turn_end import end_ids
from tests.students.families import GOOD, as_loaded, make, shape


@pytest.mark.parametrize(
    ("family", "template"), GOOD, ids=[f"{one}-{other}" for one, other in GOOD]
)
def test_good_template_raises_no_alarm(family: str, template: str) -> None:
    tokenizer = make(family, shape(template))
    assert find_faults(tokenizer, as_loaded(tokenizer)) == []


def test_embedded_student_passes() -> None:
    loaded = load_student(EMBEDDED)
    assert loaded.model.generation_config is not None
    assert find_faults(loaded.tokenizer, loaded.model.generation_config) == []


@dataclass(frozen=True, slots=True)
class Broken:
    """A family, its template, what is replaced in that, and where generation stops."""

    rule: str
    family: str
    template: str
    old: str = ""
    new: str = ""
    ends: Callable[[PreTrainedTokenizerFast, GenerationConfig], list[int]] | None = None

    def faults(self) -> list[str]:
        text = shape(self.template)
        assert not self.old or self.old in text
        tokenizer = make(self.family, text.replace(self.old, self.new) if self.old else text)
        config = as_loaded(tokenizer)
        if self.ends is not None:
            config.eos_token_id = self.ends(tokenizer, config)
        return [fault.rule for fault in find_faults(tokenizer, config)]


ASSISTANT, USER = "<\uff5cAssistant\uff5c>", "<\uff5cUser\uff5c>"
GENERATION = "'<|im_start|>assistant\\n' -}}{%- endif -%}"
THINKING_GENERATION = GENERATION.replace("assistant\\n", "assistant\\n<think>\\n\\n")
BROKEN = {
    "stock R1 template forgets the reasoning": Broken("reasoning", "r1", "r1_stock"),
    "reasoning goes into a field that nobody writes": Broken(
        "reasoning", "qwen3", "qwen3", "message.reasoning_content is string", "message.thoughts"
    ),
    "prompt and reply both open the reasoning": Broken(
        "think tags",
        "r1",
        "r1",
        "{{- message.reasoning_content",
        "{{- '<think>\\n' + message.reasoning_content",
    ),
    "reasoning is never closed": Broken(
        "think tags", "qwen3", "chatml", "\\n</think>\\n\\n", "\\n"
    ),
    "reasoning stands without tags": Broken(
        "think tags",
        "qwen3",
        "chatml",
        "'<think>\\n' + message.reasoning_content + '\\n</think>\\n\\n'",
        "message.reasoning_content",
    ),
    "prompt opens the reasoning and the reply knows nothing of it": Broken(
        "prefix", "qwen3", "chatml", GENERATION, THINKING_GENERATION
    ),
    "prompt lacks the line break after the role": Broken(
        "prefix", "qwen2.5", "qwen2.5", GENERATION, "'<|im_start|>assistant:' -}}{%- endif -%}"
    ),
    "a turn is not closed": Broken(
        "end", "qwen2.5", "chatml_base", " + '<|im_end|>' + '\\n'", " + '\\n'"
    ),
    "generation stops at the end of a text only": Broken(
        "end", "qwen2.5-base", "qwen2.5", ends=lambda tokenizer, _: [tokenizer.eos_token_id]
    ),
    "ChatML on a tokenizer that does not know it": Broken(
        "special tokens",
        "llama3-base",
        "chatml_base",
        "{%- for message",
        "{{- bos_token -}}{%- for message",
    ),
    "generation stops inside the reply": Broken(
        "early stop",
        "qwen3",
        "qwen3",
        ends=lambda tokenizer, config: [
            *end_ids(config),
            tokenizer.convert_tokens_to_ids("</think>"),
        ],
    ),
    "the next turn is opened in the training row": Broken(
        "after end", "qwen2.5", "qwen2.5", "{%- if add_generation_prompt -%}", "{%- if true -%}"
    ),
    "two end tokens": Broken(
        "after end",
        "qwen2.5-base",
        "chatml_base",
        "'<|im_end|>' + '\\n'",
        "'<|im_end|>' + '\\n<|endoftext|>'",
    ),
    "R1's tokenizer pads with its end token": Broken("padding", "r1", "r1"),
    "BOS before every turn": Broken(
        "bos",
        "llama3",
        "llama3",
        "{{- '<|start_header_id|>' + message.role",
        "{{- bos_token + '<|start_header_id|>' + message.role",
    ),
    "no BOS where every text has one": Broken("bos", "llama3", "llama3.1", "{{- bos_token -}}", ""),
    "default system prompt beside a given one": Broken(
        "system", "qwen2.5", "qwen2.5", "{%- else -%}", "{%- endif -%}{%- if true -%}"
    ),
    "system prompt in every turn": Broken(
        "system",
        "qwen2.5",
        "chatml_base",
        "message.role + '\\n' + message.content",
        "message.role + '\\n' + (messages[0].content if messages[0].role == 'system' else '')"
        " + message.content",
    ),
    "earlier reasoning is opened and not closed": Broken(
        "multi-turn",
        "r1",
        "r1",
        f"{{{{- '{ASSISTANT}' + message.content.split",
        f"{{{{- '{ASSISTANT}<think>\\n' + message.content.split",
    ),
    "only the first question is read": Broken(
        "multi-turn",
        "qwen2.5",
        "chatml_base",
        "for message in messages",
        "for message in messages[:2]",
    ),
}


@pytest.mark.parametrize("case", BROKEN.values(), ids=list(BROKEN))
def test_broken_template_is_caught_by_the_rule_it_breaks(case: Broken) -> None:
    assert case.rule in case.faults()


def test_at_least_twelve_ways_to_break_one_are_tried() -> None:
    assert len(BROKEN) >= 12
    assert {case.rule for case in BROKEN.values()} == {
        *("reasoning", "think tags", "prefix", "end", "special tokens", "early stop"),
        *("after end", "padding", "bos", "system", "multi-turn"),
    }


def test_stock_template_of_r1_is_answered_with_ours_which_passes() -> None:
    tokenizer = make("r1", shape("r1_stock"), pad_token=USER)
    with pytest.raises(ModelError, match="drops the assistant's reasoning") as caught:
        check_template(tokenizer, as_loaded(tokenizer))
    assert 'student.template = "r1"' in caught.value.hint
    tokenizer.chat_template = shape("r1")
    check_template(tokenizer, as_loaded(tokenizer))


def test_several_faults_are_told_at_once_each_with_its_fix() -> None:
    tokenizer = make("r1", shape("r1_stock"))
    with pytest.raises(ModelError, match="breaks 3 rules") as caught:
        check_template(tokenizer, as_loaded(tokenizer))
    assert caught.value.problem.count("\n") == 3
    assert len(caught.value.hint.splitlines()) >= 2


def test_pad_that_ends_a_turn_is_replaced_where_another_is_known() -> None:
    tokenizer = make("qwen2.5", shape("qwen2.5"), pad_token="<|im_end|>")
    config = as_loaded(tokenizer)
    assert tokenizer.pad_token == "<|endoftext|>"
    check_template(tokenizer, config)
    assert config.pad_token_id == tokenizer.pad_token_id


def test_tokenizer_without_pad_gets_one_that_ends_no_turn() -> None:
    tokenizer = make("llama3", shape("llama3.1"))
    assert tokenizer.pad_token is None
    as_loaded(tokenizer)
    assert tokenizer.pad_token == "<|finetune_right_pad_id|>"


@pytest.mark.parametrize(
    ("family", "template", "rules"),
    [
        ("qwen3", "chatml", []),
        ("qwen2.5", "qwen2.5", ["special tokens"]),
        ("llama3", "llama3.2", ["special tokens", "clock"]),
        ("r1", "r1", []),
    ],
)
def test_what_is_good_to_know_is_noted(family: str, template: str, rules: list[str]) -> None:
    tokenizer = make(family, shape(template))
    assert [note.rule for note in find_notes(tokenizer, as_loaded(tokenizer))] == rules


def test_template_that_cannot_train_a_bare_answer_is_noted() -> None:
    text = shape("r1").replace("{{- '</think>\\n\\n' + message.content", "{{- message.content")
    text = text.replace(
        "message.reasoning_content.strip() + '\\n'",
        "message.reasoning_content + '\\n</think>\\n\\n'",
    )
    opened = f"{{{{- '{ASSISTANT}<think>\\n' -}}}}\n"
    only_with = "{%- if message.reasoning_content is string -%}{{- '<think>\\n' -}}{%- endif -%}\n"
    text = text.replace(opened, f"{{{{- '{ASSISTANT}' -}}}}{only_with}", 1)
    tokenizer = make("r1", text, pad_token=USER)
    config = as_loaded(tokenizer)
    check_template(tokenizer, config)
    assert [note.rule for note in find_notes(tokenizer, config)] == ["no reasoning"]
