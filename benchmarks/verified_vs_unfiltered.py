"""Does verification help? The same student on verified and on unfiltered traces, several seeds.

    python benchmarks/verified_vs_unfiltered.py runs/quickstart --seeds 5

Takes the traces of a finished run. For each seed, two sets with the same prompts, the same number
of traces per prompt and (within a trace) the same tokens: one of verified traces, one drawn from
all finished traces, right or wrong. Both are trained alike and evaluated on the run's held-out
problems with the same draws. Goes on where it stopped: each training leaves a file in --work.
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import results_file
import torch

import students
from distill.blend import Variant, blend
from distill.evaluate import evaluate
from distill.filter_tables import read_examples
from distill.intervals import difference_estimate, mean_estimate
from distill.layout import RunLayout
from distill.prompts import read_prompts
from distill.stored_run import read_run
from distill.traces import read_traces
from distill.verify.answer import AnswerVerifier
from students.load import EMBEDDED, load_student
from students.sft import train

VARIANTS: tuple[Variant, ...] = ("student", "unfiltered")


@dataclass(frozen=True, slots=True)
class Trial:
    """One training: which traces, which seed, where its outcome goes."""

    run: Path
    work: Path
    variant: Variant
    seed: int
    epochs: int | None

    @property
    def outcome(self) -> Path:
        """File with the scores per prompt."""
        return self.work / f"{self.variant}-{self.seed}.json"


def run_trial(trial: Trial) -> None:
    """Blend, train and evaluate, unless an earlier run did."""
    if trial.outcome.exists():
        return
    torch.set_num_threads(1)
    layout, recipe = RunLayout(trial.run), read_run(trial.run).recipe
    prompts = read_prompts(layout.train_prompts)
    tokenizer = load_student(EMBEDDED).tokenizer
    blended = blend(
        trial.variant,
        prompts,
        read_examples(layout.train),
        read_traces(layout.traces, prompts),
        seed=trial.seed,
        count_tokens=lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"]),
    )
    name = f"{trial.variant}-{trial.seed}"
    section = recipe.train
    if trial.epochs:
        section = section.model_copy(update={"epochs": trial.epochs})
    report = train(
        list(blended.examples),
        EMBEDDED,
        section,
        trial.work / "models" / name,
        trial.work / "checkpoints" / name,
        seed=trial.seed,
        on_progress=lambda _: None,
    )
    judged = evaluate(
        trial.variant,
        read_prompts(layout.eval_prompts),
        students.build(trial.work / "models" / name, batch_size=recipe.eval.batch_size),
        AnswerVerifier(),
        recipe.eval,
        samples=recipe.eval.samples,
        seed=trial.seed,
        journal_path=trial.work / "judged" / f"{name}.jsonl",
    )
    outcome = {
        "examples": len(blended.examples),
        "prompts": blended.prompts,
        "tokens": blended.tokens,
        "final_loss": report.final_loss,
        "pass_at_1": judged.pass_at_1.value,
        "scores": judged.scores,
    }
    trial.outcome.write_text(json.dumps(outcome), encoding="utf-8")


def main() -> None:
    """Run all trials, print the comparison, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("runs/verified-vs-unfiltered"))
    arguments = parser.parse_args()
    trials = [
        Trial(arguments.run, arguments.work, variant, seed, arguments.epochs)
        for seed in range(1, arguments.seeds + 1)
        for variant in VARIANTS
    ]
    for part in ("models", "checkpoints", "judged"):
        (arguments.work / part).mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(arguments.jobs) as pool:
        list(pool.map(run_trial, trials))
    outcomes = {
        (trial.variant, trial.seed): json.loads(trial.outcome.read_text(encoding="utf-8"))
        for trial in trials
    }
    seeds = range(1, arguments.seeds + 1)
    by_seed = {
        variant: [outcomes[variant, seed]["pass_at_1"] for seed in seeds] for variant in VARIANTS
    }
    # Problems are the unit of one interval, trainings that of the other: neither alone says it all.
    by_problem = {
        variant: [
            sum(scores) / len(scores)
            for scores in zip(*(outcomes[variant, seed]["scores"] for seed in seeds), strict=True)
        ]
        for variant in VARIANTS
    }
    figures = {
        "seeds": arguments.seeds,
        "trainings": [
            {"variant": variant, "seed": seed, **outcome, "scores": None}
            for (variant, seed), outcome in outcomes.items()
        ],
        "verified": asdict(mean_estimate(by_problem["student"])),
        "unfiltered": asdict(mean_estimate(by_problem["unfiltered"])),
        "difference_over_problems": asdict(
            difference_estimate(by_problem["student"], by_problem["unfiltered"])
        ),
        "difference_over_seeds": asdict(
            difference_estimate(by_seed["student"], by_seed["unfiltered"])
        ),
    }
    for seed in seeds:
        verified, unfiltered = (outcomes[variant, seed]["pass_at_1"] for variant in VARIANTS)
        print(f"seed {seed}: verified {verified:.1%}, unfiltered {unfiltered:.1%}")
    for name in ("difference_over_problems", "difference_over_seeds"):
        estimate = figures[name]
        print(f"{name}: {estimate}")
    print(results_file.write("verified_vs_unfiltered", figures))


if __name__ == "__main__":
    main()
