"""The nouns of the toolkit and its two roles, ``Completer`` and ``Verifier``.

Every other module speaks in these. They are frozen, hold no behaviour beyond
questions about themselves, and know neither files nor models.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

FinishReason = Literal["stop", "length", "error"]
Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """One problem, with what is needed to check an answer.

    Attributes:
        id: Unique within its prompt set.
        text: What the user asks.
        answer: The gold answer; ``None`` when nobody knows it.
        kind: Group for breakdowns in reports, such as ``"story"``.
        level: Difficulty for breakdowns, such as the number of steps.
    """

    id: str
    text: str
    answer: str | None = None
    kind: str = ""
    level: int = 0


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a completion is drawn.

    Attributes:
        temperature: 0 is greedy.
        top_p: Nucleus of probability mass that is drawn from, in (0, 1].
        max_tokens: New tokens at most; a completion that reaches it is truncated.
        seed: Two samples with the same seed, prompt and index are the same draw.
        keeps_logprobs: Whether a local model keeps the log-probabilities of the drawn tokens; they
            do not change what is drawn.
    """

    temperature: float = 0.6
    top_p: float = 0.95
    max_tokens: int = 32_768
    seed: int = 0
    keeps_logprobs: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one completion, or a sum of several; ``reasoning_tokens`` is part of output."""

    input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cached_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.cached_tokens + other.cached_tokens,
        )


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model returned for one request.

    Attributes:
        text: The answer part, after the think tags.
        reasoning: What stood between the think tags; ``None`` if there were none.
        finish: ``"stop"`` ended by itself, ``"length"`` was cut, ``"error"`` failed.
        usage: Tokens read and written.
        error: Why it failed, when ``finish`` is ``"error"``.
        logprobs: Log-probability of each output token by the model itself, before temperature and
            nucleus; ``None`` if they were not kept.
    """

    text: str
    reasoning: str | None = None
    finish: FinishReason = "stop"
    usage: Usage = field(default_factory=Usage)
    error: str | None = None
    logprobs: tuple[float, ...] | None = None

    @property
    def is_truncated(self) -> bool:
        """Whether the token limit cut the completion."""
        return self.finish == "length"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one answer of an endpoint cost, beside its tokens.

    Attributes:
        at: When it was complete, UTC, such as ``"2026-11-24T09:00:00Z"``.
        seconds: From asking to the end of the answer, waits for a retry included.
        attempts: How often it was asked for; each but the last came to nothing.
        unanswered: How many of those may have been billed: cut off, hung or unreadable ones, not
            those that the server refused.
        usd: By the price at that time; ``None`` when no price is known.
        model: What the server says answered; empty if it says nothing.
    """

    at: str
    seconds: float
    attempts: int = 1
    unanswered: int = 0
    usd: float | None = None
    model: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """One stored completion of one prompt.

    Attributes:
        prompt_id: Whose.
        sample_index: Which of the prompt's samples.
        model: Who wrote it.
        completion: What was written.
        receipt: What it cost, if an endpoint wrote it; no part of what makes traces equal.
    """

    prompt_id: str
    sample_index: int
    model: str
    completion: Completion
    receipt: Receipt | None = field(default=None, compare=False)

    @property
    def id(self) -> str:
        """Unique within a run: the prompt's id and the sample's index."""
        return f"{self.prompt_id}#{self.sample_index}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A verifier's finding about one completion.

    Attributes:
        is_accepted: ``True`` right, ``False`` wrong, ``None`` unknown (no gold answer).
        reason: One sentence a person can check.
        verifier: Name and version of the rule that judged, such as ``"answer/2"``.
        reward: Number in [0, 1]; 0 when unknown.
        milliseconds: What judging took; no part of what makes two verdicts equal.
    """

    is_accepted: bool | None
    reason: str
    verifier: str
    reward: float = 0.0
    milliseconds: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class Check:
    """What one rule of the filter measured on one trace.

    Attributes:
        name: Of the rule, such as ``"repetition"``.
        version: Raised when the rule could find otherwise on the same trace.
        value: What was measured; ``None`` if there was nothing to measure.
        threshold: What it was held against; ``None`` for a mere label.
        ok: Whether the trace passes.
        reason: One sentence a person can check; may be empty when it passes.
    """

    name: str
    version: int
    value: float | str | None
    threshold: float | str | None
    ok: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class JudgedTrace:
    """A trace together with what its verifier found."""

    trace: Trace
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; ``is_trained`` marks the turns that carry loss."""

    role: Role
    content: str
    reasoning: str | None = None
    is_trained: bool = False


@dataclass(frozen=True, slots=True)
class Example:
    """A conversation with a loss mask, ready to tokenize."""

    id: str
    messages: tuple[Message, ...]
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Document:
    """A plain text, trained on from its second token to its end, without a chat template."""

    id: str
    text: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Request:
    """One sample that is wanted of a completer."""

    prompt: Prompt
    sample_index: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A request, the completion it got, and what that cost if an endpoint wrote it."""

    request: Request
    completion: Completion
    receipt: Receipt | None = None


class RequestSource(Protocol):
    """Where a completer pulls its work from."""

    def take(self, n: int) -> Sequence[Request]:
        """Up to ``n`` requests that are ready now.

        Answers change what is ready: a source may have nothing while requests are in flight and
        more after the next answer was consumed. Empty with nothing in flight: see
        ``seconds_to_wait``.
        """
        ...

    def seconds_to_wait(self) -> float | None:
        """After an empty ``take`` with nothing in flight: how long to wait before the next one.

        ``None`` when the work is done. A completer that never waits may take it for done as well:
        only what costs money by the hour is told to wait.
        """
        ...


class Completer(Protocol):
    """Something that completes prompts: a teacher, a student, a recording.

    An answer depends on the request and the sampling alone, not on what is asked with it, so that
    a resumed run asks for what is missing and for nothing else.

    Attributes:
        model: Name for people and for traces.
        fingerprint: Changes when the same request could get another answer (weights, template).
        samples_at_once: Samples of one prompt that it likes to be asked for next to each other,
            because one call answers them all; 1 if it makes no difference.
        is_billed: Whether a request may cost money although its answer never arrives.
    """

    model: str
    fingerprint: str
    samples_at_once: int
    is_billed: bool

    def complete(self, source: RequestSource, sampling: Sampling) -> Iterator[Answer]:
        """Pull requests while there is room and yield each answer as soon as it is finished.

        The consumer handles an answer before the next ``take``. A request that fails yields a
        completion with ``finish="error"``; only a cause that stops every request raises.
        """
        ...

    def progress_figures(self) -> Mapping[str, str]:
        """What to show beside the progress, such as ``{"at once": "64/256"}``; may be empty."""
        ...


class Verifier(Protocol):
    """A rule that judges one completion of one prompt.

    Attributes:
        name: Name and version, such as ``"answer/2"``; part of what a stored verdict depends on.
    """

    name: str

    def verify(self, prompt: Prompt, completion: Completion) -> Verdict:
        """Judge; never raises for anything a model could write."""
        ...


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a stage stands, for whoever shows it.

    Attributes:
        stage: Name of the stage, such as ``"generate"``.
        done: Units finished, those of an earlier try included.
        total: Units in all, as far as known now.
        resumed: Units that an earlier try had finished: no measure of the present speed.
        figures: What else to show, such as ``{"accepted": "81 %"}``.
    """

    stage: str
    done: int
    total: int
    resumed: int = 0
    figures: Mapping[str, str] = field(default_factory=dict)
