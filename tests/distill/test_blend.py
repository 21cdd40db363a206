"""The variants differ in their traces and in nothing else."""

import random
from collections import Counter

import pytest

from distill.blend import VARIANTS, Blend, Variant, blend
from distill.errors import DataError
from distill.types import Completion, FinishReason, JudgedTrace, Message, Prompt, Trace, Verdict

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


def _blend(variant: Variant, *, per_prompt: int | None = 2, seed: int = 7) -> Blend:
    return blend(
        variant,
        PROMPTS,
        KEPT,
        TRACES,
        per_prompt=per_prompt,
        seed=seed,
        count_tokens=lambda text: len(text.split()),
    )


def _prompt_ids(made: Blend) -> list[str]:
    return [example.id.partition("#")[0] for example in made.examples]


def test_an_example_trains_the_assistant_turn_and_nothing_else() -> None:
    made = blend(
        "student",
        [Prompt("p", "What is 1?")],
        [_trace("p", 3, 2)],
        (),
        per_prompt=1,
        seed=0,
        count_tokens=len,
    )
    (example,) = made.examples
    assert example.id == "p#3"
    assert example.messages == (
        Message("user", "What is 1?"),
        Message("assistant", r"\boxed{1}", "w3 w3", is_trained=True),
    )
    assert made.tokens == len("What is 1?") + len("<think>\nw3 w3\n</think>\n\n\\boxed{1}")


def test_no_prompt_gives_more_traces_than_asked_and_none_is_lost() -> None:
    available = Counter(judged.trace.prompt_id for judged in KEPT)
    for per_prompt in (1, 2, 9, None):
        chosen = Counter(_prompt_ids(_blend("student", per_prompt=per_prompt)))
        assert chosen == {name: min(count, per_prompt or 9) for name, count in available.items()}


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
    made = blend(
        "unfiltered", PROMPTS, KEPT, KEPT, per_prompt=9, seed=0, count_tokens=lambda text: 1
    )
    assert [e.id for e in made.examples] == [judged.trace.id for judged in KEPT]


def test_an_empty_completion_teaches_nothing_and_stays_out() -> None:
    empty = JudgedTrace(Trace("p0", 9, "teacher", Completion("")), Verdict(False, "", "answer/1"))
    made = blend(
        "unfiltered",
        PROMPTS,
        [_trace("p0", 0)],
        [_trace("p0", 0), empty],
        per_prompt=2,
        seed=0,
        count_tokens=len,
    )
    assert [e.id for e in made.examples] == ["p0#0"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_seed_decides_and_nothing_else(variant: Variant) -> None:
    assert _blend(variant) == _blend(variant)
    assert _blend(variant).examples != _blend(variant, seed=8).examples


def test_examples_come_in_the_order_of_prompts_and_samples() -> None:
    order = {judged.trace.id: place for place, judged in enumerate(TRACES)}
    for variant in VARIANTS:
        places = [order[example.id] for example in _blend(variant).examples]
        assert places == sorted(places)


def test_one_prompts_choice_does_not_depend_on_other_prompts() -> None:
    alone = [judged for judged in KEPT if judged.trace.prompt_id == "p3"]
    made = blend("student", PROMPTS, alone, (), per_prompt=1, seed=7, count_tokens=len)
    of_all = _blend("student", per_prompt=1)
    assert [e.id for e in made.examples] == [e.id for e in of_all.examples if "p3#" in e.id]


def test_a_trace_without_its_prompt_is_refused() -> None:
    with pytest.raises(DataError, match="p99#0 belongs to no prompt"):
        blend("student", PROMPTS, [_trace("p99", 0)], (), per_prompt=1, seed=0, count_tokens=len)
