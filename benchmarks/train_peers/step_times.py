"""When each step of a training ended, and the figures of those after the second."""

import resource
import time
from typing import Any

import torch

_WARM_UP = 2


class StepTimes:
    """Filled step by step, by ours and by a peer's alike."""

    def __init__(self) -> None:
        """Nothing has run yet."""
        self._marks: list[tuple[float, int, float]] = []

    def add(self, tokens: int, flops: float = 0.0) -> int:
        """Note that a step has ended, with what was done until now; how many have."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self._marks.append((time.perf_counter(), tokens, flops))
        return len(self._marks)

    def figures(self, peak_flops: float | None = None) -> dict[str, Any]:
        """Speed, share of the card's speed, and the most memory."""
        (begun, tokens_before, flops_before), (ended, tokens, flops) = (
            self._marks[_WARM_UP - 1],
            self._marks[-1],
        )
        seconds = ended - begun
        mfu = None if peak_flops is None else (flops - flops_before) / seconds / peak_flops
        return {
            "tokens_per_second": round((tokens - tokens_before) / seconds, 1),
            "mfu": None if mfu is None else round(mfu, 3),
            "steps": len(self._marks) - _WARM_UP,
            **_memory(),
        }


def _memory() -> dict[str, int]:
    if torch.cuda.is_available():
        peak, reserved = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
        return {"peak_bytes": peak, "reserved_bytes": reserved}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"peak_bytes": peak, "reserved_bytes": peak}
