"""Reasoning and answer in one text: taking apart what a model wrote, and putting it together.

A reasoning model writes ``<think>``, its reasoning, ``</think>`` and its answer. Sometimes the
chat template has already written the opening tag, so that the text starts inside the reasoning.
Everything else (tags in the wrong place, tags twice) is not repaired here: such tags stay where
they are, and ``distill.verify.form`` finds them.

This module knows no tokenizer and no template.
"""

from dataclasses import dataclass

THINK_OPEN = "<think>"
THINK_CLOSE = "</think>"


@dataclass(frozen=True, slots=True)
class SplitText:
    """A model's text in its two parts.

    Attributes:
        reasoning: What stood between the think tags; ``None`` if there were none.
        answer: What came after them; empty while the reasoning was not closed.
    """

    reasoning: str | None
    answer: str


def split_reasoning(text: str, *, is_opened: bool = False) -> SplitText:
    r"""Take a model's text apart at its think tags; white space around the parts is dropped.

    The text starts inside the reasoning if it begins with ``<think>``, if the caller knows that
    the template opened it, or if a ``</think>`` comes with no ``<think>`` before it. The reasoning
    ends at the first ``</think>``; if none comes, all is reasoning.

    Args:
        text: What the model wrote, special tokens of the chat format removed.
        is_opened: Whether the template had written ``<think>`` at the end of the prompt.

    Example:
        >>> split_reasoning("<think>\n1 + 1 = 2\n</think>\n\nThe answer is 2.")
        SplitText(reasoning='1 + 1 = 2', answer='The answer is 2.')
        >>> split_reasoning("The answer is 2.")
        SplitText(reasoning=None, answer='The answer is 2.')
    """
    body = text.strip()
    if not is_opened and body.startswith(THINK_OPEN):
        body, is_opened = body.removeprefix(THINK_OPEN), True
    before, closing, after = body.partition(THINK_CLOSE)
    if is_opened or (closing and THINK_OPEN not in before):
        return SplitText(before.strip(), after.strip())
    return SplitText(None, body)


def join_reasoning(reasoning: str | None, answer: str) -> str:
    r"""Put the parts together as a model writes them; ``split_reasoning`` takes them apart again.

    Example:
        >>> join_reasoning("1 + 1 = 2", "The answer is 2.")
        '<think>\n1 + 1 = 2\n</think>\n\nThe answer is 2.'
    """
    if reasoning is None:
        return answer
    return f"{THINK_OPEN}\n{reasoning}\n{THINK_CLOSE}\n\n{answer}"
