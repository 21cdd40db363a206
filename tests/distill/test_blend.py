"""The variants differ in their traces and in nothing else."""

import random
from collections.abc import Sequence
from itertools import groupby

import pytest

from distill.blend import VARIANTS, Blend, Variant, blend
from distill.types import (
    Completion,
    Example,
    FinishReason,
    JudgedTrace,
    Message,
    Prompt,
    Trace,
    Verdict,
)

PROMPTS = [Prompt(f"p{rank}", f"question {rank}", answer="1") for rank in range(30)]


def _trace(
    prompt_id: str,
    sample_index: int,
    words: int = 5,
    *,
    is_accepted: bool = True,
    finish: FinishReason = "stop",
) -> JudgedTrace:
    reasoning = " ".join(f"w{sample_index}" for _ in range(words))
    completion = Completion(rf"\boxed{{{1 if is_accepted else 2}}}", reasoning, finish)
    trace = Trace(prompt_id, sample_index, "teacher", completion)
    return JudgedTrace(trace, Verdict(is_accepted, "", "answer/1"))


def _sampled() -> list[JudgedTrace]:
    """Six traces a prompt, right, wrong and cut; wrong ones are half as long again."""
    rng = random.Random(0)
    made = []
    for prompt in PROMPTS:
        for index in range(6):
            is_right = rng.random() < 0.5
            finish: FinishReason = "length" if rng.random() < 0.2 else "stop"
            words = rng.randint(5, 15) if is_right else rng.randint(7, 23)
            made.append(_trace(prompt.id, index, words, is_accepted=is_right, finish=finish))
    return made


def _is_kept(judged: JudgedTrace) -> bool:
    return bool(judged.verdict.is_accepted) and judged.trace.completion.finish == "stop"


TRACES = _sampled()
KEPT = [judged for judged in TRACES if _is_kept(judged)]


def _example(judged: JudgedTrace) -> Example:
    """As it stands in ``train.parquet``."""
    completion = judged.trace.completion
    question = f"question {judged.trace.prompt_id.removeprefix('p')}"
    answer = Message("assistant", completion.text, completion.reasoning, is_trained=True)
    return Example(judged.trace.id, (Message("user", question), answer))


CHOSEN = [
    _example(judged)
    for _, group in groupby(KEPT, key=lambda one: one.trace.prompt_id)
    for judged in list(group)[:2]
]


def _blend(variant: Variant, *, seed: int = 7, chosen: Sequence[Example] = CHOSEN) -> Blend:
    return blend(
        variant,
        PROMPTS,
        chosen,
        TRACES,
        seed=seed,
        count_tokens=lambda text: len(text.split()),
    )


def _prompt_ids(made: Blend) -> list[str]:
    return [example.id.partition("#")[0] for example in made.examples]


def test_what_was_chosen_is_trained_on_as_it_stands() -> None:
    made = _blend("student")
    assert list(made.examples) == CHOSEN
    assert made.prompts == len(set(_prompt_ids(made)))
    one = blend("student", [Prompt("p", "?")], CHOSEN[:1], (), seed=0, count_tokens=len)
    reasoning = CHOSEN[0].messages[1].reasoning
    text = f"<think>\n{reasoning}\n</think>\n\n{CHOSEN[0].messages[1].content}"
    assert one.tokens == len(CHOSEN[0].messages[0].content) + len(text)


def test_examples_from_elsewhere_stay_in_the_controls() -> None:
    turns = (Message("user", "Hello"), Message("assistant", "Hi", is_trained=True))
    general = Example("general/1", turns)
    for variant in VARIANTS:
        made = _blend(variant, chosen=[*CHOSEN, general])
        assert [one for one in made.examples if one.id == "general/1"] == [general]
        assert made.prompts == _blend(variant).prompts


def _prompt_ids(made: Blend) -> list[str]:
    return [example.id.partition("#")[0] for example in made.examples]


def test_answers_only_has_the_same_examples_without_reasoning() -> None:
    student, answers_only = _blend("student"), _blend("answers_only")
    assert [e.id for e in student.examples] == [e.id for e in answers_only.examples]
    for mine, other in zip(student.examples, answers_only.examples, strict=True):
        assert mine.messages[0] == other.messages[0]
        assert mine.messages[1].content == other.messages[1].content
        assert mine.messages[1].reasoning
        assert other.messages[1].reasoning is None


def test_unfiltered_has_the_same_prompts_and_tokens_within_half_a_trace() -> None:
    for seed in range(20):
        student, unfiltered = _blend("student", seed=seed), _blend("unfiltered", seed=seed)
        assert set(_prompt_ids(unfiltered)) == set(_prompt_ids(student))
        assert unfiltered.prompts == student.prompts
        assert abs(unfiltered.tokens - student.tokens) <= 25 / 2


def test_unfiltered_holds_wrong_traces_at_their_rate_and_no_cut_ones() -> None:
    by_id = {judged.trace.id: judged for judged in TRACES}
    chosen = [by_id[e.id] for seed in range(30) for e in _blend("unfiltered", seed=seed).examples]
    assert all(judged.trace.completion.finish == "stop" for judged in chosen)
    covered = {judged.trace.prompt_id for judged in KEPT}
    finished = [
        judged
        for judged in TRACES
        if judged.trace.completion.finish == "stop" and judged.trace.prompt_id in covered
    ]
    wrong = sum(not judged.verdict.is_accepted for judged in chosen) / len(chosen)
    expected = sum(not judged.verdict.is_accepted for judged in finished) / len(finished)
    assert wrong == pytest.approx(expected, abs=0.06)


def test_unfiltered_takes_whole_right_traces_when_all_are_right() -> None:
    chosen = [_example(judged) for judged in KEPT]
    made = blend("unfiltered", PROMPTS, chosen, KEPT, seed=0, count_tokens=lambda text: 1)
    assert list(made.examples) == chosen


def test_an_empty_completion_teaches_nothing_and_stays_out() -> None:
    empty = JudgedTrace(Trace("p0", 9, "teacher", Completion("")), Verdict(False, "", "answer/1"))
    made = blend(
        "unfiltered",
        PROMPTS,
        [_example(_trace("p0", 0))],
        [_trace("p0", 0), empty],
        seed=0,
        count_tokens=len,
    )
    assert [e.id for e in made.examples] == ["p0#0"]


def test_the_seed_decides_and_nothing_else() -> None:
    assert _blend("unfiltered") == _blend("unfiltered")
    assert _blend("unfiltered").examples != _blend("unfiltered", seed=8).examples


def test_examples_come_in_the_order_of_prompts_and_samples() -> None:
    order = {judged.trace.id: place for place, judged in enumerate(TRACES)}
    for variant in VARIANTS:
        places = [order[example.id] for example in _blend(variant).examples]
        assert places == sorted(places)
