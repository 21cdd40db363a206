"""Freed memory stays with the process while a block runs, for large tensors come again at once.

glibc hands each large block back to the system when it is freed. The next step of training asks for
the same blocks, and the system clears them page by page: 12 % of a step of a small student on a
CPU. Kept, they are there at once, but the process holds more than its tensors (docs/log.md has the
figures). Other C libraries are left alone, and so is a malloc that the user has set himself.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

# Of malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
# Larger blocks still go back: glibc before 2.38 does not always find a freed block again, and some
# of these would take more memory than their pages take time.
_LARGEST_KEPT = 128 << 20
_NEVER = 2**31 - 1
# What glibc itself arrives at in a process that frees large blocks.
_USUAL_MMAP, _USUAL_TRIM = 32 << 20, 64 << 20
# Who sets one of these wants memory back: they are how this is switched off.
SWITCHES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")


@contextmanager
def kept_freed_memory() -> Iterator[None]:
    """Keep freed memory for what comes next; hand it back at the end of the block."""
    library = ctypes.CDLL(None)
    is_set = any(name in os.environ for name in SWITCHES)
    if is_set or not hasattr(library, "gnu_get_libc_version"):
        yield
        return
    library.mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT)
    library.mallopt(_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        library.mallopt(_MMAP_THRESHOLD, _USUAL_MMAP)
        library.mallopt(_TRIM_THRESHOLD, _USUAL_TRIM)
        library.malloc_trim(0)
