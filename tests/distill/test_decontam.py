"""Benchmark questions are found with other numbers and inside prompts; other questions are not."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from distill.decontam import BenchmarkIndex, Question

LONG = (
    "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May."
    " How many clips did Natalia sell altogether in April and May?"
)
CHINESE = (
    "小明有24本书\uff0c他把其中的三分之一送给了弟弟\uff0c"
    "又在图书馆借了5本\uff0c现在一共有多少本书\uff1f"
)


@pytest.fixture(scope="module")
def items(repository: Path) -> list[dict[str, Any]]:
    path = repository / "benchmarks" / "data" / "questions.toml"
    found: list[dict[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8"))["item"]
    return found


def index_of(*texts: str, threshold: float = 0.4) -> BenchmarkIndex:
    questions = [Question("b.jsonl", f"line-{at}", text) for at, text in enumerate(texts)]
    return BenchmarkIndex(questions, threshold=threshold)


def item_in(index: BenchmarkIndex, text: str) -> str | None:
    found = index.find(text)
    return found.question.item if found else None


def test_number_changed_questions_are_found_and_named(items: list[dict[str, Any]]) -> None:
    index = index_of(*(item["question"] for item in items))
    for at, item in enumerate(items):
        assert item_in(index, item["question"]) == f"line-{at}"
        assert item_in(index, f"Solve:\n{item['changed']}\nThink first.") == f"line-{at}"


def test_questions_that_begin_alike_are_not_found(items: list[dict[str, Any]]) -> None:
    index = index_of(*(item["question"] for item in items))
    others = [item["opening"] + other for item in items for other in item["others"]]
    assert len(others) == 132
    assert [text for text in others if index.find(text)] == []


def test_a_question_is_found_in_other_case_and_punctuation_and_in_a_longer_prompt() -> None:
    index = index_of(LONG)
    shouted = "EXAMPLE 1)  " + LONG.upper().replace(",", " -").replace("?", " ?!") + " Show steps."
    assert item_in(index, shouted) == "line-0"
    assert (
        item_in(index, f"{'Some words before. ' * 50}{LONG}{' Some words after.' * 50}") == "line-0"
    )


def test_numbers_are_masked_in_digits_and_in_words() -> None:
    index = index_of("If three men paint a fence in five hours, how long do seven men need for it?")
    assert item_in(
        index, "If 4 men paint a fence in 1,250.5 hours, how long do nine men need for it?"
    )
    assert item_in(
        index, "If \uff14 men paint a fence in six hours, how long do \u0663 men need for it?"
    )


@pytest.mark.parametrize(("runs", "is_found"), [(7, False), (8, True)])
def test_two_fifths_of_a_question_are_found(runs: int, is_found: bool) -> None:
    words = [f"w{chr(97 + at)}" for at in range(26)] + ["end"]  # 20 runs
    assert (index_of(" ".join(words)).find(" ".join(words[: runs + 7])) is not None) is is_found


@pytest.mark.parametrize(("count", "is_found"), [(19, False), (20, True)])
def test_twenty_words_in_a_row_are_found_in_the_longest_question(
    count: int, is_found: bool
) -> None:
    words = [f"w{chr(97 + at % 26)}{chr(97 + at // 26)}" for at in range(300)]
    assert (
        index_of(" ".join(words)).find(" ".join(words[50 : 50 + count])) is not None
    ) is is_found


def test_a_threshold_of_zero_is_any_run_of_eight() -> None:
    index = index_of(LONG, threshold=0)
    assert item_in(index, "He sold clips to 3 of her friends at home.") is None
    found = index.find("Ann sold clips to 9 of her friends in April and left.")
    assert found is not None
    assert found.words == "sold clips to 0 of her friends in april and"


def test_characters_are_half_words_where_there_are_no_spaces() -> None:
    index = index_of(CHINESE)
    assert (
        item_in(index, f"请解题\uff1a{CHINESE.replace('24', '36').replace('5', '8')}谢谢")
        == "line-0"
    )
    assert (
        item_in(index, "小明有24本书\uff0c他每天读15页\uff0c读完一本120页的书要几天\uff1f") is None
    )
    assert item_in(
        index_of("三角形的内角和是多少度\uff0c为什么\uff1f"),
        "三角形的内角和是多少度\uff0c为什么\uff1f",
    )


@pytest.mark.parametrize(
    ("question", "prompt", "is_found"),
    [
        ("How many primes are below 30?", "How many primes are below 50?", True),
        ("How many primes are below 30?", "Q: How many primes are below 50?\nShow work.", True),
        ("How many primes are below 30?", "How many primes are below 50 and odd?", False),
        ("Compute 17 + 25.", "Compute 17 + 25.", True),
        ("Compute 17 + 25.", "Please do this. Compute 17+25. Thank you.", True),
        ("Compute 17 + 25.", "Compute 18 + 25.", False),
        ("Compute 17 + 25.", "Compute 17 * 25.", False),
        ("小于100的质数有多少个\uff1f", "小于50的质数有多少个\uff1f", True),
        ("小于100的质数有多少个\uff1f", "小于50的质数有多少个\uff1f请回答。", True),
        ("小于100的质数有多少个\uff1f", "小于50的奇数有多少个\uff1f", False),
    ],
)
def test_a_short_question_must_be_there_whole(question: str, prompt: str, is_found: bool) -> None:
    assert (index_of(question, LONG).find(prompt) is not None) is is_found


def test_what_five_questions_share_is_a_phrase() -> None:
    ending = "where m and n are relatively prime positive integers and you must find m plus n"
    starts = [f"The {a} of a {b} is written as" for a, b in zip("abcdef", "uvwxyz", strict=True)]
    index = index_of(*(f"{start} {ending}" for start in starts))
    assert index.find(f"Some other ratio is {ending}") is None
    assert item_in(index, f"{starts[3]} {ending}") == "line-3"


def test_questions_that_are_all_phrases_are_found_whole() -> None:
    words = LONG.split()
    index = index_of(*(" ".join(words[:count]) for count in range(15, 22)))
    assert item_in(index, " ".join(words[:15])) == "line-0"
    assert item_in(index, " ".join(words[5:13])) is None


def test_of_questions_equal_but_for_numbers_the_first_is_named() -> None:
    index = index_of(LONG, LONG.replace("48", "50"))
    assert len(index) == 1
    assert item_in(index, LONG.replace("48", "50")) == "line-0"


def test_the_question_that_is_held_most_is_named() -> None:
    index = index_of(
        f"{LONG} And in which month did she sell more clips than before that one?", LONG
    )
    assert item_in(index, LONG) == "line-1"


@pytest.mark.parametrize("text", ["", " ", "?", "\ud800", "a " * 5000])
def test_odd_prompts_hold_nothing(text: str) -> None:
    assert index_of(LONG, "Compute 1 + 2.", "").find(text) is None
    assert BenchmarkIndex([]).find(text) is None


def test_the_check_names_benchmark_item_and_words() -> None:
    check = index_of(LONG).check(LONG)
    assert (check.name, check.value, check.threshold, check.ok) == (
        "contamination",
        1.0,
        0.4,
        False,
    )
    assert check.reason.startswith("holds line-0 of b.jsonl: 'natalia sold clips to 0 of her")
    assert index_of(LONG).check("What is 2 + 2?").ok
