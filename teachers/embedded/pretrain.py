"""Make the embedded teacher: a small mixture-of-experts model that reasons step by step.

    python -m teachers.embedded.pretrain --out teachers/embedded

The architecture is DeepSeek-V3's at hidden size 128: latent attention, one dense layer, then
layers with eight routed experts (two per token, balanced by the router's bias) and a shared one.
It learns from worked problems of one to five steps, whose numbers lie outside the splits that are
distilled from and evaluated on, from single sums and from a copy drill.
"""

import argparse
import random
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

from distill.problems import KINDS, LEVELS, Problem, make_problem
from engine.making.documents import Document, DocumentMaker, batches
from engine.making.loop import LoopSettings, pretrain
from engine.making.tokenizer import build_tokenizer

SEED = 1
BATCH_TOKENS = 6144


def build_model(vocab_size: int, end_id: int, pad_id: int) -> DeepseekV3ForCausalLM:
    """The untrained model, random from torch's seed."""
    config = DeepseekV3Config(
        vocab_size=vocab_size,
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        q_lora_rank=None,
        kv_lora_rank=64,
        qk_nope_head_dim=32,
        qk_rope_head_dim=32,
        v_head_dim=32,
        intermediate_size=384,
        first_k_dense_replace=1,
        n_routed_experts=8,
        num_experts_per_tok=2,
        n_shared_experts=1,
        moe_intermediate_size=128,
        n_group=1,
        topk_group=1,
        routed_scaling_factor=1.0,
        num_mtp_layers=0,
        rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
        max_position_embeddings=1024,
        bos_token_id=None,
        eos_token_id=end_id,
        pad_token_id=pad_id,
    )
    return DeepseekV3ForCausalLM(config)


def training_problem(rng: random.Random) -> Problem:
    """A problem of one to five steps of the split that only pre-training sees."""
    while True:
        problem = make_problem(rng.choice(KINDS), rng.choice((1, *LEVELS)), rng)
        if problem.split == "pretrain":
            return problem


def document_source(maker: DocumentMaker, seed: int) -> Callable[[], Document]:
    """Draw a worked problem (70 %), a page of sums (20 %) or a copy drill (10 %)."""
    rng = random.Random(seed)
    kinds: dict[Callable[[], Document], int] = {
        maker.copy: 10,
        maker.facts: 20,
        lambda: maker.problem(training_problem(rng)): 70,
    }

    def make() -> Document:
        return rng.choices(list(kinds), weights=list(kinds.values()))[0]()

    return make


def main() -> None:
    """Train and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=3400)
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
