"""Messages to token ids, through the tokenizer's own chat template.

Training and inference both come through here, so that a student reads at work what it was trained
on. A template that has no field for reasoning gets it inside the content, between think tags.
"""

from collections.abc import Sequence

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from distill.errors import ModelError
from distill.reasoning import THINK_OPEN, join_reasoning
from distill.types import Message


def render(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Message],
    *,
    add_generation_prompt: bool = False,
) -> list[int]:
    """Token ids of a conversation.

    Args:
        tokenizer: With a chat template.
        messages: The turns so far, at least one.
        add_generation_prompt: Whether to add what stands before the assistant's next turn.

    Raises:
        ModelError: If there is no chat template, or it refuses these messages.
    """
    text = render_text(tokenizer, messages, add_generation_prompt=add_generation_prompt)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def render_text(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Message],
    *,
    add_generation_prompt: bool = False,
) -> str:
    """The same as text, special tokens spelled out."""
    template = tokenizer.chat_template
    if template is None:
        raise ModelError(
            "the tokenizer has no chat template: how the model reads a conversation is unknown",
            hint="put a chat_template.jinja into the model's folder, or set student.template: "
            "'chatml' (Qwen), 'llama3', 'r1' (DeepSeek-R1's students) or a Jinja file",
        )
    has_field = "reasoning_content" in str(template)
    try:
        text = tokenizer.apply_chat_template(
            [_as_dict(message, has_reasoning_field=has_field) for message in messages],
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
        )
    # A template may fail as any program does, such as by going through tools that nobody gave.
    except (TemplateError, TypeError, ValueError, LookupError, AttributeError) as error:
        roles = ", ".join(message.role for message in messages)
        raise ModelError(
            f"the chat template refuses a conversation of {roles}: {error}",
            hint="use a tokenizer whose template knows these roles",
        ) from error
    return str(text)


def is_reasoning_opened(tokenizer: PreTrainedTokenizerBase, prompt_ids: Sequence[int]) -> bool:
    """Whether the prompt ends with an opening think tag, so that the reply starts inside it."""
    return str(tokenizer.decode(list(prompt_ids[-8:]))).rstrip().endswith(THINK_OPEN)


def _as_dict(message: Message, *, has_reasoning_field: bool) -> dict[str, str]:
    if message.reasoning is None:
        return {"role": message.role, "content": message.content}
    if has_reasoning_field:
        return {
            "role": message.role,
            "content": message.content,
            "reasoning_content": message.reasoning,
        }
    return {"role": message.role, "content": join_reasoning(message.reasoning, message.content)}
