"""All rules over traces: no text breaks them, and the light ones load nothing heavy."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.checks import (
    check_agreement,
    check_code_syntax,
    check_finished,
    check_length,
    label_code_in_reasoning,
    label_long_paragraph,
)
from distill.decontam import BenchmarkIndex, Question
from distill.dedup import exact_duplicates, near_duplicates
from distill.language import check_language, foreign_sentences
from distill.repetition import check_loop, check_repetition
from distill.types import Check, Completion

PIECES = st.sampled_from(
    [
        "```python\n",
        "```",
        "\\boxed{",
        "}",
        "<think>",
        "the answer is ",
        "der und nicht ",
        "答案是",
        "です",
        "\ud800",
        "\0",
        "1/0",
        "\u0663",
        "\n\n",
        "\u2212",
        "İ",
        "$",
        "`",
        "그러므로 ",
        "\u0430\u0431\u0432 \u0433\u0434\u0435 ",
        "\\",
        "'",
    ]
)
TEXTS = st.lists(st.one_of(PIECES, st.text(max_size=12)), max_size=25).map("".join)
INDEX = BenchmarkIndex(
    [Question("b", "1", "How many primes are below 30?"), Question("b", "2", "答案是几")]
)


@settings(max_examples=150, deadline=None)
@given(TEXTS, TEXTS)
def test_any_text_gets_a_check_and_the_same_one_again(text: str, other: str) -> None:
    completion = Completion(text, other)

    def all_checks() -> list[Check]:
        return [
            check_language(text, other),
            check_language(text, other, target="en"),
            check_repetition(text),
            check_loop(text),
            check_finished(completion),
            check_length(completion, len),
            check_agreement(completion),
            check_code_syntax(completion),
            label_long_paragraph(completion),
            label_code_in_reasoning(completion),
            INDEX.check(text),
        ]

    checks = all_checks()
    assert checks == all_checks()
    for check in checks:
        assert check.ok or check.reason


@settings(max_examples=50, deadline=None)
@given(st.lists(TEXTS, max_size=6))
def test_any_texts_can_be_compared(texts: list[str]) -> None:
    twice = exact_duplicates([*texts, *texts])
    assert all(found is not None for found in twice[len(texts) :])
    near = near_duplicates([*texts, *texts], backend="numpy")
    for place, found in enumerate(near[len(texts) :]):
        assert found is not None
        assert found.of <= place


@settings(max_examples=50, deadline=None)
@given(TEXTS, st.sampled_from(["en", "de", "zh", "ja", "ko", "ru"]))
def test_foreign_sentences_stand_in_the_text(text: str, language: str) -> None:
    for found in foreign_sentences(text.replace("`", ""), frozenset({language})):
        assert found.language != language
        if "\ud800" not in found.text and "\ufffd" not in found.text:
            assert found.text in text.replace("`", "")


@pytest.mark.parametrize("module", ["rule_table", "checks", "language", "repetition", "decontam"])
def test_rules_about_single_traces_load_without_numpy(module: str) -> None:
    code = f"import sys, distill.{module}; print('numpy' in sys.modules, 'pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
