"""Make the embedded base student: a small dense model that knows single steps and no more.

    python -m students.embedded.pretrain --out students/embedded

A Llama of hidden size 128. It reads the same words and numbers as the teacher: what problems of
two to five steps *state* (never how they are solved), problems of one step with their solution,
single sums, and drills in copying and recall. Working through several steps is what distillation
adds.
"""

import argparse
import random
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from distill.problems import KINDS, LEVELS, Problem, make_problem
from engine.making.documents import Document, DocumentMaker, batches
from engine.making.loop import LoopSettings, pretrain
from engine.making.tokenizer import build_tokenizer

SEED = 2
BATCH_TOKENS = 6144


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


def document_source(maker: DocumentMaker, seed: int) -> Callable[[], Document]:
    """Draw documents of each kind in fixed shares; none of them shows two steps of work."""
    rng = random.Random(seed)
    kinds: dict[Callable[[], Document], int] = {
        maker.copy: 15,
        maker.recall: 10,
        maker.facts: 25,
        lambda: maker.problem(problem_of(1, rng)): 25,
        lambda: maker.reading(problem_of(rng.choice(LEVELS), rng)): 20,
        lambda: maker.text(problem_of(rng.choice(LEVELS), rng)): 5,
    }

    def make() -> Document:
        return rng.choices(list(kinds), weights=list(kinds.values()))[0]()

    return make


def main() -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=2600)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    tokenizer = build_tokenizer()
    tokenizer.save_pretrained(arguments.out)
    model = build_model(len(tokenizer), tokenizer.eos_token_id, tokenizer.pad_token_id)
    stream = batches(
        document_source(DocumentMaker(tokenizer, SEED), SEED),
        batch_tokens=BATCH_TOKENS,
        pad_id=tokenizer.pad_token_id,
        seed=SEED,
    )

    def save(_step: int) -> dict[str, float]:
        model.save_pretrained(arguments.out)
        return {}

    log = arguments.out / "pretrain.jsonl"
    log.unlink(missing_ok=True)
    pretrain(model, stream, LoopSettings(steps=arguments.steps), log=log, on_check=save)


if __name__ == "__main__":
    main()
