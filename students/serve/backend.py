"""What a back end of the server must do, and the nouns that it gives."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from distill.errors import DistillError
from distill.types import Message
from engine.text_stream import Kind


class RequestError(DistillError):
    """A request that cannot be met, because of what it asks for.

    Attributes:
        param: The field of the request; empty if it is not about one.
        status: Of HTTP.
    """

    def __init__(self, problem: str, *, param: str = "", status: int = 400) -> None:
        """Take what is wrong and where."""
        super().__init__(problem)
        self.param = param
        self.status = status


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One request for completions, checked.

    Attributes:
        messages: The conversation so far.
        choices: Completions that are wanted.
        max_tokens: New tokens of each at most; ``None`` for the server's limit.
        temperature: 0 is greedy.
        top_p: Nucleus that is drawn from.
        top_k: Only so many of the likeliest tokens are drawn from; 0 for all.
        min_p: Only tokens at least this likely, as a share of the likeliest one.
        repetition_penalty: Above 1, what was said becomes less likely.
        seed: The same seed gives the same completions; ``None`` for others each time.
        stops: Texts at which a completion ends, without them.
        is_stream: Whether pieces are sent as they come.
        wants_usage: Whether a stream ends with its usage.
        wants_logprobs: Whether each token's log-probability is sent.
    """

    messages: Sequence[Message]
    choices: int = 1
    max_tokens: int | None = None
    temperature: float = 0.6
    top_p: float = 0.95
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stops: tuple[str, ...] = ()
    is_stream: bool = False
    wants_usage: bool = False
    wants_logprobs: bool = False


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One token of a completion.

    Attributes:
        token: As text.
        logprob: Of it, given what stands before.
    """

    token: str
    logprob: float


@dataclass(frozen=True, slots=True)
class Delta:
    """What is new of a completion.

    Attributes:
        kind: Which part of it.
        text: Never empty unless it brings log-probabilities alone.
        logprobs: Of the tokens that were drawn since the last one.
    """

    kind: Kind
    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class End:
    """How a completion ended.

    Attributes:
        finish: By itself or at a stop text, or at the limit.
        prompt_tokens: Read.
        completion_tokens: Written.
        reasoning_tokens: The part of them before the closing think tag.
    """

    finish: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int


class Backend(Protocol):
    """Draws completions of one student."""

    name: str
    """As ``--backend`` names it, such as ``"own"``."""

    def complete(self, request: ChatRequest, choice: int) -> AsyncGenerator[Delta | End, None]:
        """One of the completions of a request; its last item is an ``End``.

        When the iterator is closed early, what runs for it is cancelled and its place is free.

        Raises:
            RequestError: If the request cannot be met, before the first item.
            ModelError: If the model fails.
        """
        ...

    @property
    def running(self) -> int:
        """Completions that are being drawn, or wait for a place."""
        ...

    @property
    def drawn_tokens(self) -> int:
        """Tokens since the start; while completions run, it grows."""
        ...

    def fault(self) -> str:
        """Why nothing can be drawn any more; empty while all is well."""
        ...

    def close(self) -> None:
        """End; what runs is dropped."""
        ...
