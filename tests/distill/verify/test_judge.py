"""A judge's findings are looked up by what was judged, and what it does not say is unknown."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distill.errors import RecipeError
from distill.judge import ask_judge
from distill.types import Completion, JudgedTrace, Prompt, Request, Sampling, Trace, Verdict
from distill.verify import build_verifier
from distill.verify.judge import JudgeVerifier, judged_id, read_finding

PROMPTS = {f"p{n}": Prompt(f"p{n}", f"What is {n} + {n}?") for n in range(4)}


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        (r"It fits. \boxed{right}", True),
        (r"It is off by one. \boxed{Wrong}", False),
        (r"\boxed{wrong}, no: \boxed{right}", True),
        (r"Nobody knows. \boxed{unknown}", None),
        (r"\boxed{\text{wrong}}", False),
        ("It is right.", None),
        (r"\boxed{maybe}", None),
        ("", None),
    ],
)
def test_the_last_box_is_the_finding(text: str, finding: bool | None) -> None:
    assert read_finding(Completion(text))[0] is finding


def test_a_cut_answer_of_the_judge_says_nothing() -> None:
    assert read_finding(Completion(r"\boxed{right}", finish="length"))[0] is None


class Judge:
    """Finds even sums right, and the question about 3 too hard."""

    model, fingerprint = "judge", "j1"
    samples_at_once, is_billed = 1, True

    def __init__(self) -> None:
        self.asked: list[Request] = []

    def progress_figures(self) -> dict[str, str]:
        return {}

    def complete(self, source: Any, sampling: Sampling) -> Iterator[Any]:
        from distill.types import Answer

        while taken := source.take(3):
            for request in taken:
                self.asked.append(request)
                answer = request.prompt.text.rpartition("judge:\n")[2].strip()
                word = "unknown" if answer == "6" else "right" if answer in "024" else "wrong"
                yield Answer(request, Completion(rf"So it is. \boxed{{{word}}}"))


def traces() -> list[JudgedTrace]:
    answers = [("p0", 0, "0"), ("p0", 1, "0"), ("p1", 0, "3"), ("p2", 0, "4"), ("p3", 0, "6")]
    unjudged = Verdict(None, "", "v")
    return [
        JudgedTrace(Trace(name, index, "m", Completion(text, "why")), unjudged)
        for name, index, text in answers
    ] + [JudgedTrace(Trace("p3", 1, "m", Completion("", "so far", "length")), unjudged)]


def ask(folder: Path, judge: Judge) -> Any:
    return ask_judge(
        traces(),
        PROMPTS,
        judge,  # type: ignore[arg-type]
        questions_path=folder / "questions.jsonl",
        journal_path=folder / "findings.jsonl",
        asked_path=folder / "requests.jsonl",
        sampling=Sampling(),
    )


def test_each_answer_is_judged_once_and_looked_up(tmp_path: Path) -> None:
    judge = Judge()
    outcome = ask(tmp_path, judge)
    assert len(judge.asked) == outcome.samples == 4  # p0 said the same twice; the cut one is not
    verifier = JudgeVerifier(findings=str(tmp_path / "findings.jsonl"))
    found = [
        verifier.verify(PROMPTS[one.trace.prompt_id], one.trace.completion).is_accepted
        for one in traces()
    ]
    assert found == [True, True, False, True, None, False]
    verdict = verifier.verify(PROMPTS["p1"], traces()[2].trace.completion)
    assert "So it is." in verdict.reason
    assert verdict.verifier == "judge/1"


def test_nothing_is_asked_twice(tmp_path: Path) -> None:
    ask(tmp_path, Judge())
    again = Judge()
    ask(tmp_path, again)
    assert again.asked == []


def test_the_question_holds_prompt_answer_and_the_gold_one_if_there_is_one(tmp_path: Path) -> None:
    judge = Judge()
    ask(tmp_path, judge)
    text = judge.asked[0].prompt.text
    assert "What is 0 + 0?" in text
    assert "Reference answer" not in text
    assert "why" not in text.partition("Question:")[2]  # the reasoning is not shown


def test_another_answer_is_another_question() -> None:
    one = judged_id(PROMPTS["p0"], Completion("0", "why"))
    assert one != judged_id(PROMPTS["p0"], Completion("1", "why"))
    assert one != judged_id(PROMPTS["p1"], Completion("0", "why"))


def test_before_the_judge_was_asked_all_is_unknown_and_a_judge_must_be_named() -> None:
    verifier = build_verifier("judge", teacher={"kind": "embedded"})
    assert verifier.verify(PROMPTS["p0"], Completion("0")).is_accepted is None
    with pytest.raises(RecipeError, match="no judge is named"):
        build_verifier("judge")
