"""What the stub endpoint can be told to do; every field is a key of its ``--settings`` JSON."""

import json
from dataclasses import dataclass, field, fields
from typing import Literal

ReasoningField = Literal["reasoning_content", "reasoning", "think", "think-unopened", "none"]

FAULTS = ("429", "500", "cut", "hang", "half", "empty")
"""Refused, failed, connection cut, no answer ever, JSON that breaks off, no body at all."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How the stub answers.

    Attributes:
        seed: Of everything that is drawn.
        model: The one model that it serves; any other name gets 404.
        key: What the client must send as a bearer token; ``""`` takes everyone.
        latency_seconds: Median time to a whole answer.
        latency_sigma: Spread of the time, which is log-normal.
        reasoning: Where the reasoning is put.
        reasoning_chars: Characters of reasoning in an answer.
        honours_n: Whether ``n`` answers come for ``n``; otherwise one.
        chunk_chars: Characters in one event of a stream.
        writes: Network writes that a stream is spread over; they fall between any two bytes.
        keep_alive: Whether comments (streams) or empty lines (bodies) come before the answer.
        sends_done: Whether a stream ends with ``[DONE]``.
        sends_usage: Whether tokens are counted in the answer.
        length_share: Share of the prompts whose answers are always cut by the token limit.
        broken_share: Share of the prompts that always get 500.
        faults: Share of the requests that end in each of ``FAULTS``.
        retry_after: Seconds in the header of a 429; none if negative.
        capacity: Requests at once, 429 above; 0 for no limit.
        refuses: Status that every request gets, such as 402; 0 for none.
        alpha: Of the Beta distribution that a prompt's pass rate comes from.
        beta: Likewise.
        draws_by_seed: Whether the seed of a request says which answer it gets, not its turn.
        ledger: File for one line per answer that was produced.
    """

    seed: int = 0
    model: str = "stub"
    key: str = ""
    latency_seconds: float = 0.0
    latency_sigma: float = 0.3
    reasoning: ReasoningField = "reasoning_content"
    reasoning_chars: int = 4096
    honours_n: bool = True
    chunk_chars: int = 64
    writes: int = 4
    keep_alive: bool = False
    sends_done: bool = True
    sends_usage: bool = True
    length_share: float = 0.0
    broken_share: float = 0.0
    faults: dict[str, float] = field(default_factory=dict)
    retry_after: float = 0.1
    capacity: int = 0
    refuses: int = 0
    alpha: float = 0.8
    beta: float = 0.5
    draws_by_seed: bool = False
    ledger: str = ""

    def __post_init__(self) -> None:
        if unknown := set(self.faults) - set(FAULTS):
            raise ValueError(f"unknown faults: {sorted(unknown)}")


def read_settings(text: str) -> Settings:
    """Settings from JSON.

    Raises:
        ValueError: If a key is unknown.
    """
    given = json.loads(text)
    if unknown := set(given) - {each.name for each in fields(Settings)}:
        raise ValueError(f"unknown settings: {sorted(unknown)}")
    return Settings(**given)
