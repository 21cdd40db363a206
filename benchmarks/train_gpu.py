r"""Training on one GPU: speed beside TRL, and peak memory beside the memory plan.

    python benchmarks/train_gpu.py speed --trl path/to/trl/bin/python     # an 80 GB card
    python benchmarks/train_gpu.py memory                                 # a 24 GB card is enough
    python benchmarks/train_gpu.py speed --tiny                           # tried out without a GPU

Random weights in the shapes of Qwen2.5, made on the spot. *Speed*: 1.5B and 7B, full and LoRA,
rows of 16,384 tokens packed from documents of log-normal lengths, recomputed activations; useful
tokens a second and MFU of the steps after the second. TRL gets the same documents and settings, in
an environment of its own with trl, peft and bitsandbytes (with flash-attn or without, as ours).
*Memory*: QLoRA of 7B at 32,768 tokens and of 14B at 16,384, the most that torch had allocated. Each
case is a process of its own; ``--only`` names those that are run, the others stay as they were.

Expected, before any GPU was at hand: 1.0 times TRL or more, MFU of 50 % at 7B; memory within 15 %
of the plan and under 24 GiB. Writes ``results/train_gpu_speed.json``, ``train_gpu_memory.json``.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import results_file
import torch

from distill.train_sections import TrainSection
from students.catalog import Architecture
from students.memory_plan import plan_training
from students.memory_settings import settings_of
from students.memory_source import find_facts

ROOT = Path(__file__).parent.parent
TRL_SCRIPT = Path(__file__).parent / "train_peers" / "run_trl_gpu.py"
_TINY = Architecture("qwen2", 2, 64, 2, 1, 32, 128, 1_000, True, 4_096)
_TINY_TOKENS = 512
_GIB: Final = 2**30
_STEPS = 8


@dataclass(frozen=True, slots=True)
class Case:
    """One training on one card."""

    student: str
    length: int
    train: Mapping[str, Any]

    @property
    def name(self) -> str:
        """As ``--only`` finds it."""
        return f"{self.student} {self.train['method']} {self.length:,}"


_BF16 = {"precision": "bf16", "optimizer": "adamw_8bit"}  # 7B in fp32 is 122 GB
SPEED = [
    Case("Qwen2.5-1.5B", 16_384, {"method": "full"}),
    Case("Qwen2.5-1.5B", 16_384, {"method": "lora"}),
    Case("Qwen2.5-7B", 16_384, {"method": "full", **_BF16}),
    Case("Qwen2.5-7B", 16_384, {"method": "lora"}),
]
_PAGED = {"method": "qlora", "optimizer": "paged_adamw_8bit"}
MEMORY = [Case("Qwen2.5-7B", 32_768, _PAGED), Case("Qwen2.5-14B", 16_384, _PAGED)]


def main() -> None:
    """Run the cases, print them, write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", choices=["speed", "memory"])
    parser.add_argument("--only", default="", help="part of a case's name")
    parser.add_argument("--trl", type=Path, help="Python of an environment with trl")
    parser.add_argument("--tiny", action="store_true", help="a tiny shape; a CPU will do")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if not given.tiny and not torch.cuda.is_available():
        raise SystemExit(
            "no GPU here: this benchmark needs one NVIDIA card and a torch built for CUDA "
            "(python -m pip install torch). --tiny tries the script out on a CPU; its figures "
            "say nothing about a GPU and are not written."
        )
    cases = SPEED if given.what == "speed" else MEMORY
    if given.tiny:
        cases = [replace(case, length=_TINY_TOKENS) for case in cases]
    if given.child is not None:
        figures = train(cases[given.child], facts_of(cases[given.child], given), given.folder)
        sys.stdout.write(f"FIGURES {json.dumps(figures)}\n")
        return
    compare = compare_speed if given.what == "speed" else compare_memory
    for number, case in enumerate(cases):
        if given.only in case.name:
            found = _in_folder(lambda folder, at=number: compare(cases[at], at, folder, given))
            print(case.name, json.dumps(found), flush=True)
            if not given.tiny:
                _keep(f"train_gpu_{given.what}", case.name, found)


def facts_of(case: Case, given: argparse.Namespace) -> Architecture:
    """The shape that is trained."""
    return _TINY if given.tiny else find_facts(case.student).facts


