"""Sampling on a CPU: our engine against ``model.generate`` in fixed batches.

    python benchmarks/engine_speed.py [--problems 200] [--models student,teacher] [--pairs 1]

The same problems, samples, temperature, nucleus and token limit; both draw until the end token.
``generate`` gets the faster of its two ways to draw k samples of a prompt (the prompt k times, or
``num_return_sequences``) and the best of several batch sizes; problems are sorted by length for
it, so that it pads least. The engine gets the best of several numbers of rows. Only sampling is
timed: models are loaded and prompts are tokenized before. One thread, CPU seconds, each setting
once on 40 problems to choose it, then both sides on all of them in turn.

Expected before the first run: 2.4 times on the student, whose base runs to the limit now and
then, and at least 3 times on the teacher, whose latents ``generate`` expands at each token.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import results_file
import torch

import students
import teachers
from distill.problems import embedded_prompts
from distill.types import Message
from engine.chat_format import render
from engine.folder import LoadedModel, load_folder
from engine.row import Decoding
from engine.session import Engine

SAMPLES = 4
DECODING = Decoding(temperature=0.6, top_p=0.95, max_tokens=256)
CHOOSING_PROBLEMS = 40
FOLDERS = {
    "student": Path(students.__file__).parent / "embedded",
    "teacher": Path(teachers.__file__).parent / "embedded",
}
BATCH_SIZES = (64, 128, 256)
ROWS = (64, 128, 256)


@dataclass(frozen=True, slots=True)
class Run:
    """What sampling wrote and took."""

    tokens: int
    cpu_seconds: float

    @property
    def tokens_per_second(self) -> float:
        """Tokens up to and with the end of each sample, a CPU second."""
        return self.tokens / self.cpu_seconds


def with_engine(loaded: LoadedModel, prompts: Sequence[list[int]], rows: int) -> Run:
    """Sample with refilled rows."""
    engine = Engine(loaded.model, end_ids={loaded.tokenizer.eos_token_id}, most_rows=rows)
    begun = time.process_time()
    sampled = [
        engine.add(ids, DECODING, name=f"{place}/{index}")
        for place, ids in enumerate(prompts)
        for index in range(SAMPLES)
    ]
    while engine.has_work:
        engine.step()
    seconds = time.process_time() - begun
    return Run(sum(len(row.token_ids) for row in sampled), seconds)


def with_generate(
    loaded: LoadedModel, prompts: Sequence[list[int]], batch_size: int, *, repeats_prompts: bool
) -> Run:
    """Sample in fixed batches, each until its last row ends."""
    loaded.model.set_attn_implementation("sdpa")
    torch.manual_seed(0)
    ordered = sorted(prompts, key=len)
    if repeats_prompts:
        ordered = [ids for ids in ordered for _ in range(SAMPLES)]
    at_once = batch_size if repeats_prompts else batch_size // SAMPLES
    begun = time.process_time()
    tokens = 0
    for start in range(0, len(ordered), at_once):
        batch = ordered[start : start + at_once]
        length = max(map(len, batch))
        ids_B_T = torch.tensor([[0] * (length - len(ids)) + ids for ids in batch])
        mask_B_T = torch.tensor([[0] * (length - len(ids)) + [1] * len(ids) for ids in batch])
        with torch.inference_mode():
            whole_B_T = loaded.model.generate(
                ids_B_T,
                attention_mask=mask_B_T,
                do_sample=True,
                temperature=DECODING.temperature,
                top_p=DECODING.top_p,
                top_k=0,
                max_new_tokens=DECODING.max_tokens,
                num_return_sequences=1 if repeats_prompts else SAMPLES,
                pad_token_id=0,
            )
        is_end_B_T = whole_B_T[:, length:] == loaded.tokenizer.eos_token_id
        before_B = (is_end_B_T.cumsum(dim=1) == 0).sum(dim=1)
        tokens += int((before_B + is_end_B_T.any(dim=1)).sum())
    return Run(tokens, time.process_time() - begun)


def best(
    ways: dict[str, Callable[[Sequence[list[int]]], Run]], prompts: Sequence[list[int]]
) -> str:
    """The name of the fastest way on some of the problems."""
    return max(ways, key=lambda name: ways[name](prompts).tokens_per_second)


def measure(name: str, problems: int, pairs_wanted: int) -> dict[str, Any]:
    """Choose a setting for each side, then time both in turn."""
    loaded = load_folder(FOLDERS[name])
    prompts = [
        render(loaded.tokenizer, [Message("user", one.text)], add_generation_prompt=True)
        for one in embedded_prompts("dev", count=problems, seed=3)
    ]
    generate = {
        f"{size} rows, {'prompt repeated' if repeats else 'num_return_sequences'}": (
            lambda some, size=size, repeats=repeats: with_generate(
                loaded, some, size, repeats_prompts=repeats
            )
        )
        for size in BATCH_SIZES
        for repeats in (True, False)
    }
    ours = {
        f"{rows} rows": lambda some, rows=rows: with_engine(loaded, some, rows) for rows in ROWS
    }
    few = prompts[:CHOOSING_PROBLEMS]
    chosen = best(generate, few), best(ours, few)
    pairs = [(generate[chosen[0]](prompts), ours[chosen[1]](prompts)) for _ in range(pairs_wanted)]
    ratios = [own.tokens_per_second / peer.tokens_per_second for peer, own in pairs]
    figures = {
        "generate": {"setting": chosen[0]} | _summary([peer for peer, _ in pairs]),
        "engine": {"setting": chosen[1]} | _summary([own for _, own in pairs]),
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(ratio, 2) for ratio in ratios],
    }
    print(name, figures)
    return figures


def _summary(runs: Sequence[Run]) -> dict[str, float]:
    return {
        "tokens": runs[0].tokens,
        "cpu_seconds": round(statistics.median(run.cpu_seconds for run in runs), 2),
        "tokens_per_cpu_second": round(statistics.median(run.tokens_per_second for run in runs)),
    }


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--problems", type=int, default=200)
    parser.add_argument("--models", default="student,teacher")
    parser.add_argument("--pairs", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    names = arguments.models.split(",")
    figures: dict[str, Any] = {
        name: measure(name, arguments.problems, arguments.pairs) for name in names
    }
    results_file.write(
        "engine_speed", {"problems": arguments.problems, "samples": SAMPLES} | figures
    )


if __name__ == "__main__":
    main()
