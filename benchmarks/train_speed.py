r"""How many useful tokens a CPU-second trains, and what the stage costs over a bare loop.

    OMP_NUM_THREADS=1 python benchmarks/train_speed.py

A model of the embedded student's shape with random weights, trained one epoch on solved problems
of 2 to 5 steps. *Stage* is ``students.sft.train`` from first to last: loading, tokenizing,
training, checkpoints, saving. *Bare* is forward, loss, backward and AdamW on the same rows with
nothing around them. Prints medians and writes them to
``results/train_speed.json``.
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import results_file
import torch

from distill.problems import KINDS, make_problem
from distill.recipe import TrainSection
from distill.types import Example, Message
from engine.attention import PER_EXAMPLE
from engine.folder import quiet_transformers
from engine.making.tokenizer import answer_text, build_tokenizer
from students.embedded.pretrain import build_model
from students.load import load_student
from students.loss import supervised_loss
from students.packing import plan_rows
from students.rows import PackedRows
from students.sft import train
from students.template import end_ids, tokenize

SECTION = TrainSection(epochs=1, learning_rate=1e-3, batch_tokens=4096, seq_len=2048)


def solved_problems(count: int) -> list[Example]:
    """Examples with the generator's own solutions in place of traces."""
    rng = random.Random(0)
    problems = [make_problem(KINDS[n % len(KINDS)], 2 + n % 4, rng) for n in range(count)]
    return [
        Example(
            str(number),
            (
                Message("user", problem.text),
                Message(
                    "assistant",
                    answer_text(problem.answer),
                    reasoning="\n".join(problem.work),
                    is_trained=True,
                ),
            ),
        )
        for number, problem in enumerate(problems)
    ]


def make_base(folder: Path) -> None:
    """Save a random model of the embedded student's shape."""
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    model = build_model(len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id)
    with quiet_transformers():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def stage(base: Path, examples: Sequence[Example], folder: Path) -> tuple[int, float]:
    """Tokens and CPU seconds of the whole stage."""
    start = time.process_time()
    report = train(
        examples,
        base,
        SECTION,
        folder / "student",
        folder / "checkpoints",
        seed=0,
        on_progress=lambda _: None,
    )
    return report.tokens, time.process_time() - start


def bare(base: Path, examples: Sequence[Example]) -> tuple[int, float]:
    """Tokens and CPU seconds of the same rows in a loop with nothing around it."""
    loaded = load_student(base)
    model = loaded.model.train()
    model.set_attn_implementation(PER_EXAMPLE)
    ends = end_ids(model.generation_config)
    tokenized = [row for each in examples for row in tokenize(loaded.tokenizer, each, ends)]
    lengths = [len(each) for each in tokenized]
    rows = PackedRows(tokenized, plan_rows(lengths, row_tokens=2048, epochs=1, seed=0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    start = time.process_time()
    for index in range(len(rows)):
        row = rows[index]
        positions, targets, weights = (
            row.pop(key) for key in ("loss_positions", "targets", "weights")
        )
        hidden = model.model(**row, use_cache=False).last_hidden_state[0]
        loss = supervised_loss(
            hidden.index_select(0, positions), model.lm_head.weight, targets, weights
        )
        (loss / weights.sum()).backward()
        optimizer.step()
        optimizer.zero_grad()
    return sum(lengths), time.process_time() - start


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=3000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    examples = solved_problems(arguments.examples)
    speeds: dict[str, list[float]] = {"stage": [], "bare": []}
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch, "base")
        make_base(base)
        for repeat in range(arguments.repeats):
            for name, (tokens, seconds) in {
                "stage": stage(base, examples, Path(scratch, str(repeat))),
                "bare": bare(base, examples),
            }.items():
                speeds[name].append(tokens / seconds)
    figures = {name: round(statistics.median(each)) for name, each in speeds.items()}
    print(f"useful tokens per CPU-second: {figures}")
    results_file.write(
        "train_speed",
        {
            "examples": arguments.examples,
            "repeats": arguments.repeats,
            "tokens_per_cpu_second": figures,
        },
    )


if __name__ == "__main__":
    main()
