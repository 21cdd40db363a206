"""``.eval_results/*.yaml``: figures in the form in which the Hub shows them beside a model.

A folder of that name in a model's repository holds one file for each benchmark that is a data set
on the Hub; https://huggingface.co/docs/hub/eval-results says what may stand in it. Every value is
written as JSON, which is YAML as well.
"""

import json
from pathlib import Path
from typing import Final

from distill.benchmarks.table import BENCHMARKS
from distill.eval_result import EvalResult
from distill.storage import write_atomically

FOLDER: Final = ".eval_results"


def write_hub_results(folder: Path, result: EvalResult) -> Path | None:
    """Write the file of a result; nothing if the Hub has no such data set.

    Returns:
        Where it is.
    """
    if not result.benchmark.hub:
        return None
    path = folder / FOLDER / f"{result.benchmark.name}.yaml"
    write_atomically(path, hub_results_text(result).encode())
    return path


def hub_results_text(result: EvalResult) -> str:
    """The text of that file."""
    facts, report = result.benchmark, result.report
    task = next((one.task for one in BENCHMARKS if one.name == facts.name), "") or "default"
    sampling, value = report.sampling, report.pass_at_1
    notes = (
        f"pass@1 in percent, mean over {report.samples} samples of each of {facts.prompts}"
        f" problems; 95 % interval {100 * value.low:.1f} to {100 * value.high:.1f}, clustered by"
        f" problem; temperature {sampling.temperature:g}, top_p {sampling.top_p:g},"
        f" {sampling.max_tokens} tokens; {report.truncated:.1%} cut; verifier {report.verifier};"
        f" {result.made_by}"
    )
    lines = ["- dataset:", f"    id: {_text(facts.hub)}", f"    task_id: {_text(task)}"]
    lines += [f"    revision: {_text(facts.revision)}"] if facts.revision else []
    lines += [
        f"  value: {100 * value.value:.2f}",
        f"  date: {_text(result.finished[:10])}",
        f"  notes: {_text(notes)}",
    ]
    return "\n".join(lines) + "\n"


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
