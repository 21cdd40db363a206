"""Running out of memory while training: said in words, with what to lower first."""

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from distill.errors import DistillError, StageError
from distill.train_sections import TrainSection
from students.memory_advice import memory_advice
from students.memory_settings import settings_of
from students.memory_source import read_facts


@contextmanager
def explained_memory_errors(section: TrainSection, base: Path) -> Iterator[None]:
    """Turn running out of memory into what a user can do about it.

    Raises:
        StageError: Naming the settings to lower, the most effective first.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        where = "the GPU" if torch.cuda.is_available() else "this machine"
        steps = "; ".join(what_to_lower(section))
        if torch.cuda.is_available():
            _, gpu_bytes = torch.cuda.mem_get_info()
            steps = planned_advice(section, base, gpu_bytes) or steps
        detail = next(iter(str(error).splitlines()), "no detail is given")
        raise StageError(
            f"training ran out of memory on {where}: {detail}",
            hint=f"{steps}. What fits: distill fit {base} --method {section.method} "
            f"--length {section.seq_len}. The last checkpoint is kept.",
        ) from error


def what_to_lower(section: TrainSection) -> list[str]:
    """Settings that need less memory, those that change nothing but the speed first."""
    steps = []
    if section.activations in ("auto", "kept"):
        steps.append("set train.activations = 'recomputed'")
    if section.activations != "offloaded":
        steps.append("set train.activations = 'offloaded'")
    steps.append(f"lower train.seq_len (now {section.seq_len:,})")
    if section.method != "qlora":
        steps.append("set train.method = 'qlora'")
    elif section.optimizer != "paged_adamw_8bit":
        steps.append("set train.optimizer = 'paged_adamw_8bit'")
    return steps


def planned_advice(section: TrainSection, base: Path, gpu_bytes: int) -> str:
    """What the memory plan says about this training on such a GPU; empty if it cannot be made."""
    try:
        facts = read_facts(base / "config.json")
    except DistillError:
        return ""
    return memory_advice(facts, settings_of(section, facts.parameters), gpu_bytes)


def peak_memory_bytes() -> int:
    """Most memory that this process has held so far: of its GPU, or of the process without one."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _is_out_of_memory(error: BaseException) -> bool:
    """The CPU's allocator says so in words only."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return "allocate memory" in str(error) or "out of memory" in str(error)