def compare_speed(
    case: Case, number: int, folder: Path, given: argparse.Namespace
) -> dict[str, Any]:
    """Ours, and TRL's if it is there."""
    make_inputs(facts_of(case, given), case.length, folder)
    found: dict[str, Any] = {"ours": _ours("speed", number, folder, given)}
    if given.trl is not None:
        settings = {**case.train, "length": case.length, "steps": _STEPS, "r": 32, "alpha": 64}
        found["TRL"] = _figures([given.trl, TRL_SCRIPT, folder, json.dumps(settings)])
        ours, theirs = (found[name]["tokens_per_second"] for name in ("ours", "TRL"))
        found["ours_by_trl"] = round(ours / theirs, 2)
        if found["ours"]["mfu"]:  # the same model on the same documents
            found["TRL"]["mfu"] = round(found["ours"]["mfu"] * theirs / ours, 3)
    return found


def compare_memory(
    case: Case, number: int, folder: Path, given: argparse.Namespace
) -> dict[str, Any]:
    """The plan, and what was allocated; a card takes its overhead beside that."""
    facts = facts_of(case, given)
    make_inputs(facts, case.length, folder)
    ours = _ours("memory", number, folder, given)
    section = section_of(case)
    on_gpu = torch.cuda.is_available()
    plan = plan_training(facts, settings_of(section, facts.parameters, on_gpu=on_gpu))
    tensors = plan.total - plan.parts.overhead
    return {
        "planned_gib": round(plan.total / _GIB, 2),
        "planned_tensors_gib": round(tensors / _GIB, 2),
        "allocated_gib": round(ours["peak_bytes"] / _GIB, 2),
        "reserved_gib": round(ours["reserved_bytes"] / _GIB, 2),
        "error_percent": round(100 * (tensors / ours["peak_bytes"] - 1), 1),
        "parts": asdict(plan.parts),
    }


def section_of(case: Case) -> TrainSection:
    """A row a step, activations worked out again."""
    common = {"activations": "recomputed", "held_out_share": 0.0, "epochs": 1}
    sizes = {"seq_len": case.length, "batch_tokens": case.length}
    return TrainSection.model_validate({**common, **sizes, **case.train})


def make_inputs(facts: Architecture, length: int, folder: Path) -> None:
    """Write ``base/`` and ``documents.jsonl``: digits, two a token, until all steps have a row."""
    from memory_models import write_model

    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.device(device):
        write_model(facts, folder / "base", torch.bfloat16)
    torch.cuda.empty_cache()
    rng = random.Random(0)
    lines, total = [], 0
    while total < length * (_STEPS + 1):
        size = min(int(rng.lognormvariate(7.0, 0.8)) + 16, length - 64)
        answer = "".join(rng.choices("123456789", k=2 * size))
        lines.append(json.dumps({"prompt": "Go on.", "completion": answer}) + "\n")
        total += size
    (folder / "documents.jsonl").write_text("".join(lines), encoding="utf-8")


class _Ended(Exception):  # noqa: N818 - not an error
    """Enough was seen: nothing is saved."""


def train(case: Case, facts: Architecture, folder: Path) -> dict[str, Any]:
    """Our stage of training, in this process."""
    sys.path.insert(0, str(TRL_SCRIPT.parent))
    from step_times import StepTimes

    import students.sft
    from distill.data_sections import FileData
    from distill.training_data import open_training_data
    from students.flops import peak_flops
    from students.steps import StepReporter

    times = StepTimes()

    class Clocked(StepReporter):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - passed on
            super().on_step_end(*args, **kwargs)
            if times.add(self.tokens, self._flops) == _STEPS:
                raise _Ended

    students.sft.StepReporter = Clocked
    try:
        students.sft.train(
            open_training_data(FileData(path=folder / "documents.jsonl")).read(),
            folder / "base",
            section_of(case),
            folder / "student",
            folder / "checkpoints",
            seed=0,
            on_progress=lambda _: None,
            checkpoint_seconds=1e9,
        )
    except _Ended:
        return {**times.figures(peak_flops()), "parameters": facts.parameters}
    raise SystemExit(f"fewer than {_STEPS} steps")


def _ours(what: str, number: int, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, what, "--child", str(number), "--folder", folder]
    return _figures([*command, *(["--tiny"] if given.tiny else [])])


def _figures(command: list[Any]) -> dict[str, Any]:
    """The one line of a process that counts."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    if command[0] == sys.executable:
        environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("FIGURES ")]
    if done.returncode or not lines:
        raise SystemExit(f"{Path(command[1]).name} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(lines[-1].removeprefix("FIGURES "))
    return found


def _in_folder(work: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        return work(Path(folder))


def _keep(file: str, name: str, found: dict[str, Any]) -> None:
    path = results_file.RESULTS / f"{file}.json"
    known = json.loads(path.read_text(encoding="utf-8"))["figures"] if path.exists() else {}
    card = torch.cuda.get_device_name()
    results_file.write(file, {**known, name: {"card": card, **found}})


if __name__ == "__main__":
    main()
