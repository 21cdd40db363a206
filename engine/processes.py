"""How many processes share a model, and what each of them sees of the machine.

Light: what only checks an option does not wait for torch, unless it must count GPUs.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from distill.errors import RecipeError

_LOOPBACK = {"linux": "lo", "darwin": "lo0"}


@dataclass(frozen=True, slots=True)
class Processes:
    """Processes of this machine that share a model.

    Attributes:
        count: How many.
        gpus: The GPU of each; empty on the CPU.
    """

    count: int
    gpus: tuple[str, ...] = ()

    @classmethod
    def on_gpus(cls, count: int) -> "Processes":
        """One process for each of the first GPUs that this one sees.

        Raises:
            RecipeError: If there are fewer.
        """
        import torch

        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count > found:
            raise RecipeError(
                f"--gpus {count}: this machine has {found}" if found else "--gpus: no GPU is here",
                hint="distill doctor shows what was found; --procs N trains on the CPU",
            )
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        names = visible.split(",") if visible else [str(number) for number in range(found)]
        return cls(count, tuple(names[:count]))

    @classmethod
    def on_cpu(cls, count: int) -> "Processes":
        """Processes that share the CPU, whatever GPUs there are."""
        return cls(count)

    def describe(self) -> str:
        """What they are, in words."""
        on = f"GPUs {', '.join(self.gpus)}" if self.gpus else "the CPU"
        return f"{self.count} processes on {on}"

    def environment(self, rank: int) -> dict[str, str]:
        """Environment of one of them: it sees one GPU or none, and talks to this machine only."""
        here = str(Path(__file__).parents[1])
        packages = [here, *filter(None, [os.environ.get("PYTHONPATH")])]
        given = {
            "PYTHONPATH": os.pathsep.join(packages),
            "CUDA_VISIBLE_DEVICES": self.gpus[rank] if self.gpus else "",
            "PYTHONFAULTHANDLER": "1",
        }
        defaults = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // self.count))}
        return {**defaults, **loopback(), **os.environ, **given}


def loopback() -> dict[str, str]:
    """What keeps processes from talking to each other over a network, as an environment."""
    if sys.platform not in _LOOPBACK:
        return {}
    return dict.fromkeys(("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"), _LOOPBACK[sys.platform])
