"""A conversation with a student: one reply at a time, streamed, reasoning told from answer.

The prompt is rendered as in training, and the history holds what was said so far. This module
draws no screen: it yields pieces of text, and whoever shows them may stop at any piece.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from transformers import PreTrainedTokenizerBase

from distill.errors import ModelError
from distill.reasoning import THINK_CLOSE, THINK_OPEN, split_reasoning
from distill.types import Message, Sampling
from engine.chat_format import is_reasoning_opened, render
from engine.drawing import draw_tokens
from engine.threads import fitting_threads
from students.load import load_student
from students.template import end_ids

Kind = Literal["reasoning", "answer"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a reply, to be shown as it comes."""

    kind: Kind
    text: str


class ChatSession:
    """A loaded student and what was said to it.

    Attributes:
        history: The turns so far.
        is_cut: Whether the last reply ended at the token limit rather than by itself.
    """

    def __init__(self, folder: Path, sampling: Sampling) -> None:
        """Load a student.

        Raises:
            ModelError: If the folder is not a whole model, or has no chat template.
        """
        self._loaded = load_student(folder)
        self._sampling = sampling
        self._random = random.Random(sampling.seed)
        config = self._loaded.model.generation_config
        self._end_ids = end_ids(config) if config is not None else frozenset()
        self.history: list[Message] = []
        self.is_cut = False

    def reset(self) -> None:
        """Forget what was said."""
        self.history = []

    def stream(self, text: str) -> Iterator[Piece]:
        """Say something and get the reply in pieces.

        A reply that is stopped, by closing the iterator or by Ctrl-C, stays in the history as far
        as it came.

        Raises:
            ModelError: If the conversation is longer than the model can read.
        """
        said = Message("user", text)
        prompt_ids = render(
            self._loaded.tokenizer, [*self.history, said], add_generation_prompt=True
        )
        is_opened = is_reasoning_opened(self._loaded.tokenizer, prompt_ids)
        splitter = _Splitter(is_opened=is_opened)
        reply = ""
        try:
            with fitting_threads(self._loaded.model.num_parameters()):
                for part in _texts(self._loaded.tokenizer, self._tokens(prompt_ids)):
                    reply += part
                    yield from splitter.feed(part)
            yield from splitter.finish()
        finally:
            if reply.strip():
                split = split_reasoning(reply, is_opened=is_opened)
                self.history += [said, Message("assistant", split.answer, split.reasoning)]

    @torch.inference_mode()
    def _tokens(self, prompt_ids: list[int]) -> Iterator[int]:
        """Draw tokens until one ends the turn or the limit is reached."""
        model, sampling = self._loaded.model, self._sampling
        context_tokens = int(getattr(model.config, "max_position_embeddings", 0)) or 1 << 30
        limit = min(sampling.max_tokens, context_tokens - len(prompt_ids))
        if limit < 1:
            raise ModelError(
                f"the conversation has {len(prompt_ids)} tokens, the model reads {context_tokens}",
                hint="start a new conversation",
            )
        cache = None
        ids_1_T = torch.tensor([prompt_ids], device=model.device)
        self.is_cut = True
        for _ in range(limit):
            output = model(
                input_ids=ids_1_T, past_key_values=cache, use_cache=True, logits_to_keep=1
            )
            cache = output.past_key_values
            number = torch.tensor([self._random.random()], device=model.device)
            ids_1 = draw_tokens(output.logits[:, -1], number, sampling.temperature, sampling.top_p)
            token = int(ids_1)
            if token in self._end_ids:
                self.is_cut = False
                return
            yield token
            ids_1_T = ids_1[:, None]


class _Splitter:
    """Takes text as it comes, gives pieces without tags and without white space around parts."""

    def __init__(self, *, is_opened: bool) -> None:
        self._kind: Kind = "reasoning" if is_opened else "answer"
        self._may_open = not is_opened
        self._has_begun = False
        self._held = ""

    def feed(self, text: str) -> Iterator[Piece]:
        """Take more text and give what is certain by now."""
        self._held += text
        if self._may_open:
            body = self._held.lstrip()
            if THINK_OPEN.startswith(body):  # too little to tell, or the whole tag and no more
                return
            self._may_open = False
            if body.startswith(THINK_OPEN):
                self._kind, self._held = "reasoning", body.removeprefix(THINK_OPEN)
        if self._kind == "reasoning" and THINK_CLOSE in self._held:
            self._held, _, after = self._held.partition(THINK_CLOSE)
            yield from self.finish()
            self._kind, self._held, self._has_begun = "answer", after, False
        yield from self._release(len(self._held) - self._uncertain())

    def finish(self) -> Iterator[Piece]:
        """Give the rest of this part."""
        self._held = self._held.rstrip()
        yield from self._release(len(self._held))

    def _uncertain(self) -> int:
        """Characters at the end that may turn out to be a tag, or white space before one."""
        text = self._held
        if self._kind == "reasoning":
            for length in range(len(THINK_CLOSE) - 1, 0, -1):
                if text.endswith(THINK_CLOSE[:length]):
                    text = text[:-length]
                    break
        return len(self._held) - len(text.rstrip())

    def _release(self, length: int) -> Iterator[Piece]:
        text, self._held = self._held[:length], self._held[length:]
        if not self._has_begun:
            text = text.lstrip()
        if text:
            self._has_begun = True
            yield Piece(self._kind, text)


def _texts(tokenizer: PreTrainedTokenizerBase, tokens: Iterator[int]) -> Iterator[str]:
    """Text of tokens as they come; a character that spans several tokens comes when it is whole."""
    token_ids: list[int] = []
    start, shown = 0, 0  # tokens before `shown` are out; those from `start` on decide about spaces
    for token in tokens:
        token_ids.append(token)
        before = str(tokenizer.decode(token_ids[start:shown], skip_special_tokens=True))
        text = str(tokenizer.decode(token_ids[start:], skip_special_tokens=True))
        if not text.endswith("\N{REPLACEMENT CHARACTER}"):
            yield text[len(before) :]
            start, shown = shown, len(token_ids)
