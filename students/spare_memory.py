"""Whether a machine has so much memory that training may keep what it has freed.

Kept blocks save the time that clearing new ones takes, but between them is room that nothing fits
into: small models held up to 2.4 times what the memory plan says (docs/log.md).
"""

from pathlib import Path

import torch

from distill.errors import DistillError
from distill.train_sections import TrainSection
from engine.memory import free_memory_bytes
from students.memory_plan import plan_training
from students.memory_settings import settings_of
from students.memory_source import read_facts

_HELD_TIMES = 4


def has_memory_to_spare(section: TrainSection, base: Path, processes: int = 1) -> bool:
    """Whether freed blocks may stay: on a CPU, with room for several times the plan.

    Args:
        section: How the base is trained.
        base: Folder of the base; one that no plan can be made for gets no more than it needs.
        processes: On this machine, which do the same.
    """
    if torch.cuda.is_available():
        return False
    try:
        facts = read_facts(base / "config.json")
    except DistillError:
        return False
    plan = plan_training(facts, settings_of(section, facts.parameters, on_gpu=False), on_gpu=False)
    needed = plan.total + plan.main_memory
    return _HELD_TIMES * processes * needed <= free_memory_bytes()
