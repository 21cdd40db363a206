"""Each instruction has an answer that follows it and one that does not."""

import json
from typing import Any

import pytest

from distill.types import Completion, Prompt
from distill.verify import build_verifier
from distill.verify.instruction_rules import RULES, count_sentences

# id, what it needs, an answer that follows it, one that does not.
CASES: list[tuple[str, dict[str, Any], str, str]] = [
    ("keywords:existence", {"keywords": ["sun", "sea"]}, "Sea and sun.", "Only sun."),
    (
        "keywords:frequency",
        {"keyword": "sun", "frequency": 2, "relation": "at least"},
        "Sun, sun.",
        "Sun.",
    ),
    ("keywords:forbidden_words", {"forbidden_words": ["cat"]}, "Concatenate.", "A Cat."),
    (
        "keywords:letter_frequency",
        {"letter": "z", "let_frequency": 2, "let_relation": "less than"},
        "Zoo",
        "Zzz",
    ),
    (
        "language:response_language",
        {"language": "de"},
        "Das ist aber nicht richtig, weil es nicht so ist.",
        "That is not right because it is not so.",
    ),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 2, "relation": "at least"},
        "One here. Two here!",
        "Dr. Lee alone.",
    ),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n***\nb", "a\n\nb"),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, "a b", "a b c"),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "then"},
        "First a.\n\n*Then* b.",
        "Then a.\n\nFirst b.",
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a] and [b]", "[a]"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Hi\nP. S. bye", "Hi PS"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n- b", "* a\n* b\n* c"),
    ("detectable_format:constrained_response", {}, "My answer is no.", "No."),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* **b**", "*a* b"),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "SECTION", "num_sections": 2},
        "SECTION 1\na\nSECTION 2\nb",
        "SECTION 1\na",
    ),
    ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', "{a: 1}"),
    ("detectable_format:title", {}, "<<A title>>\ntext", "<< >> text"),
    ("combination:two_responses", {}, "one\n******\ntwo", "one\n******\none"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, "say it. Done", "Done. Say it."),
    ("startend:end_checker", {"end_phrase": "The end."}, "So. the end.", "The end. So"),
    ("startend:quotation", {}, '"all of it"', '"a" b'),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "at least"},
        "THE big DOG",
        "the big DOG",
    ),
    ("change_case:english_capital", {}, "ALL OF THIS IS LOUD", "All of this"),
    ("change_case:english_lowercase", {}, "all of this is low", "All of this"),
    ("punctuation:no_comma", {}, "a and b", "a, b"),
]


def _verdict(instructions: list[dict[str, Any]], text: str, finish: Any = "stop") -> Any:
    prompt = Prompt("p", "Do it.", json.dumps(instructions))
    return build_verifier("instructions").verify(prompt, Completion(text, finish=finish))


def test_every_instruction_of_the_paper_has_a_case() -> None:
    assert [case[0] for case in CASES] == list(RULES)
    assert len(RULES) == 25


@pytest.mark.parametrize(("name", "given", "good", "bad"), CASES, ids=[c[0] for c in CASES])
def test_an_answer_that_follows_is_told_from_one_that_does_not(
    name: str, given: dict[str, Any], good: str, bad: str
) -> None:
    instruction = {"id": name, **given}
    assert _verdict([instruction], good).is_accepted is True
    verdict = _verdict([instruction], bad)
    assert verdict.is_accepted is False
    assert verdict.reason == f"not followed: {name}"


def test_all_must_be_followed_and_the_reward_is_the_share() -> None:
    both = [{"id": "punctuation:no_comma"}, {"id": "startend:quotation"}]
    verdict = _verdict(both, '"a, b"')
    assert (verdict.is_accepted, verdict.reward) == (False, 0.5)


def test_an_answer_that_was_cut_or_is_empty_is_wrong() -> None:
    assert "cut" in _verdict([{"id": "punctuation:no_comma"}], "a", "length").reason
    assert _verdict([{"id": "punctuation:no_comma"}], " ").reason == "the answer is empty"


@pytest.mark.parametrize(
    ("instructions", "reason"),
    [
        ([{"id": "no:such"}], "there is no instruction 'no:such'"),
        ([], "must be a list"),
        ([{"id": "keywords:existence"}], "keywords"),
        ([{"id": "language:response_language", "language": "xx"}], "can tell the language 'xx'"),
        (
            [
                {
                    "id": "length_constraints:number_words",
                    "num_words": 1,
                    "relation": "exactly",
                }
            ],
            "'less than' or 'at least'",
        ),
    ],
)
def test_what_nobody_can_check_is_unknown_and_never_right(
    instructions: list[dict[str, Any]], reason: str
) -> None:
    verdict = _verdict(instructions, "text")
    assert verdict.is_accepted is None
    assert reason in verdict.reason


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("No end", 1),
        ("J. S. Bach and Mr. Lee met. Why?", 2),
        ('He said "No!" Then left.', 2),
    ],
)
def test_sentences_are_counted_with_their_abbreviations(text: str, count: int) -> None:
    assert count_sentences(text) == count
