"""``Meeting``: where the processes that do something together have met, and which one this is.

They tell each other by name what they need to know before they compute together, through the store
that they met at; what they compute goes through torch's process group.
"""

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import torch
from torch import distributed
from torch.distributed.rendezvous import rendezvous

from distill.errors import RecipeError

_LOOK_SECONDS = 0.1
_WAIT = timedelta(hours=1)
_LAUNCHERS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")


@dataclass(frozen=True, slots=True)
class Meeting:
    """This process among some.

    Attributes:
        rank: Which one it is, from 0.
        size: How many there are.
        store: What they tell each other; one for each thread, see ``apart``.
        neighbours: Those on this machine, this one included.
    """

    rank: int
    size: int
    store: Any  # torch's stubs do not know distributed.Store
    neighbours: int

    @classmethod
    def host(cls, size: int) -> "Meeting":
        """Begin one on this machine, as rank 0."""
        # The store would listen to the whole network if it opened the port by itself.
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            port = listener.getsockname()[1]
            store = distributed.TCPStore(  # type: ignore[attr-defined]
                "127.0.0.1",
                port,
                is_master=True,
                wait_for_workers=False,
                master_listen_fd=listener.detach(),
            )
        return cls(0, size, store, size)

    @classmethod
    def join(cls, port: int, rank: int, size: int) -> "Meeting":
        """Come to one on this machine."""
        store = distributed.TCPStore(  # type: ignore[attr-defined]
            "127.0.0.1", port, is_master=False, wait_for_workers=False
        )
        return cls(rank, size, store, size)

    @classmethod
    def launched(cls) -> "Meeting":
        """Meet the processes that torchrun, accelerate or Slurm has started with this one.

        Takes the launcher's variables out of the environment: accelerate, on which transformers'
        Trainer stands, would wrap a model in DDP if it saw them.

        Raises:
            RecipeError: If the environment is not whole, or nobody else comes.
        """
        _see_one_gpu()
        try:
            store, rank, size = next(iter(rendezvous("env://")))
        except (ValueError, RuntimeError) as error:
            raise RecipeError(
                f"this process was started as one of several, but cannot meet them: {error}",
                hint="start with torchrun or accelerate launch, or unset WORLD_SIZE and RANK",
            ) from error
        neighbours = int(os.environ.get("LOCAL_WORLD_SIZE") or size)
        for name in list(os.environ):
            if name in _LAUNCHERS or name.startswith(("ACCELERATE_", "FSDP_")):
                del os.environ[name]
        return cls(rank, size, store, neighbours)

    @property
    def is_first(self) -> bool:
        """Whether this is the one that decides and writes files."""
        return self.rank == 0

    @property
    def port(self) -> int:
        """Where others of this machine come to, of a meeting that was begun here."""
        return int(self.store.port)

    def apart(self, name: str) -> "Meeting":
        """The same meeting, with names of its own and for a thread of its own."""
        prefixed = distributed.PrefixStore(name, self.store.clone())  # type: ignore[attr-defined]
        return replace(self, store=prefixed)

    def tell(self, name: str, text: str) -> None:
        """Say something that any process may hear, now or later."""
        self.store.set(name, text)

    def heard(self, name: str) -> str | None:
        """What was said, if it was."""
        return self.store.get(name).decode() if self.store.check([name]) else None

    def hear(self, name: str) -> str:
        """What is said, however long that takes."""
        while True:
            with suppress(distributed.DistStoreError):
                self.store.wait([name], _WAIT)
                return str(self.store.get(name).decode())

    def gather(self, name: str, look: Callable[[], None] = lambda: None) -> None:
        """Wait until all have come to the same place, however long that takes.

        Args:
            name: Of the place, another one each time.
            look: Called while the others are waited for; ends the wait by raising.
        """
        self.tell(f"{name}/{self.rank}", "")
        names = [f"{name}/{rank}" for rank in range(self.size)]
        while not self.store.check(names):
            look()
            time.sleep(_LOOK_SECONDS)

    @contextmanager
    def group(self, timeout_seconds: float) -> Iterator[None]:
        """Be in torch's default group while the block runs.

        Args:
            timeout_seconds: How long one waits for the others before it gives up.
        """
        with process_group(timeout_seconds, store=self.store, rank=self.rank, world_size=self.size):
            yield


def device_type() -> str:
    """Where models compute."""
    return "cuda" if torch.cuda.is_available() else "cpu"


@contextmanager
def process_group(timeout_seconds: float, **place: Any) -> Iterator[None]:  # noqa: ANN401
    """Join torch's default group while the block runs; ``place`` is what torch wants to know."""
    backend = "cpu:gloo,cuda:nccl" if device_type() == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=timedelta(seconds=timeout_seconds), **place)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def _see_one_gpu() -> None:
    """Or a Trainer would copy the model to all that it sees."""
    local = os.environ.get("LOCAL_RANK")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    if local is not None:
        names = visible if visible != [""] else [str(number) for number in range(int(local) + 1)]
        os.environ["CUDA_VISIBLE_DEVICES"] = names[int(local) % len(names)]
