"""Letters, exact texts and JSON are judged by their own rules."""

import json
import time
from pathlib import Path

import pytest

from distill.errors import DataError
from distill.types import Completion, Prompt
from distill.verify.choice import ChoiceVerifier
from distill.verify.exact import ExactVerifier
from distill.verify.schema import SchemaVerifier

QUESTION = "Which is prime?\nA) 4\nB) 7\nC. nine\n(D) 1/2"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"\boxed{B}", True),
        (r"\boxed{\text{(B)}}", True),
        (r"\boxed{b}", True),
        (r"\boxed{B) 7}", True),
        (r"\boxed{7}", True),
        (r"\boxed{\frac{14}{2}}", True),
        ("The answer is (B).", True),
        ("The correct answer is B.", True),
        ("정답은 B입니다.", True),
        ("Die Antwort ist B.", True),
        ("Only seven is prime.\n\n**B**", True),
        ("I choose (B)", True),
        (r"\boxed{A}", False),
        (r"\boxed{B) 4}", False),
        (r"\boxed{nine}", False),
        ("The answer is (C).", False),
        ("B is wrong, and so on and on", False),
        ("", False),
        (r"\boxed{B", False),
    ],
)
def test_the_chosen_letter_is_held_against_the_gold_letter(text: str, expected: bool) -> None:
    prompt = Prompt("p", QUESTION, answer="B")
    assert ChoiceVerifier().verify(prompt, Completion(text)).is_accepted is expected


def test_the_gold_answer_may_be_the_text_of_an_option() -> None:
    verdict = ChoiceVerifier().verify(Prompt("p", QUESTION, answer="7"), Completion(r"\boxed{B}"))
    assert (verdict.is_accepted, verdict.reason) == (True, "boxed B, gold B")


def test_a_gold_answer_that_is_no_option_is_unknown() -> None:
    for gold in ("8", "none of these", None, ""):
        verdict = ChoiceVerifier().verify(Prompt("p", QUESTION, answer=gold), Completion("B"))
        assert verdict.is_accepted is None


@pytest.mark.parametrize(
    ("text", "gold", "expected"),
    [
        ("Jupiter", "Jupiter", True),
        ("  Jupiter\n", "Jupiter", True),
        (r"It is \boxed{Jupiter}.", "Jupiter", True),
        ("the  red\tplanet", "the red planet", True),
        ("caf\u0065\u0301", "caf\u00e9", True),
        ("jupiter", "Jupiter", False),
        ("It is Jupiter.", "Jupiter", False),
        ("0.5", "1/2", False),
        ("Jupiter", "", None),
    ],
)
def test_exact_means_letter_for_letter(text: str, gold: str, expected: bool | None) -> None:
    prompt = Prompt("p", "?", answer=gold)
    assert ExactVerifier().verify(prompt, Completion(text)).is_accepted is expected


SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "year": {"type": "integer"}},
    "required": ["city"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"city": "Bonn"}', "fits the schema"),
        ('```json\n{"city": "Bonn", "year": 1}\n```', "fits the schema"),
        ('Here: {"city": "Bonn"} as asked.', "fits the schema"),
        ('{"year": 1}', "at the top: 'city' is a required property"),
        ('{"city": 7}', "at city: 7 is not of type 'string'"),
        ('{"city": "Bonn", "city": "Ulm"}', "no JSON: key 'city' stands twice"),
        ('{"city": NaN}', "no JSON: NaN is no JSON"),
        ('{"city": "Bonn"', "no JSON: "),
        ("[" * 100_000, "no JSON: "),
        ("", "no JSON: "),
        ("Bonn", "no JSON: "),
    ],
)
def test_json_is_held_against_the_schema(text: str, reason: str) -> None:
    verdict = SchemaVerifier(SCHEMA).verify(Prompt("p", "?"), Completion(text))
    assert verdict.is_accepted is (reason == "fits the schema")
    assert verdict.reason.startswith(reason)


def test_a_schema_may_stand_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "city.json"
    path.write_text(json.dumps(SCHEMA))
    verdict = SchemaVerifier(path).verify(Prompt("p", "?"), Completion('{"city": "Bonn"}'))
    assert verdict.is_accepted is True


def test_a_broken_schema_stops_at_once_and_says_where(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no JSON schema: at type: 'objekt'"):
        SchemaVerifier({"type": "objekt"})
    with pytest.raises(DataError, match="must begin with '#'"):
        SchemaVerifier({"properties": {"a": {"$ref": "https://example.org/a.json"}}})
    with pytest.raises(DataError, match=r"none.json: No such file"):
        SchemaVerifier(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(DataError, match=r"bad.json: no JSON"):
        SchemaVerifier(tmp_path / "bad.json")


def test_a_reference_to_nothing_is_unknown_and_nothing_is_fetched() -> None:
    verifier = SchemaVerifier({"$ref": "#/$defs/none"})
    verdict = verifier.verify(Prompt("p", "?"), Completion("{}"))
    assert verdict.is_accepted is None
    assert "cannot be applied" in verdict.reason


def test_a_megabyte_of_json_is_judged_quickly() -> None:
    start = time.process_time()
    text = json.dumps({"city": "x" * 900_000})
    assert SchemaVerifier(SCHEMA).verify(Prompt("p", "?"), Completion(text)).is_accepted is True
    assert SchemaVerifier(SCHEMA).verify(Prompt("p", "?"), Completion(text * 2)).reward == 0
    assert time.process_time() - start < 1
