"""What an export costs, and what it loses.

python benchmarks/export.py cost [--gigabytes 2] [--rounds 3]
    Peak memory (ru_maxrss of the whole process) and time of `distill export --check weights` on a
    random bf16 model, against copying its file to the same disk and syncing it, in turn. Timed is
    all that a user waits for: Python's start and imports, reading, converting, writing, SHA-256,
    reading places of every tensor back, syncing; `--check all` would run the model as well. The
    files are read from the page cache by both; one copy is made beforehand, so that both write
    into memory that this machine already has, and what one wrote is removed and the disk synced
    before the other begins. The copy is `shutil.copyfile`: on Linux the kernel moves the bytes.
    Expected: peak at most 1.5 times the largest tensor
    + 300 MB; f16 at most twice the time of the copy, q8_0 three times, a merged adapter (rank 16 in
    every matrix) four times.

python benchmarks/export.py loss [--prompts 300]
    The embedded student through every format: greedy tokens, KL, and accuracy on problems of one
    step (which it can solve) at temperature 1.4 (where it errs), paired with the student's.
    Expected: f16, bf16 and q8_0 within its interval; q4_k_m (Q5_0 and Q8_0 here: rows of 128 fill
    no block of 256) and nf4 lose some.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import results_file

# Not from students.load: a child's peak counts from its parent's memory, and that loads torch.
EMBEDDED = Path(__file__).parents[1] / "students" / "embedded"
_FORMATS = ("gguf f16", "gguf q8_0", "gguf q4_k_m", "safetensors bf16")
_MERGED = ("gguf f16 merged", "safetensors bf16 merged")
_LOSS = ("gguf f32", "gguf f16", "gguf q8_0", "gguf q6_k", "gguf q5_k_m", "gguf q4_k_m")
_LOSS_FOLDERS = ("safetensors bf16", "nf4 bf16", "int8 bf16")
_HIDDEN, _INNER, _VOCABULARY = 2048, 8192, 65_536
_RANK = 16


def make_model(folder: Path, gigabytes: float) -> int:
    """Write a random Qwen2 in bfloat16, tensor by tensor; returns the largest one's bytes."""
    embedding, layer = _VOCABULARY * _HIDDEN, 2 * _HIDDEN * _HIDDEN + 3 * _HIDDEN * _INNER
    layer += 2 * _HIDDEN * 512
    layers = max(round((gigabytes * 1e9 / 2 - embedding) / layer), 1)
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (_VOCABULARY, _HIDDEN)}
    for number in range(layers):
        at = f"model.layers.{number}"
        shapes |= {f"{at}.self_attn.{name}_proj.weight": (_HIDDEN, _HIDDEN) for name in "qo"}
        shapes |= {f"{at}.self_attn.{name}_proj.weight": (512, _HIDDEN) for name in "kv"}
        shapes |= {f"{at}.self_attn.{name}_proj.bias": (512,) for name in "kv"}
        shapes |= {f"{at}.mlp.{name}_proj.weight": (_INNER, _HIDDEN) for name in ("gate", "up")}
        shapes |= {
            f"{at}.self_attn.q_proj.bias": (_HIDDEN,),
            f"{at}.mlp.down_proj.weight": (_HIDDEN, _INNER),
            f"{at}.input_layernorm.weight": (_HIDDEN,),
            f"{at}.post_attention_layernorm.weight": (_HIDDEN,),
        }
    shapes["model.norm.weight"] = (_HIDDEN,)
    folder.mkdir()
    _write_random(folder / "model.safetensors", shapes)
    _write_adapter(folder / "adapter", shapes)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(EMBEDDED / name, folder / name)
    config = json.loads((EMBEDDED / "config.json").read_text())
    config |= {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "head_dim": 128}
    config |= {"hidden_size": _HIDDEN, "intermediate_size": _INNER, "vocab_size": _VOCABULARY}
    config |= {"num_hidden_layers": layers, "num_attention_heads": 16, "num_key_value_heads": 4}
    config |= {"tie_word_embeddings": True, "dtype": "bfloat16"}
    (folder / "config.json").write_text(json.dumps(config))
    return max(int(np.prod(shape)) for shape in shapes.values()) * 2


