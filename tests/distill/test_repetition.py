"""Loops and heavy repetition fail; ordinary reasoning and short texts pass."""

import random
from collections import Counter

import pytest

from distill.repetition import check_loop, check_repetition, measure
from distill.words import split_words


def made_words(count: int, seed: int = 0, vocabulary: int = 400) -> list[str]:
    rng = random.Random(seed)
    return [
        "w" + chr(0x61 + number // 26 % 26) + chr(0x61 + number % 26) + "x" * (number // 676)
        for number in rng.choices(range(vocabulary), k=count)
    ]


def counted(words: list[str], size: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[start : start + size]) for start in range(len(words) - size + 1))


@pytest.mark.parametrize("seed", range(20))
def test_measures_are_those_of_counting_plainly(seed: int) -> None:
    words = made_words(300, seed, vocabulary=20) + ["x"] + ["0"] * 45
    passage = made_words(25, seed + 100)
    for start in random.Random(seed).sample(range(300), seed % 7):
        words[start:start] = passage
    found = measure(" ".join(words))
    short, long = counted(words, 4), counted(words, 20)
    long = Counter({run: n for run, n in long.items() if any(map(str.isalpha, run))})
    assert found.share == round(1 - len(short) / short.total(), 4)
    assert found.count == long.most_common(1)[0][1]
    start = next(at for at in range(len(words)) if long[tuple(words[at : at + 20])] == found.count)
    assert found.passage == " ".join(words[start : start + 8])


def test_varied_text_passes() -> None:
    text = " ".join(made_words(3000, vocabulary=2000))
    assert check_repetition(text).value == 0
    assert check_repetition(text).ok
    assert check_loop(text).value == 1


def test_a_loop_at_the_end_of_a_long_trace_is_found() -> None:
    varied = " ".join(made_words(5000, vocabulary=2000))
    loop = "Wait, I should check this once more before I give the answer, so let me go back to it. "
    assert check_loop(varied + loop * 4).ok
    check = check_loop(varied + loop * 15)
    assert not check.ok
    assert check.value >= 13
    assert "times: '" in check.reason
    assert check_repetition(varied + loop * 15).ok


def test_a_trace_that_is_all_loop_fails_both_rules() -> None:
    text = "So the answer is 4. Wait, no. " * 60
    assert not check_repetition(text).ok
    assert not check_loop(text).ok


@pytest.mark.parametrize(
    "sentence",
    ["等一下让我再检查一遍这个结果是否正确。", "もう一度この計算を確認してみましょう。"],
)
def test_characters_are_words_where_there_are_no_spaces(sentence: str) -> None:
    assert check_repetition(sentence * 30).value > 0.9
    assert not check_loop(sentence * 30).ok
    assert check_repetition(sentence).value == 0


def test_korean_and_russian_have_words() -> None:
    text = "잠깐, 이 계산을 다시 한 번 확인해 보자. Подождите, проверим ещё раз. "
    assert measure(text * 40).count == 39


@pytest.mark.parametrize("text", ["", "yes", "no no no no no no no no", "\ud800" * 50])
def test_short_texts_say_nothing(text: str) -> None:
    assert check_repetition(text).ok
    assert check_loop(text).ok


def test_a_table_of_zeros_is_no_loop() -> None:
    assert check_loop("0 1 " * 180).value == 0
    assert check_loop(" ".join(made_words(2000)) + " 0" * 100).ok


def test_the_threshold_is_the_most_that_passes() -> None:
    text = " ".join(made_words(20) * 6)
    assert check_loop(text, threshold=6).ok
    assert not check_loop(text, threshold=5).ok
    share = check_repetition(text).value
    assert isinstance(share, float)
    assert check_repetition(text, threshold=share).ok
    assert not check_repetition(text, threshold=share - 0.001).ok


def test_words_are_the_same_with_and_without_signs_outside_ascii() -> None:
    text = "So x_1 = 12.5, f(x) = 3X; isn't it? A-B"
    assert split_words(text) == split_words(text + " \u2192")
    assert split_words("Überprüfe 3 4, naïve!") == ["überprüfe", "3", "4", "naïve"]
    assert split_words("答案是x2。") == ["答", "案", "是", "x2"]
