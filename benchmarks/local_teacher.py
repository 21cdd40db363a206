"""A local teacher on a CPU: our engine against ``model.generate``, experts, and a part on disk.

    python benchmarks/local_teacher.py --model deepseek_v3 [--prompts 12]

A random mixture of experts in the shape of DeepSeek-V3 or Qwen3-MoE (4 layers, width 256, 32
experts of width 192, 4 for a token, 8,192 words, float32). As random weights hardly ever end, each
sample has a length of its own, drawn once: exponential, mean 32, 128 at most, as far apart as those
of real traces. Only tokens up to that length count. ``generate`` runs a batch until its longest
sample has ended, and gets the better of two batch sizes. One thread, CPU seconds; loading is not
timed. The part on disk is half of the experts, and the pages that were read stay in memory, as
they do where it is large enough: so these figures are what the way there costs, not the disk.

Expected before the first run: 2.5 times ``generate``; our experts 1.2 times grouped_mm and more
against eager; 5 % less with half of the experts mapped from disk, 30 % less with accelerate's
hooks, which open the files of a layer at each step.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import results_file
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from engine.row import Decoding
from engine.session import Engine
from teachers.local_places import parts_of, place
from teachers.local_weights import map_from

SAMPLES: Final = 4
ROWS: Final = 48
BATCHES: Final = (24, 48)
MEAN_TOKENS, MOST_TOKENS = 32, 128
SHAPES: Final[dict[str, dict[str, Any]]] = {
    "deepseek_v3": {
        "n_routed_experts": 32,
        "n_shared_experts": 1,
        "first_k_dense_replace": 1,
        "n_group": 4,
        "topk_group": 2,
        "q_lora_rank": 96,
        "kv_lora_rank": 64,
        "qk_nope_head_dim": 32,
        "qk_rope_head_dim": 16,
        "v_head_dim": 32,
        "num_key_value_heads": 8,
    },
    "qwen3_moe": {"num_experts": 32, "num_key_value_heads": 2, "head_dim": 32},
}
COMMON: Final = {
    "hidden_size": 256,
    "intermediate_size": 768,
    "moe_intermediate_size": 192,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_experts_per_tok": 4,
    "vocab_size": 8192,
    "max_position_embeddings": 1024,
    "eos_token_id": None,
}


def lengths_of(prompts: int) -> list[list[int]]:
    """How long each sample of each prompt is."""
    draw = random.Random(0)
    return [
        [1 + min(int(draw.expovariate(1 / MEAN_TOKENS)), MOST_TOKENS - 1) for _ in range(SAMPLES)]
        for _ in range(prompts)
    ]


def prompts_of(count: int) -> list[list[int]]:
    """Token ids of prompts, 32 to 96 each."""
    draw = random.Random(1)
    return [[draw.randrange(8192) for _ in range(draw.randint(32, 96))] for _ in range(count)]


def with_engine(model: PreTrainedModel, prompts: Sequence[list[int]], experts: str = "") -> float:
    """Useful tokens a CPU second with refilled rows."""
    engine = Engine(model, end_ids=set(), most_rows=ROWS)
    if experts:
        model.set_experts_implementation(experts)
    lengths = lengths_of(len(prompts))
    begun = time.process_time()
    for place_, (ids, own) in enumerate(zip(prompts, lengths, strict=True)):
        for index, tokens in enumerate(own):
            decoding = Decoding(temperature=1.0, top_p=1.0, max_tokens=tokens)
            engine.add(ids, decoding, name=f"{place_}/{index}")
    while engine.has_work:
        engine.step()
    return sum(map(sum, lengths)) / (time.process_time() - begun)


def with_generate(model: PreTrainedModel, prompts: Sequence[list[int]], batch: int) -> float:
    """Useful tokens a CPU second in fixed batches, each until its longest sample ends."""
    model.set_attn_implementation("sdpa")
    model.set_experts_implementation("grouped_mm")
    lengths = lengths_of(len(prompts))
    rows = [(ids, tokens) for ids, own in zip(prompts, lengths, strict=True) for tokens in own]
    begun = time.process_time()
    for start in range(0, len(rows), batch):
        some = rows[start : start + batch]
        width = max(len(ids) for ids, _ in some)
        ids_B_T = torch.tensor([[0] * (width - len(ids)) + ids for ids, _ in some])
        mask_B_T = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids, _ in some])
        with torch.inference_mode():
            model.generate(
                ids_B_T,
                attention_mask=mask_B_T,
                do_sample=True,
                top_k=0,
                max_new_tokens=max(tokens for _, tokens in some),
                pad_token_id=0,
            )
    return sum(map(sum, lengths)) / (time.process_time() - begun)


def half_on_disk(folder: Path, scratch: Path, *, maps: bool) -> PreTrainedModel:
    """The model with half of its experts on disk: mapped, or by accelerate's hooks."""
    config = AutoConfig.from_pretrained(folder)
    with torch.device("meta"):
        parts = parts_of(AutoModelForCausalLM.from_config(config, dtype=torch.float32))
    routed = sum(part.bytes for part in parts if part.is_routed)
    room = sum(part.bytes for part in parts) - routed // 2
    placement = place(parts, {"cpu": room, "disk": routed})
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.float32,
        device_map=placement.device_map,
        offload_folder=scratch,
    )
    if maps:
        map_from(scratch, model)
    return model.eval()


def measure(kind: str, prompts: Sequence[list[int]]) -> dict[str, Any]:
    """All figures of one shape, in tokens a CPU second."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **COMMON, **SHAPES[kind])
    model = AutoModelForCausalLM.from_config(config).float().eval()
    model.generation_config.eos_token_id = None
    few = prompts[: len(prompts) // 4]
    with_engine(model, few[:2])  # what is done once
    generate = {f"{size} rows": round(with_generate(model, prompts, size)) for size in BATCHES}
    ours = round(with_engine(model, prompts))
    figures: dict[str, Any] = {
        "parameters": model.num_parameters(),
        "useful_tokens": sum(map(sum, lengths_of(len(prompts)))),
        "generate": generate,
        "engine": ours,
        "engine_by_generate": round(ours / max(generate.values()), 2),
        "experts": {
            name or "ours": round(with_engine(model, prompts, name))
            for name in ("", "grouped_mm", "eager")
        },
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model.save_pretrained(folder / "model")
        whole = with_engine(AutoModelForCausalLM.from_pretrained(folder / "model").eval(), few)
        mapped = with_engine(half_on_disk(folder / "model", folder / "a", maps=True), few)
        hooked = with_engine(half_on_disk(folder / "model", folder / "b", maps=False), few)
    figures["half_of_experts_on_disk"] = {
        "in_memory": round(whole),
        "mapped": round(mapped),
        "accelerate_hooks": round(hooked),
    }
    print(kind, figures)
    return figures


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--prompts", type=int, default=12)
    parser.add_argument("--model", choices=SHAPES, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    prompts = prompts_of(arguments.prompts)
    figures = {"prompts": arguments.prompts, "samples": SAMPLES, "rows": ROWS}
    results_file.write(
        f"local_teacher_{arguments.model}", figures | measure(arguments.model, prompts)
    )


if __name__ == "__main__":
    main()
