"""Duplicates are found, the first of them is kept, and brute force agrees."""

import random

import numpy as np
import pytest

from distill import minhash
from distill.dedup import (
    Duplicate,
    duplicate_check,
    exact_duplicates,
    near_duplicates,
    resolve,
)
from distill.errors import MissingDependencyError
from distill.minhash import Backend, Sketches, sketch

BACKENDS = pytest.mark.parametrize("backend", ["numpy", "rensa"])


def made_texts(count: int, seed: int = 0, words: int = 120) -> list[str]:
    """Texts of which every third is an earlier one with some words changed."""
    rng = random.Random(seed)
    vocabulary = ["".join(rng.choices("abcdefgh", k=rng.randint(2, 8))) for _ in range(500)]
    texts: list[str] = []
    for number in range(count):
        if number % 3 == 2:
            changed = rng.choice(texts).split()
            for _ in range(rng.randint(0, 6)):
                changed[rng.randrange(len(changed))] = rng.choice(vocabulary)
            texts.append(" ".join(changed))
        else:
            texts.append(" ".join(rng.choices(vocabulary, k=words)))
    return texts


def runs_of_five(text: str) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[start : start + 5]) for start in range(len(words) - 4)}


def brute_force(texts: list[str], threshold: float) -> list[int | None]:
    """The first earlier kept text at or above the threshold, by comparing all."""
    runs = [runs_of_five(text) for text in texts]
    kept: list[int] = []
    found: list[int | None] = []
    for place, own in enumerate(runs):
        same = (o for o in kept if len(own & runs[o]) >= threshold * len(own | runs[o]))
        found.append(next(same, None))
        if found[-1] is None:
            kept.append(place)
    return found


def places(found: list[Duplicate | None]) -> list[int | None]:
    return [one.of if one else None for one in found]


@BACKENDS
@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.95])
def test_near_duplicates_are_those_of_brute_force(backend: Backend, threshold: float) -> None:
    texts = made_texts(300, words=80)
    expected = brute_force(texts, threshold)
    assert 8 < sum(one is not None for one in expected) < 100
    assert places(near_duplicates(texts, threshold=threshold, backend=backend)) == expected


@BACKENDS
def test_the_similarity_named_is_the_true_one(backend: Backend) -> None:
    texts = made_texts(90)
    for place, found in enumerate(near_duplicates(texts, backend=backend)):
        if found:
            own, other = runs_of_five(texts[place]), runs_of_five(texts[found.of])
            assert found.similarity == len(own & other) / len(own | other)


@BACKENDS
def test_texts_of_other_groups_are_not_compared(backend: Backend) -> None:
    same = "one two three four five six"
    groups = ["p1", "p2", "p1", "p2", "p3"]
    found = places(near_duplicates([same] * 5, groups, backend=backend))
    assert found == [None, None, 0, 1, None]
    assert places(exact_duplicates([same] * 5, groups)) == [None, None, 0, 1, None]


@BACKENDS
def test_parts_made_apart_and_in_any_order_give_the_same_result(backend: Backend) -> None:
    texts = made_texts(300)
    whole = sketch(texts, backend=backend)
    starts = [200, 0, 100]
    parts = {start: sketch(texts[start : start + 100], backend=backend) for start in starts}
    joined = Sketches.join([parts[start] for start in sorted(parts)])
    assert np.array_equal(joined.bands, whole.bands)
    assert resolve(joined, texts.__getitem__) == near_duplicates(texts, backend=backend)


@BACKENDS
def test_a_seed_gives_the_same_sketches_and_another_gives_others(backend: Backend) -> None:
    texts = made_texts(20)
    first, again, other = (sketch(texts, seed=seed, backend=backend).bands for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not (first == other).any()


@BACKENDS
def test_many_equal_texts_take_no_quadratic_time(backend: Backend) -> None:
    asked: list[int] = []

    def text_of(place: int) -> str:
        asked.append(place)
        return "the same five words again and again"

    texts = ["the same five words again and again"] * 3000
    found = resolve(sketch(texts, backend=backend), text_of)
    assert places(found) == [None] + [0] * 2999
    assert len(asked) < 2 * len(texts)


@BACKENDS
def test_only_texts_of_proposed_pairs_are_read_again(backend: Backend) -> None:
    texts = made_texts(400, words=200)
    asked: set[int] = set()
    resolve(sketch(texts, backend=backend), lambda place: asked.add(place) or texts[place])
    assert len(asked) < 300


@BACKENDS
def test_case_space_and_punctuation_do_not_matter_but_signs_do(backend: Backend) -> None:
    texts = [
        "We add one and two: a + b = c.",
        "we  add one\nand two a + b = c",
        "We add one and two: a - b = c.",
    ]
    assert places(near_duplicates(texts, backend=backend)) == [None, 0, None]


@BACKENDS
def test_characters_count_as_words_where_there_are_no_spaces(backend: Backend) -> None:
    text = "我们先设这个数为未知数然后列出方程再求解最后把结果代回原方程检验是否正确"
    texts = [text, text + "吧", "他们明天去北京参观博物馆并且拍了很多照片", text[:12] + text[18:]]
    found = near_duplicates(texts, backend=backend)
    assert places(found) == [None, 0, None, None]


def test_a_character_is_a_word_of_its_own_before_and_after_letters() -> None:
    assert places(near_duplicates(["答案x是y的根", "答 案 x 是 y 的 根", "答案 xy 是的根"])) == [
        None,
        0,
        None,
    ]


@BACKENDS
def test_short_and_empty_texts_are_duplicates_of_their_like(backend: Backend) -> None:
    texts = ["", "a", "a b", "A.", "...", "a b c d", "a b c d e", "a b c d"]
    found = places(near_duplicates(texts, backend=backend))
    assert found == [None, None, None, 1, 0, None, None, 5]
    assert near_duplicates([], backend=backend) == []


@BACKENDS
def test_half_a_character_is_compared_like_any_other(backend: Backend) -> None:
    assert places(near_duplicates(["a \ud800 b", "a \ud800 b"], backend=backend)) == [None, 0]
    assert places(exact_duplicates(["a \ud800 b", "a \ud800 b"])) == [None, 0]


def test_exact_duplicates_differ_in_white_space_only() -> None:
    texts = ["a b", "a\n b ", "a  B", "ab", "caf\u00e9", "cafe\u0301", "x\u00b2", "x2"]
    assert places(exact_duplicates(texts)) == [None, 0, None, None, None, 4, None, None]


def test_rensa_that_is_missing_is_named_with_its_install_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(minhash, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"distill-reasoning\[near\]"):
        near_duplicates(["a"], backend="rensa")
    assert not minhash.uses_rensa("auto")
    assert places(near_duplicates(["a", "a"])) == [None, 0]


@pytest.mark.parametrize("threshold", [0, -1, 1.5])
def test_a_threshold_outside_its_range_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold"):
        near_duplicates(["a"], threshold=threshold)


def test_a_check_names_the_kept_trace() -> None:
    check = duplicate_check(Duplicate(3, 0.875), "p#3", is_near=True)
    assert (check.name, check.value, check.threshold, check.ok) == (
        "near_duplicate",
        0.875,
        0.8,
        False,
    )
    assert check.reason == "88 % the same as p#3"
    assert duplicate_check(None).ok
