"""Stage: turn kept traces into examples, for the student and for the controls beside it.

Three variants of one training set, over the same prompts, so that only the traces differ:

- ``student``: kept traces, whole; of each prompt all, or ``per_prompt`` that the seed chooses.
- ``answers_only``: the same traces with their reasoning taken away.
- ``unfiltered``: as many traces of the same prompts, drawn by the seed from all that the teacher
  finished, right or wrong; then single traces are added or taken away until the tokens match
  those of ``student`` as closely as whole traces allow. Cut traces stay out: they have no end,
  and a student must learn where to stop. Empty ones stay out: they teach nothing.

This module knows no files and no tokenizer: the caller counts tokens.
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from distill.errors import DataError
from distill.reasoning import join_reasoning
from distill.rules import TokenCounter
from distill.types import Example, JudgedTrace, Message, Prompt, Trace

Variant = Literal["student", "answers_only", "unfiltered"]
VARIANTS: tuple[Variant, ...] = ("student", "answers_only", "unfiltered")


@dataclass(frozen=True, slots=True)
class Blend:
    """Examples of one variant.

    Attributes:
        variant: Which one.
        examples: In the order of the prompts, then of the samples.
        prompts: How many prompts they cover.
        tokens: Of prompts, reasoning and answers together, without the chat format's own.
    """

    variant: Variant
    examples: tuple[Example, ...]
    prompts: int
    tokens: int


def blend(
    variant: Variant,
    prompts: Sequence[Prompt],
    kept: Iterable[JudgedTrace],
    traces: Iterable[JudgedTrace],
    *,
    seed: int,
    count_tokens: TokenCounter,
    per_prompt: int | None = None,
) -> Blend:
    """Make the examples of one variant.

    Args:
        variant: Which one.
        prompts: The prompts that were sampled.
        kept: What the filter kept, the traces of a prompt next to each other.
        traces: Everything that was sampled, in the same order; read only for ``unfiltered``.
        seed: The same seed gives the same examples.
        count_tokens: Tokens of a text, by the student's tokenizer.
        per_prompt: Traces of one prompt at most; ``None`` takes all that were kept.

    Raises:
        DataError: If a trace belongs to no prompt.
    """
    by_id = {prompt.id: prompt for prompt in prompts}
    maker = _ExampleMaker(by_id, count_tokens, keeps_reasoning=variant != "answers_only")
    chosen = [trace for group in _groups(kept) for trace in _draw(group, per_prompt, seed, "kept")]
    made = [maker.make(trace) for trace in chosen]
    if variant == "unfiltered":
        made = _match_unfiltered(made, traces, maker, seed)
    return Blend(
        variant,
        examples=tuple(one.example for one in made),
        prompts=len({one.prompt_id for one in made}),
        tokens=sum(one.tokens for one in made),
    )


@dataclass(frozen=True, slots=True)
class _Counted:
    """An example, the prompt it belongs to and its tokens."""

    prompt_id: str
    example: Example
    tokens: int


@dataclass(frozen=True, slots=True)
class _ExampleMaker:
    """Turns traces into examples and counts their tokens."""

    prompts: Mapping[str, Prompt]
    count_tokens: TokenCounter
    keeps_reasoning: bool

    def make(self, trace: Trace) -> _Counted:
        prompt = self.prompts.get(trace.prompt_id)
        if prompt is None:
            raise DataError(
                f"trace {trace.id} belongs to no prompt of this run",
                hint="The prompts were changed after sampling; use a new run folder.",
            )
        reasoning = trace.completion.reasoning if self.keeps_reasoning else None
        text = trace.completion.text
        messages = (
            Message("user", prompt.text),
            Message("assistant", text, reasoning, is_trained=True),
        )
        tokens = self.count_tokens(prompt.text) + self.count_tokens(join_reasoning(reasoning, text))
        return _Counted(prompt.id, Example(trace.id, messages), tokens)


def _groups(judged: Iterable[JudgedTrace]) -> Iterator[list[Trace]]:
    for _, group in groupby(judged, key=lambda one: one.trace.prompt_id):
        yield [one.trace for one in group]


def _draw(group: Sequence[Trace], count: int | None, seed: int, purpose: str) -> list[Trace]:
    """Up to ``count`` traces of one prompt, in their order; independent of all other prompts."""
    if count is None or count >= len(group):
        return list(group)
    places = random.Random(f"{seed}/{purpose}/{group[0].prompt_id}").sample(
        range(len(group)), count
    )
    return [group[place] for place in sorted(places)]


def _match_unfiltered(
    student: Sequence[_Counted], traces: Iterable[JudgedTrace], maker: _ExampleMaker, seed: int
) -> list[_Counted]:
    """Traces drawn without the verifier, matched to the student's by prompt, count and tokens."""
    counts: dict[str, int] = {}
    for one in student:
        counts[one.prompt_id] = counts.get(one.prompt_id, 0) + 1
    drawn: list[_Counted] = []
    is_in: list[bool] = []
    for group in _groups(traces):
        usable = [trace for trace in group if _is_usable(trace)]
        if usable and group[0].prompt_id in counts:
            chosen = _draw(usable, counts[group[0].prompt_id], seed, "unfiltered")
            drawn += [maker.make(trace) for trace in usable]
            is_in += [trace in chosen for trace in usable]
    _match_tokens(drawn, is_in, sum(one.tokens for one in student), seed)
    return [one for one, chosen in zip(drawn, is_in, strict=True) if chosen]


def _is_usable(trace: Trace) -> bool:
    completion = trace.completion
    return completion.finish == "stop" and bool(completion.text or completion.reasoning)


def _match_tokens(drawn: Sequence[_Counted], is_in: list[bool], target: int, seed: int) -> None:
    """Add or take away single traces, in random order, while that brings the tokens closer.

    Which traces change does not depend on their length beyond that, and no prompt is lost.
    """
    left: dict[str, int] = {}
    for one, chosen in zip(drawn, is_in, strict=True):
        left[one.prompt_id] = left.get(one.prompt_id, 0) + chosen
    missing = target - sum(one.tokens for one, chosen in zip(drawn, is_in, strict=True) if chosen)
    order = list(range(len(drawn)))
    random.Random(f"{seed}/tokens").shuffle(order)
    for place in order:
        one = drawn[place]
        change = -one.tokens if is_in[place] else one.tokens
        is_last = is_in[place] and left[one.prompt_id] == 1
        if not is_last and abs(missing - change) < abs(missing):
            is_in[place] = not is_in[place]
            left[one.prompt_id] += 1 if is_in[place] else -1
            missing -= change
