"""How good the embedded models are, on held-out problems of a seed that nothing was tuned on.

    python benchmarks/embedded_models.py [--student runs/quickstart/student]

Prints pass@1 with 95 % intervals, overall, by kind and by number of steps: at the demo's sampling,
and at temperature 0.6 with top_p 0.95, at which reasoning models are usually run.
"""

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path

import results_file

import students
import teachers
from distill.comparison import compare
from distill.eval_report import ModelReport
from distill.evaluate import evaluate
from distill.intervals import Estimate
from distill.overrides import load_recipe
from distill.problems import embedded_prompts
from distill.recipe import EmbeddedTeacher, EvalSection
from distill.traces import hash_prompts
from distill.types import Completer, Prompt
from distill.verify.answer import AnswerVerifier
from students.load import EMBEDDED

RECIPE = Path(__file__).parent.parent / "recipes" / "quickstart.toml"


def main() -> None:
    """Sample, print, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--student", type=Path, help="a trained student's folder")
    parser.add_argument("--count", type=int, default=1000, help="problems")
    parser.add_argument("--seed", type=int, default=2026, help="of the problems and the draws")
    arguments = parser.parse_args()
    section = load_recipe(RECIPE).eval.model_copy(update={"samples": 2})
    batch_size = section.batch_size
    completers: dict[str, Completer] = {
        "teacher": teachers.build(EmbeddedTeacher(), batch_size=batch_size),
        "base": students.build(EMBEDDED, batch_size=batch_size, name="base"),
    }
    if arguments.student:
        completers["student"] = students.build(arguments.student, batch_size=batch_size)
    prompts = embedded_prompts("eval", arguments.count, arguments.seed)
    figures: dict[str, object] = {
        "problems": {"split": "eval", "count": arguments.count, "seed": arguments.seed}
    }
    for temperature, top_p in ((section.temperature, section.top_p), (0.6, 0.95)):
        sampling = section.model_copy(update={"temperature": temperature, "top_p": top_p})
        name = f"temperature {temperature}, top_p {top_p}"
        print(f"== {name}")
        figures[name] = measure(completers, prompts, sampling, arguments.seed)
    print(results_file.write("embedded_models", figures))


def measure(
    completers: dict[str, Completer], prompts: list[Prompt], section: EvalSection, seed: int
) -> dict[str, object]:
    """Evaluate all models at one sampling; print and return the figures."""
    with tempfile.TemporaryDirectory() as folder:
        reports = [
            evaluate(
                who,
                prompts,
                completer,
                AnswerVerifier(),
                section,
                samples=section.samples,
                seed=seed,
                journal_path=Path(folder) / f"{who}.jsonl",
            )
            for who, completer in completers.items()
        ]
    for report in reports:
        print_report(report)
    figures: dict[str, object] = {
        report.who: {**asdict(report), "problems": None} for report in reports
    }
    recovery = compare(hash_prompts(prompts), reports).recovery
    if recovery:
        print(f"student by teacher: {percent(recovery)}")
        figures["recovery"] = asdict(recovery)
    return figures


def print_report(report: ModelReport) -> None:
    """One model: overall, by kind, by level."""
    print(f"{report.who}: {percent(report.pass_at_1)}")
    for part in (*report.kinds, *report.levels):
        print(f"  {part.name:<10} {percent(part.pass_at_1)}")


def percent(estimate: Estimate) -> str:
    """Value and interval, such as ``91.7 % (90.3 to 92.9)``."""
    value, low, high = (100 * each for each in (estimate.value, estimate.low, estimate.high))
    return f"{value:.1f} % ({low:.1f} to {high:.1f})"


if __name__ == "__main__":
    main()
