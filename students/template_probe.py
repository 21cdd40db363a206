"""Two short conversations through a chat template: what the rules of the template check look at.

    system?  question  [reasoning, answer]  question  [reasoning, answer]
             <---- prompt --><-- reply --->

Each turn is rendered twice, as inference reads it and as training does. This module knows how to
render and where to look, nothing of what is right.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from distill.types import Message
from engine.chat_format import render_text

SYSTEM = Message("system", "Answer in one line.")
QUESTION = Message("user", "What is 1 + 1?")
REPLY = Message("assistant", "The answer is 2.", reasoning="first thought", is_trained=True)
NEXT_QUESTION = Message("user", "What is 3 + 4?")
NEXT_REPLY = Message("assistant", "The sum is 7.", reasoning="second thought", is_trained=True)


@dataclass(frozen=True, slots=True)
class Turn:
    """One reply: the prompt before it, and the row that is trained on.

    Attributes:
        question: What the user asked last.
        message: The reply itself.
        prompt: As inference reads it, up to where the model goes on.
        row: As training reads it, the reply included.
        prompt_ids: Tokens of ``prompt``.
        row_ids: Tokens of ``row``.
    """

    question: Message
    message: Message
    prompt: str
    row: str
    prompt_ids: list[int]
    row_ids: list[int]

    @property
    def newest(self) -> str:
        """The row from the last question on, the reply included."""
        return self.row[max(0, self.row.rfind(self.question.content)) :]

    @property
    def after_answer(self) -> str:
        """What the template writes after the answer."""
        return self.row[self.row.rfind(self.message.content) + len(self.message.content) :]


def probe_turn(
    tokenizer: PreTrainedTokenizerBase, before: Sequence[Message], message: Message
) -> Turn:
    """Render a reply and the prompt before it.

    Raises:
        ModelError: If there is no template, or it refuses these messages.
    """
    prompt = render_text(tokenizer, before, add_generation_prompt=True)
    row = render_text(tokenizer, [*before, message])
    return Turn(
        before[-1], message, prompt, row, token_ids(tokenizer, prompt), token_ids(tokenizer, row)
    )


def token_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Tokens of a rendered text: special ones are spelled out in it already."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def is_one_token(tokenizer: PreTrainedTokenizerBase, text: str) -> bool:
    """Whether a marker is a token of its own."""
    return len(token_ids(tokenizer, text)) == 1


def special_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Special tokens: those with a name, such as EOS, and those that are only marked as special."""
    marked = [at for at, token in tokenizer.added_tokens_decoder.items() if token.special]
    return frozenset([*tokenizer.all_special_ids, *marked])
