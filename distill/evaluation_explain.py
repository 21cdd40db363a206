"""One completion of an evaluation: what was asked and answered, who judged, and its siblings."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from distill.errors import DataError
from distill.layout import RunLayout
from distill.prompts import read_prompts
from distill.traces import read_traces
from distill.types import JudgedTrace, Prompt

_NEARBY: Final = 5


@dataclass(frozen=True, slots=True)
class EvalStory:
    """All that is known of a completion.

    Attributes:
        who: The model.
        prompt: What was asked.
        judged: The completion and its verdict.
        siblings: The other completions of the prompt.
    """

    who: str
    prompt: Prompt
    judged: JudgedTrace
    siblings: tuple[JudgedTrace, ...]


def evaluated_models(paths: RunLayout) -> list[str]:
    """Who was evaluated in a folder, whether that is finished or not."""
    return sorted(path.stem for path in (paths.root / "eval").glob("*.jsonl"))


def explain_evaluated(paths: RunLayout, who: str, trace_id: str) -> EvalStory:
    """Find a completion of an evaluated model.

    Args:
        paths: Of a run or of an evaluation.
        who: Which model.
        trace_id: Such as ``"eval-0/17#2"``.

    Raises:
        DataError: If it was not evaluated, or there is no such completion.
    """
    models = evaluated_models(paths)
    if who not in models:
        raise DataError(
            f"{paths.root}: no model '{who}' was evaluated here"
            + (f"; there are {', '.join(models)}" if models else "")
        )
    prompt_id = trace_id.rpartition("#")[0] or trace_id
    prompts = read_prompts(paths.eval_prompts)
    group = _group(paths.judged(who), prompts, prompt_id)
    found = next((judged for judged in group if judged.trace.id == trace_id), None)
    if found is None:
        known = [judged.trace.id for judged in group] or [
            f"{prompt.id}#0" for prompt in prompts[:_NEARBY]
        ]
        raise DataError(
            f"{paths.judged(who)}: there is no completion '{trace_id}'",
            hint=f"Ids there are such as {', '.join(known)}",
        )
    prompt = next(prompt for prompt in prompts if prompt.id == prompt_id)
    siblings = tuple(judged for judged in group if judged is not found)
    return EvalStory(who, prompt, found, siblings)


def _group(path: Path, prompts: list[Prompt], prompt_id: str) -> list[JudgedTrace]:
    return [one for one in read_traces(path, prompts) if one.trace.prompt_id == prompt_id]
