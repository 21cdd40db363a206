"""The shard plan against real files and real memory: random models of 30M to 2.5B parameters.

    OMP_NUM_THREADS=1 python benchmarks/shard_plan.py [--runs FILE] [NAME ...]

For each model: writes it as shards, and in a process of its own loads it as a teacher is loaded and
samples with our engine until every row holds the planned context. Compared are the planned weights
with the files' headers, and the planned size of the process with the highest that the system saw
(``VmHWM``: libraries, kernels, mapped files and all that the C library keeps). Expected beforehand:
weights within 1 %, the whole within 10 %, each. ``--runs FILE`` keeps what each model took, so that
the next call goes on where one was cut off; results are written once it holds all of them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

if __package__ is None:
    sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import results_file
from teachers.shard_local import LocalWish, plan_local
from teachers.shard_model import find_model
from teachers.shard_weights import parameters

_NEW_TOKENS = 24
_BAR = 0.10
_GROUPED = {"num_key_value_heads": 4, "head_dim": 64}
_LATENT = {
    "num_key_value_heads": 16,
    "kv_lora_rank": 128,
    "q_lora_rank": 256,
    "qk_nope_head_dim": 64,
    "qk_rope_head_dim": 32,
    "v_head_dim": 64,
    "n_shared_experts": 1,
    "num_experts_per_tok": 4,
    "first_k_dense_replace": 1,
    "num_nextn_predict_layers": 0,
    "n_group": 4,
    "topk_group": 2,
}


def _deepseek(
    hidden: int, layers: int, experts: int, width: int, vocabulary: int
) -> dict[str, Any]:
    return {
        **_LATENT,
        "model_type": "deepseek_v3",
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "n_routed_experts": experts,
        "moe_intermediate_size": width,
        "intermediate_size": 4 * hidden,
        "vocab_size": vocabulary,
    }


def _qwen(hidden: int, layers: int, experts: int, width: int, vocabulary: int) -> dict[str, Any]:
    return {
        **_GROUPED,
        "model_type": "qwen3_moe",
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_experts": experts,
        "num_experts_per_tok": 8,
        "moe_intermediate_size": width,
        "vocab_size": vocabulary,
    }


_DENSE = {
    **_GROUPED,
    "model_type": "llama",
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "intermediate_size": 4096,
    "vocab_size": 65536,
}
_TINY_LATENT = _deepseek(256, 4, 32, 256, 8192)
_TINY = _qwen(256, 4, 32, 256, 16384)


@dataclass(frozen=True, slots=True)
class Case:
    """A model and how it is run.

    Attributes:
        config: Of the model.
        stored: Precision of the files.
        computed: Precision in memory.
        rows: That run at once.
        context: Tokens of each at the end.
    """

    config: dict[str, Any]
    stored: str = "bfloat16"
    computed: str = "bfloat16"
    rows: int = 8
    context: int = 512

    @property
    def wish(self) -> LocalWish:
        """As the plan takes it."""
        prompt = self.context - _NEW_TOKENS
        number = 4 if self.computed == "float32" else 2
        return LocalWish(self.context, self.rows, prompt, number)


_CASES = {
    "DeepSeek-V3 30M": Case(_TINY_LATENT),
    "DeepSeek-V3 30M fp32": Case(_TINY_LATENT, "float32", "float32"),
    "DeepSeek-V3 30M, 64 rows": Case(_TINY_LATENT, rows=64, context=256),
    "Qwen3-MoE 40M": Case(_TINY),
    "Qwen3-MoE 40M fp32": Case(_TINY, "float32", "float32"),
    "Qwen3-MoE 40M, 2k": Case(_TINY, rows=6, context=2048),
    "dense 0.5B": Case(_DENSE),
    "dense 0.5B fp32": Case(_DENSE, "float32", "float32"),
    "Qwen3-MoE 1.2B": Case(_qwen(1024, 11, 64, 512, 32768)),
    "DeepSeek-V3 1.3B": Case(_deepseek(1024, 13, 64, 512, 32768)),
    "DeepSeek-V3 1.3B to fp32": Case(_deepseek(1024, 13, 64, 512, 32768), "bfloat16", "float32"),
    "DeepSeek-V3 2.5B": Case(_deepseek(1280, 15, 80, 576, 32768)),
}


def main() -> None:
    """Measure what is named, or all; print and write the figures."""
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps({"peak": _measure(Path(sys.argv[2]), _CASES[sys.argv[3]])}))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--runs", type=Path, help="figures of each model; those there are are kept")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.names if name not in _CASES]:
        parser.error(f"unknown: {', '.join(unknown)}; there are: {', '.join(_CASES)}")
    figures = _read_runs(arguments.runs)
    for name in arguments.names or _CASES:
        if name in figures:
            continue
        figures[name] = found = _compare(name, _CASES[name])
        if arguments.runs:
            with arguments.runs.open("a", encoding="utf-8") as lines:
                lines.write(f"{json.dumps([name, found])}\n")
        print(
            f"{name:26} {found['parameters'] / 1e6:6.0f}M  weights {found['weights_error']:+.2%}"
            f"  whole {found['total_error']:+6.1%}  {found['planned_resident'] / 1e6:6,.0f} of"
            f" {found['measured'] / 1e6:6,.0f} MB, highest while {found['plan']['moment']}",
            flush=True,
        )
    if figures.keys() >= _CASES.keys():
        results_file.write("shard_plan", {name: figures[name] for name in _CASES})
    worst = max(abs(each["total_error"]) for each in figures.values())
    raise SystemExit(worst > _BAR)


def _read_runs(file: Path | None) -> dict[str, Any]:
    """What the calls before have measured."""
    if file is None or not file.exists():
        return {}
    found = (json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())
    return {name: figures for name, figures in found if name in _CASES}


def _compare(name: str, case: Case) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        command = [sys.executable, __file__, "--measure", made, name]
        _write(folder, case)
        model = find_model(made)
        shown = subprocess.run(command, capture_output=True, text=True, check=False)
        if shown.returncode:
            raise SystemExit(shown.stderr)
    plan = plan_local(model.facts, case.wish)
    measured = json.loads(shown.stdout.splitlines()[-1])["peak"]
    assert model.header_bytes is not None
    return {
        "parameters": parameters(model.facts),
        "stored": case.stored,
        "wish": asdict(case.wish),
        "planned_weights": model.file_bytes,
        "header_weights": model.header_bytes,
        "weights_error": model.file_bytes / model.header_bytes - 1,
        "plan": asdict(plan),
        "planned_resident": plan.resident,
        "measured": measured,
        "total_error": plan.resident / measured - 1,
    }


def _write(folder: Path, case: Case) -> None:
    """A model of random weights, written by a process of its own."""
    text = (
        "import json, sys, torch\n"
        "from transformers import AutoConfig, AutoModelForCausalLM\n"
        "given = json.loads(sys.argv[1])\n"
        "torch.set_default_dtype(getattr(torch, sys.argv[2]))\n"
        "config = AutoConfig.for_model(given.pop('model_type'), **given)\n"
        "AutoModelForCausalLM.from_config(config).save_pretrained(sys.argv[3],"
        " max_shard_size='1GB')\n"
    )
    config = {
        **case.config,
        "num_attention_heads": 16,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": False,
    }
    command = [sys.executable, "-c", text, json.dumps(config), case.stored, str(folder)]
    subprocess.run(command, check=True, capture_output=True)


def _measure(folder: Path, case: Case) -> int:
    """Load, sample until each row is full; the highest size of this process in bytes."""
    import torch
    from transformers import AutoModelForCausalLM

    from engine.folder import quiet_transformers
    from engine.lean_loading import lean_loading
    from engine.row import Decoding
    from engine.session import Engine

    wish, generator = case.wish, torch.Generator().manual_seed(0)
    with quiet_transformers(), lean_loading():
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, case.computed))
    engine = Engine(model.eval(), end_ids=(), most_rows=wish.rows)
    decoding = Decoding(0.6, 0.95, max_tokens=_NEW_TOKENS)
    for row in range(wish.rows):
        prompt = torch.randint(model.config.vocab_size, (wish.prompt_tokens,), generator=generator)
        engine.add(prompt.tolist(), decoding, name=str(row))
    while engine.has_work:
        engine.step()
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


if __name__ == "__main__":
    main()
