"""Does the memory plan tell the truth? Predicted against measured peaks of real training steps.

Each case trains a random model in a fresh process, through the `students.sft.train` of a user's
run, with rows that are full. Measured is the most memory that the operating system had given to the
process during the second step, less what it held before the model was loaded: nothing is
missed, not even what a library takes behind PyTorch's back. glibc is told to give memory back at
once (``MALLOC_MMAP_THRESHOLD_``), so that freed tensors do not count. With ``--held`` it is not:
what such a process holds at most is printed, and not written.

Expected before the first run: each case within 15 %, most within 10 %.

    python benchmarks/memory_plan.py [--only lora]
"""

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import results_file

from distill.recipe import TrainSection
from students.catalog import Architecture
from students.memory_plan import plan_training
from students.memory_settings import settings_of

_MIB = 1024**2
_LAST_STEP = 2
_LLAMA = Architecture("llama", 4, 256, 4, 2, 64, 768, 32_000, False, 16_384)
_QWEN2 = Architecture("qwen2", 4, 256, 4, 2, 64, 1024, 32_000, True, 16_384)
_QWEN3 = Architecture("qwen3", 3, 192, 4, 2, 64, 576, 151_936, True, 16_384)
_DEEP = Architecture("llama", 12, 256, 4, 2, 64, 768, 8_000, False, 16_384)


@dataclass(frozen=True, slots=True)
class Case:
    """One training whose peak is predicted and measured."""

    name: str
    facts: Architecture
    train: dict[str, Any]


def _case(name: str, facts: Architecture, length: int, rows: int = 1, **train: Any) -> Case:  # noqa: ANN401
    section = {"seq_len": length, "batch_tokens": length * rows, "held_out_share": 0.0, **train}
    return Case(name, facts, section)


_TINY = Architecture("llama", 2, 64, 2, 1, 32, 128, 1_000, True, 1_024)
WARM_UP = _case("warm-up", _TINY, 64, activations="recomputed")
CASES = [
    _case("llama full, kept", _LLAMA, 2048, activations="kept"),
    _case("llama full, recomputed, 4k", _DEEP, 4096, activations="recomputed"),
    _case("llama full, offloaded, 4k", _DEEP, 4096, activations="offloaded"),
    _case("qwen2 full, two rows", _QWEN2, 2048, rows=2, activations="kept"),
    _case("qwen3 full, 152k words", _QWEN3, 2048, activations="kept"),
    _case("qwen3 full, 152k words, four rows", _QWEN3, 512, rows=4, activations="kept"),
    _case("qwen3 full, 152k words, muon", _QWEN3, 1024, activations="kept", optimizer="muon"),
    _case("qwen2 lora, kept", _QWEN2, 2048, method="lora", activations="kept"),
    _case("llama lora, recomputed, 4k", _DEEP, 4096, method="lora", activations="recomputed"),
    _case("qwen3 lora, 152k words", _QWEN3, 2048, method="lora", activations="kept"),
    _case("llama qlora, kept", _LLAMA, 2048, method="qlora", activations="kept"),
    _case("llama qlora, recomputed, 4k", _DEEP, 4096, method="qlora", activations="recomputed"),
    _case("llama full, bf16", _LLAMA, 2048, precision="bf16", activations="kept"),
    _case("llama full, mixed", _LLAMA, 2048, precision="mixed", activations="kept"),
    _case("llama lora, mixed", _LLAMA, 2048, method="lora", precision="mixed", activations="kept"),
]


