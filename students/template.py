"""Examples to token ids and a loss mask.

    <|user|> 1 + 1 ? <|end|> <|assistant|> <think> ... </think> 2 <|end|>
    [------------- prompt, masked -------] [---------- trained ---------]

What is trained is exactly what the model writes at work: everything after the prompt as inference
renders it, up to and with the end token. A template that forgets earlier turns, or their
reasoning, gives a conversation with several trained turns several rows: one for each prompt that
inference would render.

This module knows messages and tokens, nothing of rows, loss or models.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import torch
from transformers import GenerationConfig, PreTrainedTokenizerBase

from distill.errors import DataError, ModelError
from distill.types import Document, Example
from engine.chat_format import render
from students.template_check import check_template
from students.turn_end import end_ids as end_ids  # noqa: PLC0414 - known from here
from students.turn_end import with_turn_end as with_turn_end  # noqa: PLC0414


@dataclass(frozen=True, slots=True)
class TokenizedExample:
    """Token ids of one conversation and which of them carry loss.

    Attributes:
        example_id: Of the example it was made from; several may share it.
        token_ids: ``int32``, ``[T]``.
        is_trained: ``bool``, ``[T]``; never the first, which nothing precedes.
        weight: Of each of its trained tokens in the loss.
        token_weights: ``fp32``, ``[T]``; of each token where they differ, beside ``weight``.
    """

    example_id: str
    token_ids: torch.Tensor
    is_trained: torch.Tensor
    weight: float = 1.0
    token_weights: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.token_ids)

    @property
    def trained_tokens(self) -> int:
        """How many tokens carry loss."""
        return int(self.is_trained.sum())


@dataclass(slots=True)
class _Draft:
    """A row in the making: tokens so far, and the spans of them that are trained."""

    token_ids: list[int]
    spans: list[tuple[int, int]]

    def extends(self, prompt_ids: list[int]) -> bool:
        """Whether a later turn's prompt holds this row as it is."""
        return prompt_ids[: len(self.token_ids)] == self.token_ids


def tokenize(
    tokenizer: PreTrainedTokenizerBase, example: Example, end_ids: Collection[int]
) -> list[TokenizedExample]:
    """Token ids and loss mask of an example, as few rows as the template allows.

    Args:
        tokenizer: With a chat template.
        example: At least one of its messages is trained.
        end_ids: Tokens at which generation stops; the trained part ends with one of them.

    Raises:
        DataError: If no message is trained, or one that is not the assistant's.
        ModelError: If the template breaks one of the rules of ``check_template``.
    """
    drafts: list[_Draft] = []
    for turn in _trained_turns(example):
        prompt_ids = render(tokenizer, example.messages[:turn], add_generation_prompt=True)
        token_ids = render(tokenizer, example.messages[: turn + 1])
        end = _trained_end(example.id, prompt_ids, token_ids, end_ids)
        spans = [(len(prompt_ids), end)]
        if drafts and drafts[-1].extends(prompt_ids):
            spans = drafts.pop().spans + spans
        drafts.append(_Draft(token_ids[:end], spans))
    return [_finished(example, draft) for draft in drafts]


def tokenize_all(
    tokenizer: PreTrainedTokenizerBase,
    generation_config: GenerationConfig,
    examples: Iterable[Example | Document],
) -> Iterator[TokenizedExample]:
    """Rows of a whole set; the template is checked before the first conversation.

    Raises:
        DataError: If an example cannot be trained on.
        ModelError: If the template cannot.
    """
    ends: frozenset[int] | None = None
    for example in examples:
        if isinstance(example, Document):
            yield tokenize_document(tokenizer, example)
            continue
        if ends is None:
            check_template(tokenizer, generation_config)
            ends = end_ids(generation_config)
        yield from tokenize(tokenizer, example, ends)


def tokenize_document(tokenizer: PreTrainedTokenizerBase, document: Document) -> TokenizedExample:
    """A plain text: what the tokenizer puts before one, the text, and its end token; all trained.

    Raises:
        ModelError: If the tokenizer has no end token.
    """
    end = tokenizer.eos_token_id
    if end is None:
        raise ModelError(
            "the tokenizer has no eos_token: a student of plain text would never stop",
            hint="set eos_token in tokenizer_config.json",
        )
    token_ids = list(tokenizer(document.text)["input_ids"])
    if token_ids[-1:] != [end]:
        token_ids.append(end)
    if token_ids[:2] == [tokenizer.bos_token_id] * 2:
        del token_ids[0]  # the text had spelled it out
    is_trained = torch.ones(len(token_ids), dtype=torch.bool)
    is_trained[0] = False
    return TokenizedExample(
        example_id=document.id,
        token_ids=torch.tensor(token_ids, dtype=torch.int32),
        is_trained=is_trained,
        weight=document.weight,
    )


def _trained_turns(example: Example) -> list[int]:
    turns = [index for index, message in enumerate(example.messages) if message.is_trained]
    if not turns:
        raise DataError(f"example {example.id!r}: no message is trained")
    for turn in turns:
        role = example.messages[turn].role
        if role != "assistant":
            raise DataError(
                f"example {example.id!r}: message {turn + 1} is trained but is the {role}'s",
                hint="only the assistant's messages can be trained",
            )
    if turns[0] == 0:
        raise DataError(f"example {example.id!r}: nothing stands before the assistant's first turn")
    return turns


def _trained_end(
    example_id: str, prompt_ids: list[int], token_ids: list[int], end_ids: Collection[int]
) -> int:
    """Index after the last end token; what a template adds behind it is never generated."""
    if token_ids[: len(prompt_ids)] != prompt_ids:
        raise ModelError(
            f"example {example_id!r}: the prompt as inference renders it is not how the training "
            "row begins (rule 'prefix')",
            hint="the chat template must not change a turn once the next one is added",
        )
    for index in range(len(token_ids) - 1, len(prompt_ids) - 1, -1):
        if token_ids[index] in end_ids:
            return index + 1
    raise ModelError(
        f"example {example_id!r}: no end token after the assistant's turn (rule 'end')",
        hint="the chat template must close the assistant's turn with a token in eos_token_id",
    )


def _finished(example: Example, draft: _Draft) -> TokenizedExample:
    is_trained = torch.zeros(len(draft.token_ids), dtype=torch.bool)
    for start, end in draft.spans:
        is_trained[start:end] = True
    is_trained[0] = False
    return TokenizedExample(
        example_id=example.id,
        token_ids=torch.tensor(draft.token_ids, dtype=torch.int32),
        is_trained=is_trained,
        weight=example.weight,
    )
