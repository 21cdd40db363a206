"""Kill -9 at random moments: does training end with the weights of the uninterrupted run?

    OMP_NUM_THREADS=1 python benchmarks/train_kills.py

The embedded student is trained on solved problems in child processes, each killed at a moment drawn
from half the duration of the run, then once to the end by the same call. Settings: all weights
with two rows a step (packed rows of several examples, gradient accumulation, three epochs in one
plan, so that kills come mid-epoch), one row a step, Muon, LoRA with dropout, QLoRA, two stages.
Two processes: ``tests/students``. Prints the largest difference of any weight and writes
``results/train_kills.json``.
"""

import argparse
import os
import random
import signal
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import results_file
import torch
from safetensors.torch import load_file

from distill.problems import KINDS, make_problem
from distill.recipe import TrainSection
from distill.types import Example, Message
from engine.making.tokenizer import answer_text
from students.load import EMBEDDED
from students.sft import train

SHARED = {
    "epochs": 3,
    "learning_rate": 1e-3,
    "batch_tokens": 1024,
    "seq_len": 512,
    "checkpoint_every_steps": 4,
}
ADAPTER = {"r": 8, "alpha": 16, "dropout": 0.1}
SETTINGS: Mapping[str, Mapping[str, object]] = {
    "full, two rows a step": {},
    "full, one row a step": {"batch_tokens": 512},
    "full, muon": {"optimizer": "muon"},
    "lora": {"method": "lora", "lora": ADAPTER},
    "qlora": {"method": "qlora", "lora": ADAPTER},
    "two stages": {"stages": [{"name": "cold", "epochs": 1}, {"name": "main", "epochs": 2}]},
}


def solved_problems(count: int) -> list[Example]:
    """Examples with the generator's own solutions in place of traces."""
    rng = random.Random(0)
    examples = []
    for number in range(count):
        problem = make_problem(KINDS[number % len(KINDS)], 2 + number % 4, rng)
        reply = Message(
            "assistant",
            answer_text(problem.answer),
            reasoning="\n".join(problem.work),
            is_trained=True,
        )
        examples.append(Example(str(number), (Message("user", problem.text), reply)))
    return examples


def start(setting: str, examples: list[Example], folder: Path) -> int:
    """Train in a child process; its id."""
    child = os.fork()
    if child:
        return child
    section = TrainSection.model_validate(SHARED | dict(SETTINGS[setting]))
    by_stage = {stage.name: examples[place::2] for place, stage in enumerate(section.stages)}
    train(
        by_stage or examples,
        EMBEDDED,
        section,
        folder / "student",
        folder / "checkpoints",
        seed=1,
        on_progress=lambda _: None,
    )
    os._exit(0)


def finish(child: int) -> None:
    """Wait for a child that must end well."""
    _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError(f"training ended with status {status}")


def killed_run(setting: str, examples: list[Example], folder: Path, kills: int) -> dict[str, float]:
    """One run to the end, one with kills; how far their weights are apart."""
    begun = time.monotonic()
    finish(start(setting, examples, folder / "whole"))
    duration = time.monotonic() - begun
    rng = random.Random(setting)
    died = 0
    for _ in range(kills):
        child = start(setting, examples, folder / "killed")
        time.sleep(rng.uniform(0, duration / 2))
        os.kill(child, signal.SIGKILL)
        died += os.WIFSIGNALED(os.waitpid(child, 0)[1])
    finish(start(setting, examples, folder / "killed"))
    whole, killed = (
        load_file(folder / name / "student" / "model.safetensors") for name in ("whole", "killed")
    )
    apart = max(float((whole[name] - killed[name]).abs().max()) for name in whole)
    return {"kills": died, "largest_difference": apart}


def main() -> None:
    """Kill, compare, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=40)
    parser.add_argument("--kills", type=int, default=4)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    examples = solved_problems(arguments.examples)
    figures = {}
    with tempfile.TemporaryDirectory() as scratch:
        for setting in SETTINGS:
            folder = Path(scratch, setting)
            figures[setting] = killed_run(setting, examples, folder, arguments.kills)
            print(setting, figures[setting], flush=True)
    results_file.write("train_kills", figures)


if __name__ == "__main__":
    main()
