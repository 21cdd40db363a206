"""The shard plan against real files and real memory: random models of 30M to 3B parameters.

    OMP_NUM_THREADS=1 python benchmarks/shard_plan.py

For each model: makes it, writes it as bf16 shards, and in a process of its own loads it and runs
one forward pass with its cache. Compared are the planned weights with the files' headers, and the
planned total of one device (weights, cache, work) with the highest anonymous memory above what the
process had before it loaded. Expected beforehand: weights within 1 %, total within 10 %.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

if __package__ is None:
    sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import results_file
from teachers.shard_model import find_model
from teachers.shard_plan import GIB, Cluster, Layout, Wish, plan_device
from teachers.shard_weights import parameters

_ROWS, _TOKENS = 4, 128
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
_SIZES: dict[str, tuple[str, dict[str, Any]]] = {
    "DeepSeek-V3, 30M": (
        "deepseek_v3",
        {"hidden_size": 256, "num_hidden_layers": 4, "n_routed_experts": 32}
        | {"moe_intermediate_size": 256, "intermediate_size": 1024, "vocab_size": 8192},
    ),
    "Qwen3-MoE, 40M": (
        "qwen3_moe",
        {"hidden_size": 256, "num_hidden_layers": 4, "num_experts": 32}
        | {"moe_intermediate_size": 256, "vocab_size": 16384},
    ),
    "DeepSeek-V3, 1B": (
        "deepseek_v3",
        {"hidden_size": 1024, "num_hidden_layers": 10, "n_routed_experts": 64}
        | {"moe_intermediate_size": 512, "intermediate_size": 4096, "vocab_size": 32768},
    ),
    "Qwen3-MoE, 1B": (
        "qwen3_moe",
        {"hidden_size": 1024, "num_hidden_layers": 11, "num_experts": 64}
        | {"moe_intermediate_size": 512, "vocab_size": 32768},
    ),
}


def main() -> None:
    """Measure each model, print and write the figures."""
    if len(sys.argv) > 2:  # noqa: PLR2004 - the process that is measured
        print(json.dumps(_measure(Path(sys.argv[2]))))
        return
    figures = {}
    for name, (model_type, sizes) in _SIZES.items():
        with tempfile.TemporaryDirectory() as folder:
            _make(model_type, sizes, Path(folder))
            figures[name] = found = _compare(Path(folder))
        print(
            f"{name:18} {found['parameters'] / 1e6:7.0f}M  weights {found['weights_error']:+.2%}"
            f"  total {found['total_error']:+.1%}"
            f"  ({found['planned_total'] / 1e6:,.0f} of {found['measured_total'] / 1e6:,.0f} MB)",
            flush=True,
        )
    results_file.write("shard_plan", figures)


def _make(model_type: str, sizes: dict[str, Any], folder: Path) -> None:
    """Write a model of random weights in bf16."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    heads = _LATENT if model_type == "deepseek_v3" else {"num_key_value_heads": 4, "head_dim": 64}
    config = AutoConfig.for_model(
        model_type, **{"num_attention_heads": 16, **heads, **sizes}, tie_word_embeddings=False
    )
    torch.set_default_dtype(torch.bfloat16)
    model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder, max_shard_size="500MB")
    torch.set_default_dtype(torch.float32)


def _compare(folder: Path) -> dict[str, Any]:
    model = find_model(str(folder))
    assert model.header_bytes is not None
    wish = Wish(_TOKENS, _ROWS, prefill_tokens=_ROWS * _TOKENS, server_bytes=0)
    plan = plan_device(model.facts, Layout(1, 1, 1, 1), Cluster(1, 64 * GIB), wish)
    command = [sys.executable, __file__, "--measure", str(folder)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    measured = json.loads(shown.stdout.splitlines()[-1])
    total = plan.total(_ROWS)
    return {
        "parameters": parameters(model.facts),
        "planned_weights": model.file_bytes,
        "header_weights": model.header_bytes,
        "weights_error": model.file_bytes / model.header_bytes - 1,
        "planned_total": total,
        "planned_cache": plan.cache(_ROWS),
        "planned_work": plan.work,
        "measured_total": measured["peak"],
        "measured_while_loading": measured["loading"],
        "total_error": total / measured["peak"] - 1,
    }


def _measure(folder: Path) -> dict[str, int]:
    """Highest anonymous memory while loading and while answering, above what was there before."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    _warm_up(folder)
    watch = _Watch()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    loading = watch.peak
    for weight in model.parameters():  # some are still the mapped file; on a GPU all are copies
        weight.data = weight.data.clone()
    tokens_B_T = torch.randint(0, model.config.vocab_size, (_ROWS, _TOKENS))
    with torch.no_grad():
        model(tokens_B_T, use_cache=True, logits_to_keep=1)
    return {"peak": watch.stop(), "loading": loading}


def _warm_up(folder: Path) -> None:
    """Load and run a model of the same kind with two layers: libraries take their memory once."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    small = {"num_hidden_layers": 2, "hidden_size": 64, "vocab_size": 64, "intermediate_size": 64}
    experts = {"n_routed_experts": 8, "num_experts": 8, "moe_intermediate_size": 16}
    config = AutoConfig.from_pretrained(folder, **small, **experts)
    with tempfile.TemporaryDirectory() as made:
        AutoModelForCausalLM.from_config(config).save_pretrained(made)
        model = AutoModelForCausalLM.from_pretrained(made, dtype=torch.bfloat16).eval()
    with torch.no_grad():
        model(torch.zeros(1, 8, dtype=torch.long), use_cache=True, logits_to_keep=1)


class _Watch:
    """Samples the anonymous memory of this process in a thread; mapped files are left out."""

    def __init__(self) -> None:
        self._before = _anonymous_bytes()
        self._is_over = False
        self.peak = 0
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        while not self._is_over:
            self.peak = max(self.peak, _anonymous_bytes() - self._before)
            time.sleep(0.002)

    def stop(self) -> int:
        """End; what was the most."""
        self._is_over = True
        self._thread.join()
        return self.peak


def _anonymous_bytes() -> int:
    text = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * int(text.partition("RssAnon:")[2].split()[0])


if __name__ == "__main__":
    main()
