"""The nouns of the sampling engine: how a row is drawn, and a row on its way.

The engine knows token ids, nothing of tokenizers, prompts or text.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from engine.drawing import UniformStream

RowFinish = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True, slots=True)
class Decoding:
    """How the tokens of one row are drawn.

    Attributes:
        temperature: 0 is greedy.
        top_p: Nucleus of probability mass that is drawn from, in (0, 1].
        top_k: Only so many of the likeliest tokens are drawn from; 0 for all.
        min_p: Only tokens at least this likely, as a share of the likeliest one; 0 for all.
        repetition_penalty: Above 1, tokens that stand in the row already become less likely.
        max_tokens: New tokens at most.
        keeps_logprobs: Whether the log-probabilities of the drawn tokens are kept.
    """

    temperature: float = 0.6
    top_p: float = 0.95
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    max_tokens: int = 32_768
    keeps_logprobs: bool = False

    def __post_init__(self) -> None:
        """Refuse what nothing can be drawn with.

        Raises:
            ValueError: Naming the field and what is allowed.
        """
        checks = {
            "temperature must be 0 or more": self.temperature >= 0,
            "top_p must be in (0, 1]": 0 < self.top_p <= 1,
            "top_k must be 0 or more": self.top_k >= 0,
            "min_p must be in [0, 1]": 0 <= self.min_p <= 1,
            "repetition_penalty must be more than 0": self.repetition_penalty > 0,
            "max_tokens must be 1 or more": self.max_tokens >= 1,
        }
        if broken := [rule for rule, is_kept in checks.items() if not is_kept]:
            raise ValueError("; ".join(broken))


@dataclass(slots=True, eq=False)
class Row:
    """One request on its way through the engine.

    Attributes:
        prompt_ids: What the model reads first.
        decoding: How its tokens are drawn.
        uniforms: Its own random numbers; the same ones draw the same tokens.
        limit: New tokens at most, by ``decoding`` and by the model's context.
        token_ids: What was drawn so far, the end token included.
        logprobs: Their log-probabilities before temperature and truncation, if they are kept.
        finish: Why it ended; ``None`` while it runs.
        cached_tokens: How many of its tokens the model has read.
    """

    prompt_ids: Sequence[int]
    decoding: Decoding
    uniforms: UniformStream
    limit: int
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish: RowFinish | None = None
    cached_tokens: int = 0

    @property
    def tokens(self) -> int:
        """Tokens of the prompt and of what was drawn."""
        return len(self.prompt_ids) + len(self.token_ids)

    @property
    def next_input(self) -> int:
        """The first token that the model has not read yet."""
        drawn = self.cached_tokens - len(self.prompt_ids)
        return self.token_ids[drawn] if drawn >= 0 else self.prompt_ids[self.cached_tokens]

    @property
    def awaits_draw(self) -> bool:
        """Whether the model has read all of it, so that its logits are those of a new token.

        A row that was set back for lack of memory reads again what it had drawn.
        """
        return self.cached_tokens == self.tokens
