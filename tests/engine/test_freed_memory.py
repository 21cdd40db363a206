import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from engine.freed_memory import SWITCHES

# Run where nothing else asks for memory: it prints how many pages the system had to clear.
PROGRAM = """
import resource
from pathlib import Path
import torch
from engine.freed_memory import kept_freed_memory

def cleared(times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.ones(16 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def held():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

outside = cleared(4)
with kept_freed_memory():
    cleared(20)
    inside, held_inside = cleared(4), held()
print(outside, inside, held_inside - held())
"""


def pages_cleared(**environment: str) -> tuple[int, int, int]:
    """Outside of the block, inside of it; and bytes handed back at its end."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=Path(__file__).parents[2],
        env={name: value for name, value in os.environ.items() if name not in SWITCHES}
        | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    outside, inside, handed_back = map(int, done.stdout.split())
    return outside, inside, handed_back


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have another allocator")
def test_freed_memory_is_kept_inside_the_block_and_handed_back_after_it() -> None:
    outside, inside, handed_back = pages_cleared()
    tensor = 64 << 20
    assert outside >= 4 * tensor / resource.getpagesize() / 512  # of huge pages at most
    assert inside < outside / 10
    assert handed_back > tensor / 2


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have another allocator")
def test_a_malloc_that_the_user_has_set_is_left_alone() -> None:
    outside, inside, _ = pages_cleared(MALLOC_MMAP_THRESHOLD_="65536")
    assert inside > outside / 2
