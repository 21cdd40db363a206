"""One student, several processes: each holds a shard of the weights and takes a share of the rows.

    rows of a step   0  1  2  3  4
    rank 0           0     2     4
    rank 1              1     3     idle

Weights are sharded by torch's FSDP2: a layer is gathered when it runs, and its gradients are added
up when it is done. transformers' Trainer would leave that to accelerate, which falls back to DDP
without a word where FSDP2 is not at hand. Here each process's Trainer believes that it is alone;
what it cannot know, such as the sum of a step's losses, it asks of ``Ranks``. So one path is run on
a GPU and on a CPU, alone and together.

This module knows tensors and processes, nothing of recipes, files or how the processes started.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from distill.errors import RecipeError, StageError
from engine.meeting import device_type, process_group
from students.row_loss import RowLoss


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those that train a student; alone unless told otherwise.

    Attributes:
        rank: Which one it is, from 0.
        size: How many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether it is the one that writes files."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        """Whether there is nobody to ask."""
        return self.size == 1

    def turns(self, rows_per_step: int) -> int:
        """How many rows of a step each process takes.

        Raises:
            RecipeError: If a step has too few rows for all of them.
        """
        if rows_per_step < self.size:
            raise RecipeError(
                f"a step has {rows_per_step} rows (train.batch_tokens / train.seq_len) for "
                f"{self.size} processes; each needs one at least",
                hint=f"raise train.batch_tokens to {self.size} x train.seq_len, lower "
                "train.seq_len, or use fewer processes",
            )
        return ceil(rows_per_step / self.size)

    def deal(self, plan: Sequence[Sequence[int]], rows_per_step: int) -> list[Sequence[int]]:
        """This process's rows of a plan: each step's rows in turn, empty ones where it is idle.

        Example:
            >>> Ranks(1, 2).deal([[0], [1], [2], [3], [4]], rows_per_step=3)
            [[1], [], [4]]
        """
        own: list[Sequence[int]] = []
        for start in range(0, len(plan), rows_per_step):
            step = plan[start : start + rows_per_step]
            places = range(self.rank, ceil(len(step) / self.size) * self.size, self.size)
            own += [step[place] if place < len(step) else [] for place in places]
        return own

    def loads_on(self, method: str) -> str | None:
        """Where a model is loaded: what is to be sharded may be too large for one GPU.

        Four bits are made where they are used, and fit.
        """
        return None if self.is_alone or method == "qlora" else "cpu"

    def total(self, tensor: torch.Tensor) -> torch.Tensor:
        """Sum over all processes."""
        if not self.is_alone:
            distributed.all_reduce(tensor)
        return tensor

    def totals(self, *numbers: float) -> list[float]:
        """Sum of each number over all processes."""
        if self.is_alone:
            return list(numbers)
        summed: list[float] = self.total(
            torch.tensor(numbers, dtype=torch.float64, device=device_type())
        ).tolist()
        return summed

    def agree(self, *, decision: bool) -> bool:
        """What the first process decides, so that all do the same."""
        if self.is_alone:
            return decision
        decided = torch.tensor(int(decision), device=device_type())
        distributed.broadcast(decided, src=0)
        return bool(decided)

    def collect(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        """The tensor of every process, by rank; all of one shape, on the CPU."""
        if self.is_alone:
            return [tensor]
        tensors = [torch.empty_like(tensor) for _ in range(self.size)]
        distributed.all_gather(tensors, tensor)
        return tensors

    def shard(self, row_loss: RowLoss) -> None:
        """Leave each process its shard of every weight; a model on the CPU moves to the GPU."""
        if self.is_alone:
            return
        mesh = init_device_mesh(device_type(), (self.size,))
        for layer in row_loss.layers:
            fully_shard(layer, mesh=mesh)
        fully_shard(row_loss, mesh=mesh)
        register_fsdp_forward_method(row_loss, "judge")

    def check(self, model: torch.nn.Module) -> None:
        """Make sure that training will add up the gradients of all processes by FSDP2.

        Raises:
            StageError: If weights are not sharded, or something wrapped the model in DDP.
        """
        if self.is_alone:
            return
        whole = [
            name
            for name, param in model.named_parameters()
            if param.requires_grad and not isinstance(param, DTensor)
        ]
        if isinstance(model, DistributedDataParallel):
            raise StageError(
                f"the model was wrapped in DDP: {self.size} whole copies instead of shards",
                hint="start with `distill train --gpus N` or torchrun, which shard by FSDP2",
            )
        if whole:
            raise StageError(
                f"{len(whole)} trained weights are not sharded, such as {whole[0]}; "
                f"{self.size} processes would train {self.size} different students",
                hint="this is a fault of distill; please report it with the architecture",
            )


ALONE = Ranks()


def release(row_loss: RowLoss) -> None:
    """Let go of whole weights after a forward without a backward, which would have done it."""
    if isinstance(row_loss, FSDPModule):
        row_loss.reshard()


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """All of a tensor, on the CPU where shards are gathered; every process must ask for it."""
    return tensor.full_tensor().cpu() if isinstance(tensor, DTensor) else tensor


def whole_tree(tree: Any) -> Any:  # noqa: ANN401 - whatever an optimizer keeps
    """The same for each tensor of mappings and lists."""
    if isinstance(tree, torch.Tensor):
        return whole(tree)
    if isinstance(tree, dict):
        return {key: whole_tree(value) for key, value in tree.items()}
    return [whole_tree(value) for value in tree] if isinstance(tree, list) else tree


def share(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """This process's part of a whole tensor, if another of that shape is sharded."""
    if not isinstance(like, DTensor) or tensor.shape != like.shape:
        return tensor
    here = tensor.to(like.device)
    return distribute_tensor(here, like.device_mesh, like.placements, src_data_rank=None)


def shares_of_state(state: dict[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """An optimizer's state dict with this process's part of each tensor."""
    params = [param for group in optimizer.param_groups for param in group["params"]]
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    shared = {
        number: {
            key: share(value, like=param) if isinstance(value, torch.Tensor) else value
            for key, value in state["state"].get(number, {}).items()
        }
        for param, number in zip(params, numbers, strict=True)
    }
    return {**state, "state": {key: value for key, value in shared.items() if value}}


def gather(sharded: torch.nn.Module, copy: torch.nn.Module | None) -> None:
    """Put what was trained in shards into a whole model; every process must take part.

    Args:
        sharded: What was trained.
        copy: The same, untrained, on the process that wants it; ``None`` on the others.
    """
    targets = {} if copy is None else dict(copy.named_parameters())
    with torch.no_grad():
        for name, param in sharded.named_parameters():
            if param.requires_grad:
                trained = whole(param)
                if name in targets:
                    targets[name].copy_(trained)


@contextmanager
def joined(ranks: Ranks, meeting_point: Path, timeout_seconds: float) -> Iterator[Ranks]:
    """Be one of the processes of this machine while the block runs.

    Args:
        ranks: Which one.
        meeting_point: A file that does not exist yet, the same for all.
        timeout_seconds: How long one waits for the others before it gives up.
    """
    store = distributed.FileStore(str(meeting_point), ranks.size)  # type: ignore[attr-defined]
    with process_group(timeout_seconds, store=store, rank=ranks.rank, world_size=ranks.size):
        yield ranks
