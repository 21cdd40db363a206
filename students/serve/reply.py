"""A back end's token ids as a reply: text, reasoning told from answer, stops, log-probabilities.

Whoever draws the tokens, our engine or another program, a conversation is read and a reply is cut
by the same rules: what is told apart here is told apart in training and evaluation too.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from distill.errors import ModelError
from distill.reasoning import THINK_CLOSE
from distill.types import Message
from engine.chat_format import is_reasoning_opened, render
from engine.text_stream import Piece, ReasoningSplitter, StopFinder, TokenText
from students.serve.backend import ChatRequest, Delta, End, RequestError, TokenLogprob


@dataclass(frozen=True, slots=True)
class Token:
    """One drawn token, and how the row ended if it did."""

    token_id: int
    logprob: float | None
    finish: str | None


def read_prompt(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], longest: int
) -> list[int]:
    """Token ids of a conversation, up to where the reply begins.

    Args:
        tokenizer: With a chat template.
        messages: The turns so far.
        longest: Tokens that the model reads at most, the reply's first one included.

    Raises:
        RequestError: If the template refuses the conversation, or it is too long.
    """
    try:
        prompt_ids = render(tokenizer, messages, add_generation_prompt=True)
    except ModelError as error:
        raise RequestError(error.problem, param="messages") from error
    if len(prompt_ids) >= longest:
        raise RequestError(
            f"the conversation has {len(prompt_ids):,} tokens; this server reads"
            f" {longest - 1:,} at most",
            param="messages",
        )
    return prompt_ids


class Reply:
    """Tokens of one completion as deltas, up to its end."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, prompt_ids: list[int], request: ChatRequest
    ) -> None:
        """Take what the reply answers."""
        self._tokenizer = tokenizer
        self._prompt_tokens = len(prompt_ids)
        self._text = TokenText(tokenizer)
        self._stops = StopFinder(request.stops)
        self._splitter = ReasoningSplitter(is_opened=is_reasoning_opened(tokenizer, prompt_ids))
        self._close_id = tokenizer.convert_tokens_to_ids(THINK_CLOSE)
        self._tokens = self._reasoning_tokens = 0
        self._logprobs: list[TokenLogprob] = []
        self.end: End | None = None

    def feed(self, tokens: list[Token]) -> list[Delta]:
        """Take tokens; ``end`` is set when the completion has ended."""
        pieces: list[Piece] = []
        for token in tokens:
            self._tokens += 1
            if token.token_id == self._close_id and not self._reasoning_tokens:
                self._reasoning_tokens = self._tokens
            if token.logprob is not None:
                shown = str(self._tokenizer.decode([token.token_id]))
                self._logprobs.append(TokenLogprob(shown, token.logprob))
            text = self._text.feed(token.token_id)
            pieces += self._splitter.feed(self._stops.feed(text))
            if token.finish is not None or self._stops.is_found:
                pieces += self._splitter.feed(self._stops.feed(self._text.finish()))
                pieces += itertools.chain(
                    self._splitter.feed(self._stops.finish()), self._splitter.finish()
                )
                is_cut = token.finish == "length" and not self._stops.is_found
                self.end = End(
                    "length" if is_cut else "stop",
                    self._prompt_tokens,
                    self._tokens,
                    self._tokens if self._splitter.is_reasoning else self._reasoning_tokens,
                )
                break
        deltas = [Delta(piece.kind, piece.text) for piece in pieces]
        if self._logprobs and (deltas or self.end is not None):
            first = deltas[0] if deltas else Delta("answer", "")
            deltas[:1] = [Delta(first.kind, first.text, tuple(self._logprobs))]
            self._logprobs = []
        return deltas
