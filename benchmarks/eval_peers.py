"""A whole evaluation, process start to report: ours against lm-eval and lighteval.

    python benchmarks/eval_peers.py --peers DIR [--runs 3] [--batch-sizes 32,64,200]

A tiny Qwen2 with random weights and the embedded tokenizer answers 200 problems greedily, 64 new
tokens each (it never stops by itself, so all write the same number), on one thread. Each side is
one command in a process of its own, in turn: `distill eval`, lm-eval's hf backend, lighteval's
accelerate backend, each with the batch size that suits it best. CPU seconds of
the process and its children, and wall seconds.

Peers are installed into environments of their own under DIR (``DIR/lm-eval``, ``DIR/lighteval``)
if they are not there; one that cannot be installed is reported as such.

Expected before the first run: 2.2 times lm-eval, 2.5 times lighteval; most of ours is the import of
torch and transformers, which all sides share.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import results_file
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from distill.problems import embedded_prompts
from engine.making.tokenizer import build_tokenizer

PROBLEMS = 200
NEW_TOKENS = 64
PACKAGES = {
    "lm-eval": ["lm-eval[hf]"],
    # 0.13 calls what huggingface_hub 1 and xxhash 4 no longer have.
    "lighteval": ["lighteval", "transformers<5", "huggingface_hub<1", "datasets<4.5", "xxhash<4"],
}

LM_EVAL_TASK = """\
task: sums
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{text}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: [], do_sample: false, max_gen_toks: {tokens}}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
"""
LIGHTEVAL_TASK = """\
from lighteval.metrics.metrics import Metrics
from lighteval.tasks.lighteval_task import LightevalTaskConfig
from lighteval.tasks.requests import Doc


def read(line, task_name=None):
    return Doc(task_name=task_name, query=line["text"], choices=[line["answer"]], gold_index=0)


TASKS_TABLE = [
    LightevalTaskConfig(
        name="sums",
        prompt_function=read,
        hf_repo="{folder}",
        hf_subset="default",
        evaluation_splits=["test"],
        hf_avail_splits=["test"],
        metrics=[Metrics.exact_match],
        generation_size={tokens},
        stop_sequence=[],
    )
]
"""


@dataclass(frozen=True, slots=True)
class Timing:
    """One process."""

    cpu_seconds: float
    wall_seconds: float


def write_inputs(folder: Path) -> None:
    """The model, the problems and the peers' task files."""
    tokenizer = build_tokenizer()
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    # What transformers 4 cannot read of a tokenizer that version 5 has saved.
    path = folder / "model" / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    settings.pop("extra_special_tokens", None)
    path.write_text(json.dumps(settings), encoding="utf-8")
    data = folder / "data" / "test.jsonl"
    data.parent.mkdir(parents=True)
    with data.open("w", encoding="utf-8") as file:
        for prompt in embedded_prompts("dev", count=PROBLEMS, seed=3):
            row = {"id": prompt.id, "text": prompt.text, "answer": prompt.answer}
            file.write(json.dumps(row) + "\n")
    (folder / "tasks").mkdir()
    texts = {"sums.yaml": LM_EVAL_TASK, "sums.py": LIGHTEVAL_TASK}
    for name, text in texts.items():
        (folder / "tasks" / name).write_text(
            text.format(data=data, folder=data.parent, tokens=NEW_TOKENS)
        )


