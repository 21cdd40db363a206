"""Make the embedded base student: a small dense model that knows single steps and no more.

    python -m students.embedded.pretrain --out students/embedded

A Llama of hidden size 128. It reads the same words and numbers as the teacher: what problems of
two to five steps *state* (never how they are solved), problems of one step with their solution,
single sums and single steps, and drills in copying and recall. Working through several steps is
what distillation adds. The second phase shifts from drills to single steps.
"""

import argparse
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from distill.problems import KINDS, LEVELS, Problem, make_problem
from engine.making.documents import Document, DocumentMaker, batches
from engine.making.loop import LoopSettings, pretrain
from engine.making.tokenizer import build_tokenizer

BATCH_TOKENS = 6144


@dataclass(frozen=True, slots=True)
class Phase:
    """Updates with one mix of documents; the learning rate rises and falls once in each.

    Attributes:
        steps: Updates.
        seed: Of the documents and their order.
        shares: Percent of the documents of each kind.
    """

    steps: int
    seed: int
    shares: Mapping[str, int]


PHASES = (
    Phase(2600, 2, {"copy": 15, "recall": 10, "facts": 25, "solved": 25, "reading": 20, "text": 5}),
    Phase(
        1200,
        3,
        {"copy": 8, "recall": 8, "facts": 9, "solved": 15, "reading": 20, "single_steps": 40},
    ),
    Phase(
        1100,
        4,
        {"copy": 5, "recall": 5, "facts": 15, "solved": 10, "notes": 35, "single_steps": 30},
    ),
)


def build_model(vocab_size: int, end_id: int, pad_id: int) -> LlamaForCausalLM:
    """The untrained model, random from torch's seed."""
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=384,
        tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
        max_position_embeddings=1024,
        bos_token_id=None,
        eos_token_id=end_id,
        pad_token_id=pad_id,
    )
    return LlamaForCausalLM(config)


def problem_of(level: int, rng: random.Random) -> Problem:
    """A problem of ``level`` steps of the split that only pre-training sees."""
    while True:
        problem = make_problem(rng.choice(KINDS), level, rng)
        if problem.split == "pretrain":
            return problem


def document_source(tokenizer: PreTrainedTokenizerFast, phase: Phase) -> Callable[[], Document]:
    """Draw documents in the phase's shares; none of them shows two connected steps of work."""
    rng, maker = random.Random(phase.seed), DocumentMaker(tokenizer, phase.seed)
    kinds: dict[str, Callable[[], Document]] = {
        "copy": maker.copy,
        "recall": maker.recall,
        "facts": maker.facts,
        "single_steps": maker.single_steps,
        "solved": lambda: maker.problem(problem_of(1, rng)),
        "reading": lambda: maker.reading(problem_of(rng.choice(LEVELS), rng)),
        "notes": lambda: maker.notes(problem_of(rng.choice(LEVELS), rng)),
        "text": lambda: maker.text(problem_of(rng.choice(LEVELS), rng)),
    }

    def make() -> Document:
        return kinds[rng.choices(list(phase.shares), weights=list(phase.shares.values()))[0]]()

    return make


def main() -> None:
    """Train in phases and save after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--skip-phases", type=int, default=0, help="go on from what OUT holds")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(PHASES[0].seed)
    torch.set_num_threads(1)
    tokenizer = build_tokenizer()
    tokenizer.save_pretrained(arguments.out)
    if arguments.skip_phases:
        model = LlamaForCausalLM.from_pretrained(arguments.out)
    else:
        model = build_model(len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id)
    for number, phase in list(enumerate(PHASES, start=1))[arguments.skip_phases :]:
        stream = batches(
            document_source(tokenizer, phase),
            batch_tokens=BATCH_TOKENS,
            pad_id=tokenizer.pad_token_id,
            seed=phase.seed,
        )
        log = arguments.out / f"pretrain-{number}.jsonl"
        log.unlink(missing_ok=True)
        pretrain(model, stream, LoopSettings(steps=phase.steps), log=log)
        model.save_pretrained(arguments.out)


if __name__ == "__main__":
    main()
