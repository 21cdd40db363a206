"""A conversation with a student: one reply at a time, streamed, reasoning told from answer.

The prompt is rendered as in training, and the history holds what was said so far. This module
draws no screen: it yields pieces of text, and whoever shows them may stop at any piece.
"""

from collections.abc import Iterator
from pathlib import Path

from distill.errors import ModelError
from distill.reasoning import split_reasoning
from distill.types import Message, Sampling
from engine.chat_format import is_reasoning_opened, render
from engine.row import Decoding
from engine.session import Engine
from engine.text_stream import Piece, ReasoningSplitter, TokenText
from students.load import load_student
from students.template import end_ids


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
        config = self._loaded.model.generation_config
        self._end_ids = end_ids(config) if config is not None else frozenset()
        self._engine = Engine(self._loaded.model, end_ids=self._end_ids, most_rows=1)
        self._decoding = Decoding(
            sampling.temperature, sampling.top_p, max_tokens=sampling.max_tokens
        )
        self._seed = sampling.seed
        self._replies = 0
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
        splitter = ReasoningSplitter(is_opened=is_opened)
        reply = ""
        try:
            for part in self._texts(prompt_ids):
                reply += part
                yield from splitter.feed(part)
            yield from splitter.finish()
        finally:
            if reply.strip():
                split = split_reasoning(reply, is_opened=is_opened)
                self.history += [said, Message("assistant", split.answer, split.reasoning)]

    def _texts(self, prompt_ids: list[int]) -> Iterator[str]:
        written = TokenText(self._loaded.tokenizer)
        for token in self._tokens(prompt_ids):
            yield written.feed(token)
        yield written.finish()

    def _tokens(self, prompt_ids: list[int]) -> Iterator[int]:
        """Draw tokens until one ends the turn or the limit is reached."""
        if len(prompt_ids) >= self._engine.longest:
            raise ModelError(
                f"the conversation has {len(prompt_ids)} tokens, the model reads"
                f" {self._engine.longest}",
                hint="start a new conversation",
            )
        self._replies += 1
        row = self._engine.add(prompt_ids, self._decoding, name=f"{self._seed}/{self._replies}")
        try:
            while row.finish is None:
                self._engine.step()
                if row.finish != "stop":
                    yield row.token_ids[-1]
            self.is_cut = row.finish == "length"
        finally:
            self._engine.cancel(row)
