"""Are the weights of ``distill fit --run`` as large as real files? Random models, every format.

The files are those that `students.export` writes. Compared is the whole file, so headers (and what
bitsandbytes notes beside each matrix) count against the plan; GGUF files are written without a
tokenizer, which is no weight. Expected: within 2 % each, most within 0.1 %.

    python benchmarks/memory_files.py
"""

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import results_file
import torch
from memory_models import write_model

from students.catalog import Architecture
from students.export.bits import write_quantised
from students.export.gguf_format import write_gguf
from students.export.gguf_kinds import Quant
from students.export.gguf_out import gguf_tensors
from students.export.plan import Format
from students.export.where_from import find_student
from students.memory_run import RUN_FORMATS, RunFormat, weight_bytes

_LLAMA = Architecture("llama", 4, 512, 8, 4, 64, 1536, 8_000, False, 4_096)
_MODELS = [
    _LLAMA,
    replace(_LLAMA, model_type="qwen2", is_tied=True),
    replace(_LLAMA, model_type="qwen3", is_tied=True, hidden=384),  # no multiple of 256
]
_BAR_PERCENT = 2.0


def main() -> None:
    """Write every file, print a table, write the results."""
    rows = list(_compared())
    worst = max(abs(row["error_percent"]) for row in rows)
    sys.stdout.write(f"worst {worst:.3f} %, bar {_BAR_PERCENT:g} %\n")
    results_file.write("memory_files", {"files": rows, "worst_percent": worst})
    raise SystemExit(worst > _BAR_PERCENT)


def _compared() -> Iterator[dict[str, Any]]:
    for facts in _MODELS:
        with tempfile.TemporaryDirectory() as scratch:
            folder = write_model(facts, Path(scratch) / "model", torch.bfloat16)
            for format_ in RUN_FORMATS:
                target = Path(scratch) / format_
                target.mkdir()
                written, planned = _written(folder, target, format_), weight_bytes(facts, format_)
                row = {
                    "model": facts.model_type,
                    "format": format_,
                    "planned_bytes": planned,
                    "file_bytes": written,
                    "error_percent": round(100 * (planned / written - 1), 3),
                }
                sys.stdout.write("{model:6s} {format:12s} {error_percent:7.3f} %\n".format(**row))
                yield row


def _written(folder: Path, target: Path, format_: RunFormat) -> int:
    """Bytes of the file with the weights."""
    kind, _, quant = format_.partition(" ")
    if kind == "gguf":
        tensors = gguf_tensors(find_student(folder), cast("Quant", quant))
        write_gguf(target / "student.gguf", {}, tensors, lambda _count: None)
        return (target / "student.gguf").stat().st_size
    if kind != "bf16":
        write_quantised(folder, target, cast("Format", kind))
        folder = target
    return (folder / "model.safetensors").stat().st_size


if __name__ == "__main__":
    main()
