"""Stage: what the student is trained on, and the controls beside it.

Three variants of one training set, over the same prompts, so that only the traces differ:

- ``student``: what the filter chose and mixed in, as it stands in ``train.parquet``.
- ``answers_only``: the same with the reasoning taken away.
- ``unfiltered``: as many traces of the same prompts, drawn by the seed from all that the teacher
  finished, right or wrong; then single traces are added or taken away until the tokens match
  those of ``student`` as closely as whole traces allow. Cut traces stay out: they have no end,
  and a student must learn where to stop. Empty ones stay out: they teach nothing. What was mixed
  in from elsewhere stays as it is.

This module knows no files and no tokenizer: the caller counts tokens.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

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
        examples: In the order of the filter.
        prompts: How many of the run's prompts they cover.
        tokens: Of prompts, reasoning and answers together, without the chat format's own.
    """

    variant: Variant
    examples: tuple[Example, ...]
    prompts: int
    tokens: int


def blend(
    variant: Variant,
    prompts: Sequence[Prompt],
    chosen: Iterable[Example],
    traces: Iterable[JudgedTrace],
    *,
    seed: int,
    count_tokens: TokenCounter,
) -> Blend:
    """Make the examples of one variant.

    Args:
        variant: Which one.
        prompts: The prompts that were sampled.
        chosen: What the filter chose and mixed in.
        traces: Everything that was sampled, the traces of a prompt next to each other; read only
            for ``unfiltered``.
        seed: The same seed gives the same examples.
        count_tokens: Tokens of a text, by the student's tokenizer.
    """
    by_id = {prompt.id: prompt for prompt in prompts}
    made = [_counted(example, by_id, count_tokens) for example in chosen]
    if variant == "answers_only":
        made = [_counted(_without_reasoning(one.example), by_id, count_tokens) for one in made]
    if variant == "unfiltered":
        own = [one for one in made if one.prompt_id]
        maker = _Maker(by_id, count_tokens)
        matched = _match_unfiltered(own, traces, maker, seed)
        made = [one for one in made if not one.prompt_id] + matched
    return Blend(
        variant,
        examples=tuple(one.example for one in made),
        prompts=len({one.prompt_id for one in made if one.prompt_id}),
        tokens=sum(one.tokens for one in made),
    )


@dataclass(frozen=True, slots=True)
class _Counted:
    """An example, the prompt it belongs to (empty if it is from elsewhere) and its tokens."""

    prompt_id: str
    example: Example
    tokens: int


@dataclass(frozen=True, slots=True)
class _Maker:
    """Turns traces into counted examples."""

    prompts: dict[str, Prompt]
    count_tokens: TokenCounter

    def make(self, trace: Trace) -> _Counted:
        prompt, completion = self.prompts[trace.prompt_id], trace.completion
        messages = (
            Message("user", prompt.text),
            Message("assistant", completion.text, completion.reasoning, is_trained=True),
        )
        return _counted(Example(trace.id, messages), self.prompts, self.count_tokens)


def _counted(example: Example, prompts: dict[str, Prompt], count_tokens: TokenCounter) -> _Counted:
    owner = example.id.rpartition("#")[0]
    tokens = sum(
        count_tokens(join_reasoning(message.reasoning, message.content))
        for message in example.messages
    )
    return _Counted(owner if owner in prompts else "", example, tokens)


def _without_reasoning(example: Example) -> Example:
    messages = tuple(replace(message, reasoning=None) for message in example.messages)
    return replace(example, messages=messages)


def _groups(judged: Iterable[JudgedTrace]) -> Iterator[list[Trace]]:
    for _, group in groupby(judged, key=lambda one: one.trace.prompt_id):
        yield [one.trace for one in group]


def _draw(group: Sequence[Trace], count: int, seed: int) -> list[Trace]:
    """Up to ``count`` traces of one prompt, in their order; independent of all other prompts."""
    if count >= len(group):
        return list(group)
    rng = random.Random(f"{seed}/unfiltered/{group[0].prompt_id}")
    return [group[place] for place in sorted(rng.sample(range(len(group)), count))]


def _match_unfiltered(
    student: Sequence[_Counted], traces: Iterable[JudgedTrace], maker: _Maker, seed: int
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
            chosen = _draw(usable, counts[group[0].prompt_id], seed)
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