def main() -> None:
    """Measure every case, print a table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="part of a case's name")
    parser.add_argument("--held", action="store_true", help="with what was freed and is kept")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child is not None:
        sys.stdout.write(json.dumps(measure(CASES[given.child])) + "\n")
        return
    known = _earlier_rows()
    for number, case in enumerate(CASES):
        if given.only in case.name:
            known[case.name] = _compare(case, _in_fresh_process(number, held=given.held))
            _print(known[case.name])
            if not given.held:
                _write([known[one.name] for one in CASES if one.name in known])


def _write(rows: list[dict[str, Any]]) -> None:
    """After each case, so that what is cut off has not been for nothing."""
    errors = [abs(row["error_percent"]) for row in rows]
    mean = round(sum(errors) / len(errors), 1)
    sys.stdout.write(f"{len(rows)} cases: worst {max(errors):.1f} %, mean {mean} %\n")
    figures = {"cases": rows, "worst_percent": max(errors), "mean_percent": mean}
    results_file.write("memory_plan", figures)


def _earlier_rows() -> dict[str, dict[str, Any]]:
    """A part of the cases at a time is enough: the others stay as they were measured last."""
    path = results_file.RESULTS / "memory_plan.json"
    if not path.exists():
        return {}
    rows = json.loads(path.read_text(encoding="utf-8"))["figures"]["cases"]
    return {row["case"]: row for row in rows}


def _in_fresh_process(number: int, *, held: bool) -> dict[str, float]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if not held:
        environment["MALLOC_MMAP_THRESHOLD_"] = "65536"
    command = [sys.executable, __file__, "--child", str(number)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def _compare(case: Case, measured: dict[str, float]) -> dict[str, Any]:
    section = TrainSection.model_validate(case.train)
    settings = settings_of(section, case.facts.parameters, on_gpu=False)
    share = measured["supervised_share"]
    settings = type(settings)(**{**asdict(settings), "supervised_share": share})
    plan = plan_training(case.facts, settings, on_gpu=False)
    predicted = plan.total + plan.main_memory  # without a GPU, all of it is main memory
    peak = measured["peak_bytes"]
    return {
        "case": case.name,
        "parameters": case.facts.parameters,
        "predicted_mib": round(predicted / _MIB, 1),
        "measured_mib": round(peak / _MIB, 1),
        "error_percent": round(100 * (predicted / peak - 1), 1),
        "moment": plan.moment,
        "parts_mib": {name: round(size / _MIB, 1) for name, size in asdict(plan.parts).items()},
        "train": case.train,
    }


def _print(row: dict[str, Any]) -> None:
    figures = (
        f"{row['predicted_mib']:9.0f} {row['measured_mib']:9.0f} {row['error_percent']:6.1f} %"
    )
    parts = " ".join(f"{name} {size:.0f}" for name, size in row["parts_mib"].items() if size)
    sys.stdout.write(f"{row['case']:36s} {figures}  {row['moment']:9s} {parts}\n")
    sys.stdout.flush()


class _MeasuredError(Exception):
    """Ends the training when enough was seen."""


def measure(case: Case) -> dict[str, float]:
    """Train for two steps in this process; the peak of the second."""
    _train_two_steps(WARM_UP)  # what libraries load and keep at their first use is not training's
    return _train_two_steps(case)


def _train_two_steps(case: Case) -> dict[str, float]:
    from memory_models import full_rows, write_model

    from students.sft import train

    with tempfile.TemporaryDirectory() as scratch:
        base = write_model(case.facts, Path(scratch) / "base")
        section = TrainSection.model_validate(case.train)
        rows_a_step = section.batch_tokens // section.seq_len
        examples, share = full_rows(section.seq_len, rows_a_step * (_LAST_STEP + 1))
        peak = 0

        def on_progress(progress: Any) -> None:  # noqa: ANN401
            nonlocal peak
            if progress.stage != "train" or progress.done == 0:
                return
            if progress.done == 1:
                Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
            if progress.done == _LAST_STEP:
                peak = _status_bytes("VmHWM")
                raise _MeasuredError

        before = _status_bytes("VmRSS")
        with contextlib.suppress(_MeasuredError):
            train(
                examples,
                base,
                section,
                Path(scratch) / "out",
                Path(scratch) / "checkpoints",
                seed=0,
                on_progress=on_progress,
                checkpoint_seconds=3600,
            )
    return {"peak_bytes": peak - before, "before_bytes": before, "supervised_share": share}


def _status_bytes(key: str) -> int:
    text = Path("/proc/self/status").read_text()
    found = re.search(rf"^{key}:\s+(\d+) kB", text, re.MULTILINE)
    assert found is not None
    return int(found.group(1)) * 1024


if __name__ == "__main__":
    main()