def _write_adapter(folder: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    folder.mkdir()
    parts: dict[str, tuple[int, ...]] = {}
    for name, shape in shapes.items():
        if "_proj.weight" in name:
            at = f"base_model.model.{name.removesuffix('.weight')}"
            parts[f"{at}.lora_A.weight"] = (_RANK, shape[1])
            parts[f"{at}.lora_B.weight"] = (shape[0], _RANK)
    _write_random(folder / "adapter_model.safetensors", parts)
    config = {"peft_type": "LORA", "r": _RANK, "lora_alpha": 2 * _RANK}
    config["base_model_name_or_path"] = str(folder.parent)
    (folder / "adapter_config.json").write_text(json.dumps(config))


def _write_random(path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    header, offset = {}, 0
    for name, shape in shapes.items():
        end = offset + int(np.prod(shape)) * 2
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    draw = np.random.default_rng(0)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for shape in shapes.values():
            left = int(np.prod(shape))
            while left:
                count = min(left, 1 << 22)
                numbers = (draw.standard_normal(count, np.float32) * 0.02).view(np.uint32)
                file.write((numbers >> 16).astype(np.uint16).tobytes())
                left -= count
        file.flush()
        os.fsync(file.fileno())


def in_child(command: list[str]) -> dict[str, float]:
    """Wall and CPU seconds and peak memory of a command in a process of its own."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return {
        "seconds": time.perf_counter() - begun,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "peak_mb": used.ru_maxrss * 1024 / 1e6,
    }


def cost(gigabytes: float, rounds: int, formats: Sequence[str]) -> dict[str, Any]:
    """Exports and copies in turn."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        # In a process of its own, for the same reason.
        maker = [sys.executable, __file__, "make", str(folder / "model"), str(gigabytes)]
        largest = int(subprocess.run(maker, check=True, capture_output=True).stdout)
        source, copied = folder / "model" / "model.safetensors", folder / "copy"
        runs: dict[str, list[dict[str, float]]] = {"copy": [], **{each: [] for each in formats}}
        _copy(source, copied)
        for _ in range(rounds):
            runs["copy"].append(_copy(source, copied))
            for each in formats:
                runs[each].append(_export(folder, *each.split()))
        figures = {
            each: {key: round(median(run[key] for run in made), 2) for key in made[0]}
            for each, made in runs.items()
        }
        for each in formats:
            ratios = [
                run["seconds"] / other["seconds"]
                for run, other in zip(runs[each], runs["copy"], strict=True)
            ]
            figures[each]["time_by_copy"] = round(median(ratios), 2)
            figures[each]["least_by_copy"] = round(min(ratios), 2)
            figures[each]["most_by_copy"] = round(max(ratios), 2)
        return {
            "file_mb": round(source.stat().st_size / 1e6),
            "largest_tensor_mb": round(largest / 1e6),
            "peak_bar_mb": round(1.5 * largest / 1e6 + 300),
            **figures,
        }


def _copy(source: Path, target: Path) -> dict[str, float]:
    code = "import os,shutil,sys; shutil.copyfile(*sys.argv[1:]);"
    code += "d=os.open(sys.argv[2],os.O_RDONLY); os.fsync(d)"
    figures = in_child([sys.executable, "-c", code, str(source), str(target)])
    target.unlink()
    os.sync()  # freeing the space is not the next one's work
    return figures


def _export(folder: Path, format_: str, quant: str, merged: str = "") -> dict[str, float]:
    student, target = folder / "model" / ("adapter" if merged else ""), folder / "out"
    command = [sys.executable, "-m", "distill", "export", str(student), "--to", str(target)]
    command += ["--format", format_, "--quant", quant, "--check", "weights"]
    figures = in_child(command)
    shutil.rmtree(target)
    os.sync()
    return figures


def loss(prompts: int, formats: Sequence[str]) -> dict[str, Any]:
    """The embedded student through every format."""
    from distill.problems import embedded_prompts
    from distill.recipe import SamplingSection
    from distill.verify.answer import AnswerVerifier
    from students.export.accuracy import HeldOut
    from students.export.plan import plan_export
    from students.export.where_from import find_student
    from students.export.writing import export

    held_out = HeldOut(
        prompts=embedded_prompts("eval", prompts, 0, levels=(1,)),
        verifier=AnswerVerifier(),
        section=SamplingSection(temperature=1.4, top_p=1.0, max_tokens=200),
        seed=0,
        samples=4,
        needs_box=True,
        on_progress=lambda _progress: None,
    )
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        for each in formats:
            format_, quant = each.split()
            plan = plan_export(
                find_student(EMBEDDED),
                Path(name) / each.replace(" ", "-"),
                format_,  # type: ignore[arg-type]
                quant,  # type: ignore[arg-type]
            )
            checks = export(plan, lambda _progress: None, held_out=held_out).checks
            assert checks.accuracy is not None
            assert checks.drift is not None
            exported, student = checks.accuracy.exported, checks.accuracy.student
            figures[each] = {
                "accuracy": [round(100 * each, 1) for each in _ends(exported)],
                "student": [round(100 * each, 1) for each in _ends(student)],
                "difference": [round(100 * each, 1) for each in _ends(checks.accuracy.difference)],
                "is_within": student.low <= exported.value <= student.high,
                "greedy": f"{checks.drift.greedy_equal} of {checks.drift.greedy_tokens}",
                "kl_nats": round(checks.drift.kl_nats or 0, 6),
                "weight_error": checks.weights and round(checks.weights.largest_error, 5),
                "megabytes": round(plan.weight_bytes / 1e6, 2),
            }
            print(each, figures[each], flush=True)
    return figures


def _ends(estimate: Any) -> tuple[float, float, float]:  # noqa: ANN401 - an Estimate
    return estimate.value, estimate.low, estimate.high


def main() -> None:
    """Measure and write the results."""
    if sys.argv[1:2] == ["make"]:
        print(make_model(Path(sys.argv[2]), float(sys.argv[3])))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["cost", "loss"])
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--formats", nargs="+", default=None, help="these alone; others are kept")
    parser.add_argument("--prompts", type=int, default=300)
    arguments = parser.parse_args()
    if arguments.what == "cost":
        figures = cost(
            arguments.gigabytes, arguments.rounds, arguments.formats or (*_FORMATS, *_MERGED)
        )
    else:
        figures = loss(arguments.prompts, arguments.formats or (*_LOSS, *_LOSS_FOLDERS))
    kept = results_file.RESULTS / f"export_{arguments.what}.json"
    if arguments.formats and kept.is_file():
        figures = json.loads(kept.read_text())["figures"] | figures
    print(json.dumps(figures, indent=2))
    print(results_file.write(kept.stem, figures))


if __name__ == "__main__":
    main()
