"""Without a gold answer, samples that agree are taken for right, and the verdict says so."""

import pytest

from distill.types import Completion, Prompt, Verdict
from distill.verify.agreement import AgreementVerifier

PROMPT = Prompt("p", "?")


def _judge(*answers: str, **options: float) -> list[Verdict]:
    made = AgreementVerifier(**options)  # type: ignore[arg-type]
    return made.verify_group(PROMPT, [Completion(rf"\boxed{{{answer}}}") for answer in answers])


def _accepted(*answers: str, **options: float) -> list[bool | None]:
    return [verdict.is_accepted for verdict in _judge(*answers, **options)]


def test_the_majority_is_right_however_it_is_written() -> None:
    assert _accepted("1/2", "0.5", r"\frac{1}{2}", "2") == [True, True, True, False]
    assert _accepted(r"2\sqrt{2}", r"\sqrt{8}", "3") == [True, True, False]


def test_a_verdict_of_agreement_is_marked_as_such() -> None:
    verdicts = _judge("1", "1", "2")
    assert {verdict.verifier for verdict in verdicts} == {"agreement/1"}
    assert verdicts[0].reason == "1 is the answer of 2 of 3 samples (no gold answer)"
    assert verdicts[2].reason.startswith("answers 2, but 1 is the answer")


def test_a_tie_or_a_small_share_decides_nothing() -> None:
    assert _accepted("1", "1", "2", "2") == [None] * 4
    assert _accepted("1", "1", "2", "3", "4") == [None] * 5
    assert _accepted("1", "1", "2", "3", "4", at_least=0.4) == [True, True, False, False, False]


def test_too_few_samples_decide_nothing() -> None:
    assert _accepted("1", "1") == [None, None]
    assert _accepted("1", "1", fewest=2) == [True, True]
    assert _judge() == []


def test_unfinished_samples_are_wrong_and_count_for_the_share() -> None:
    cut = Completion(r"\boxed{1}", finish="length")
    group = [Completion(r"\boxed{1}"), Completion(r"\boxed{1}"), cut, cut, Completion("hm")]
    verdicts = AgreementVerifier().verify_group(PROMPT, group)
    assert [verdict.is_accepted for verdict in verdicts] == [None, None, False, False, False]
    verdicts = AgreementVerifier().verify_group(PROMPT, group[:3])
    assert [verdict.is_accepted for verdict in verdicts] == [True, True, False]


def test_units_that_differ_do_not_agree() -> None:
    assert _accepted("5 cm", "5 cm", "5 km") == [True, True, False]


def test_one_sample_alone_is_unknown() -> None:
    assert AgreementVerifier().verify(PROMPT, Completion(r"\boxed{1}")).is_accepted is None


def test_a_share_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="at_least"):
        AgreementVerifier(at_least=1.5)
