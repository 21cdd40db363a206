"""vLLM against our own engine on one student: greedy answers, accuracy, tokens per second.

    DISTILL_VLLM=path/to/vllm python benchmarks/vllm_backend.py [STUDENT]

STUDENT is `runs/quickstart/student` unless given: `make demo` makes it. 200 embedded problems, once
greedily (the answers and their token counts are compared one by one) and twice at temperature 1.4,
where this student is not sure of itself (accuracies are compared, and tokens a second of CPU time
and of the clock), through the loop, journal and verifier of `distill eval`. Both compute in float32
on the CPU, 64 completions at once.

Expected: at least 198 of 200 greedy answers equal, the rest near ties in rounding; accuracies
within each other's intervals. Speeds are of this CPU and a small model, and say nothing of a GPU,
for which vLLM is taken by itself: here our engine has one thread, vLLM one for its model and one
for its server.
"""

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

if __package__ is None:
    sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

import students
from benchmarks import results_file
from distill.eval_report import ModelReport
from distill.evaluate import evaluate
from distill.problems import embedded_prompts
from distill.recipe import SamplingSection
from distill.traces import read_traces
from distill.types import Completer, Completion, Prompt
from distill.verify import build_verifier
from students.serve.choosing import BackendChoice
from students.serve.completer import BackendCompleter
from students.serve.opening import opened_backend

_PROBLEMS, _ROWS, _SAMPLES = 200, 64, 2
_GREEDY = SamplingSection(temperature=0.0, max_tokens=256)
_DRAWN = SamplingSection(temperature=1.4, max_tokens=256)


def main() -> None:
    """Measure both, compare, print and write the figures."""
    torch.set_num_threads(1)
    student = Path(sys.argv[1] if sys.argv[1:] else "runs/quickstart/student")
    prompts = embedded_prompts("eval", _PROBLEMS, 0)
    own, own_answers = _measure(students.build(student, batch_size=_ROWS), prompts)
    print("own ", own, flush=True)
    began = time.monotonic()
    choice = BackendChoice("vllm", "it is measured")
    with opened_backend(
        student, choice=choice, rows=_ROWS, context_tokens=512, max_tokens=256, tokens_per_record=8
    ) as backend:
        start_seconds = time.monotonic() - began
        completer = BackendCompleter(backend, name="student", fingerprint="", rows=_ROWS)
        vllm, vllm_answers = _measure(completer, prompts)
    print("vllm", vllm, flush=True)
    equal = sum(map(_is_same, own_answers, vllm_answers))
    figures: dict[str, Any] = {
        "problems": _PROBLEMS,
        "greedy_answers_equal": equal,
        "own": own,
        "vllm": {"start_seconds": round(start_seconds, 1), **vllm},
    }
    print(f"greedy: {equal} of {_PROBLEMS} equal, to the token count")
    results_file.write("vllm_backend", figures)


def _measure(
    completer: Completer, prompts: Sequence[Prompt]
) -> tuple[dict[str, float], list[Completion]]:
    """Figures of one back end, and its greedy answers."""
    verifier = build_verifier("answer")
    with tempfile.TemporaryDirectory() as name:

        def asked(what: str, some: Sequence[Prompt], section: SamplingSection) -> ModelReport:
            return evaluate(
                what,
                some,
                completer,
                verifier,
                section,
                samples=1 if section is _GREEDY else _SAMPLES,
                seed=0,
                journal_path=Path(name) / f"{what}.jsonl",
            )

        asked("warm", prompts[:4], _GREEDY)
        greedy = asked("greedy", prompts, _GREEDY)
        judged = read_traces(Path(name) / "greedy.jsonl", prompts)
        answers = [one.trace.completion for one in judged]
        began, begun_cpu = time.monotonic(), _cpu_seconds()
        drawn = asked("drawn", prompts, _DRAWN)
        seconds, cpu_seconds = time.monotonic() - began, _cpu_seconds() - begun_cpu
    tokens = drawn.output_tokens * _PROBLEMS * _SAMPLES
    return {
        "greedy_accuracy": round(greedy.pass_at_1.value, 4),
        "accuracy": round(drawn.pass_at_1.value, 4),
        "accuracy_low": round(drawn.pass_at_1.low, 4),
        "accuracy_high": round(drawn.pass_at_1.high, 4),
        "tokens": round(tokens),
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu_seconds, 2),
        "tokens_per_cpu_second": round(tokens / cpu_seconds),
        "tokens_per_second": round(tokens / seconds),
    }, answers


def _cpu_seconds() -> float:
    """CPU time of this process and of all below it that run."""
    parents, ticks = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            fields = path.read_text().rpartition(")")[2].split()
            pid = int(path.parent.name)
            parents[pid], ticks[pid] = int(fields[1]), int(fields[11]) + int(fields[12])
    tree = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in tree} - tree:
        tree |= more
    return sum(ticks.get(pid, 0) for pid in tree) / os.sysconf("SC_CLK_TCK")


def _is_same(one: Completion, other: Completion) -> bool:
    return (one.reasoning, one.text, one.usage) == (other.reasoning, other.text, other.usage)


if __name__ == "__main__":
    main()
