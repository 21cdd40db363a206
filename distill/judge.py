r"""Stage ``filter``, first part when a model judges: ask it about every answer.

The questions go through the sampling loop: journalled, budgeted, resumable, each paid once. What
comes back is looked up by ``distill.verify.judge``.

This module knows no endpoint and no recipe.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from distill.allowance import Allowance
from distill.journal import Journal
from distill.prompt_file import PromptFile
from distill.prompts import write_prompts
from distill.sampling import ProgressListener, sample_prompts
from distill.schedule import SamplingPlan
from distill.tally import SamplingOutcome
from distill.types import Completer, Completion, JudgedTrace, Prompt, Sampling, Verdict
from distill.verify.judge import judged_id, read_finding

_QUESTION = """\
You judge whether an answer to a question is right. Work it out for yourself, compare, and say in
one or two sentences why. End with \\boxed{{right}}, \\boxed{{wrong}}, or \\boxed{{unknown}} if it
cannot be decided.

Question:
{question}
{gold}
Answer to judge:
{answer}
"""


class _Reading:
    """The verifier of the judge's own answers: what they say is the finding."""

    name = "judge-reading/1"

    def verify(self, prompt: Prompt, completion: Completion) -> Verdict:
        del prompt
        finding, reason = read_finding(completion)
        return Verdict(finding, reason, self.name, 1.0 if finding else 0.0)


def ask_judge(
    traces: Iterable[JudgedTrace],
    prompts: Mapping[str, Prompt],
    judge: Completer,
    *,
    questions_path: Path,
    journal_path: Path,
    asked_path: Path,
    sampling: Sampling,
    shows_reasoning: bool = False,
    allowance: Allowance | None = None,
    max_failed_share: float = 0.1,
    on_progress: ProgressListener | None = None,
) -> SamplingOutcome:
    """Have every finished answer judged, or go on where an earlier try stopped.

    Args:
        traces: What is judged.
        prompts: By id.
        judge: Who judges.
        questions_path: Where the questions are stored.
        journal_path: Where its answers are stored, each with what it found.
        asked_path: Where requests are noted before they are sent, if the judge is billed.
        sampling: How the judge's answers are drawn.
        shows_reasoning: Whether it reads the reasoning too.
        allowance: What may be spent.
        max_failed_share: Stop when more than this share of the questions got no answer.
        on_progress: Called as answers are stored.

    Raises:
        DistillError: What ``sample_prompts`` raises.
    """
    write_prompts(questions_path, _questions(traces, prompts, shows_reasoning=shows_reasoning))
    with PromptFile(questions_path) as questions, Journal.open(journal_path) as journal:
        return sample_prompts(
            questions,
            judge,
            _Reading(),
            sampling=sampling,
            plan=SamplingPlan(1),
            journal=journal,
            stage="judge",
            max_failed_share=max_failed_share,
            asked_path=asked_path,
            allowance=allowance,
            on_progress=on_progress,
        )


def _questions(
    traces: Iterable[JudgedTrace], prompts: Mapping[str, Prompt], *, shows_reasoning: bool
) -> Iterator[Prompt]:
    seen: set[str] = set()
    for judged in traces:
        prompt, completion = prompts[judged.trace.prompt_id], judged.trace.completion
        name = judged_id(prompt, completion)
        if completion.finish != "stop" or name in seen:
            continue
        seen.add(name)
        answer = completion.text
        if shows_reasoning and completion.reasoning:
            answer = f"{completion.reasoning}\n\n{answer}"
        gold = f"\nReference answer:\n{prompt.answer}\n" if prompt.answer else ""
        yield Prompt(name, _QUESTION.format(question=prompt.text, gold=gold, answer=answer))