def command(side: str, folder: Path, peers: Path, batch_size: int, out: Path) -> list[str]:
    """The command line of one side."""
    model = folder / "model"
    if side == "distill":
        return [
            *(sys.executable, "-m", "distill", "eval", str(model)),
            *("--benchmark", str(folder / "data" / "test.jsonl"), "--samples", "1", "--greedy"),
            *("--max-tokens", str(NEW_TOKENS), "--batch-size", str(batch_size)),
            *("--run-dir", str(out)),
        ]
    if side == "lm-eval":
        return [
            *(str(peers / side / "bin" / "lm_eval"), "--model", "hf", "--device", "cpu"),
            *("--model_args", f"pretrained={model},dtype=float32", "--tasks", "sums"),
            *("--include_path", str(folder / "tasks"), "--batch_size", str(batch_size)),
            *("--apply_chat_template", "--output_path", str(out)),
        ]
    return [
        *(str(peers / side / "bin" / "lighteval"), "accelerate"),
        f"model_name={model},batch_size={batch_size},dtype=float32",
        *("sums|0", "--custom-tasks", str(folder / "tasks" / "sums.py"), "--output-dir", str(out)),
    ]


def timed(arguments: Sequence[str]) -> Timing:
    """Run a command to its end.

    Raises:
        RuntimeError: If it fails; with the end of what it wrote.
    """
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.monotonic()
    done = subprocess.run(
        arguments, env=os.environ | threads | offline, capture_output=True, text=True, check=False
    )
    wall = time.monotonic() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{arguments[0]}: {(done.stdout + done.stderr)[-1500:]}")
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return Timing(cpu, wall)


def installed(side: str, peers: Path) -> bool:
    """Whether a peer is there, after installing it if it is not."""
    place = peers / side
    if not place.is_dir():
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        pip = [str(place / "bin" / "pip"), "install", "-q"]
        version = torch.__version__.partition("+")[0]
        subprocess.run([*pip, f"torch=={version}", *PACKAGES[side]], check=False)
    # lighteval fetches a file of a benchmark that is not asked for whenever it starts.
    for unused in place.glob("lib/*/site-packages/lighteval/tasks/tasks/tiny_benchmarks.py"):
        unused.with_name("tinyBenchmarks.pkl").touch()
    return (place / "bin" / ("lm_eval" if side == "lm-eval" else side)).exists()


def measure(folder: Path, peers: Path, runs: int, sizes: Sequence[int]) -> dict[str, object]:
    """Choose each side's batch size, then run all sides in turn."""
    sides = ["distill", *(name for name in PACKAGES if installed(name, peers))]
    timings: dict[str, list[Timing]] = {side: [] for side in sides}
    chosen = {}
    count = 0

    def run(side: str, batch_size: int) -> Timing:
        nonlocal count
        count += 1
        fresh = folder / f"run{count}"  # lighteval keeps its answers beside the model
        shutil.copytree(folder / "made", fresh)
        return timed(command(side, fresh, peers, batch_size, folder / f"out{count}"))

    failures = dict.fromkeys(sorted(PACKAGES.keys() - set(sides)), "could not be installed")
    for side in sides:
        try:
            found = {size: run(side, size) for size in sizes}
        except RuntimeError as error:
            failures[side] = str(error)
            continue
        chosen[side] = min(found, key=lambda size: found[size].cpu_seconds)
        timings[side].append(found[chosen[side]])
    for _ in range(runs - 1):
        for side, size in chosen.items():
            timings[side].append(run(side, size))
    ours = statistics.median(one.cpu_seconds for one in timings["distill"])
    return {
        side: {
            "batch_size": chosen[side],
            "cpu_seconds": round(statistics.median(one.cpu_seconds for one in timings[side]), 2),
            "wall_seconds": round(statistics.median(one.wall_seconds for one in timings[side]), 2),
            "times_ours": round(
                statistics.median(one.cpu_seconds for one in timings[side]) / ours, 2
            ),
        }
        for side in chosen
    } | {"failed": failures}


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peers", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--batch-sizes", default="32,64,200")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_inputs(Path(folder) / "made")
        sizes = [int(size) for size in arguments.batch_sizes.split(",")]
        figures = measure(Path(folder), arguments.peers.resolve(), arguments.runs, sizes)
    print(json.dumps(figures, indent=2))
    results_file.write("eval_peers", {"problems": PROBLEMS, "new_tokens": NEW_TOKENS} | figures)


if __name__ == "__main__":
    main()
