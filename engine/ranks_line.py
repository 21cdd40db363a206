"""``Line``: what rank 0 tells the other ranks to do, one message after the other.

Every rank runs the same model code in the same order, or all of them wait for each other for ever.
So only rank 0 decides, and a message says all that a step reads:

    read    [2 [5 6] 3 [5 7 8]]   prompts of new rows, each after its length
    write   [9 4]                 the next token of each running row
    remove  [1]                   rows that leave, by their place
    pulse   []                    rank 0 lives and has nothing to do: it verifies, or waits
    end     []

A message is two broadcasts on the CPU, whatever the model computes on: kind and length, then the
numbers. The line is taken from a message to the end of what it asks for: a pulse comes from a
thread of its own, and must not stand between a message and the exchanges of the model.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum

import torch
from torch import distributed

_PULSES = 4
"""So many in the time that a rank may be silent."""


class Kind(IntEnum):
    """What a message asks for."""

    READ = 0
    WRITE = 1
    REMOVE = 2
    PULSE = 3
    END = 4


class Line:
    """One end of the line; torch's default group must be there.

    Attributes:
        steps: Messages whose work is done, pulses not counted.
        is_busy: Whether this rank is between a message and the end of its work.
    """

    def __init__(self) -> None:
        """Begin with nothing said."""
        self.steps = 0
        self.is_busy = False
        self._turn = threading.Lock()
        self._is_over = threading.Event()

    @contextmanager
    def asking(self, kind: Kind, numbers: Sequence[int] = ()) -> Iterator[None]:
        """Tell the other ranks, and do the same while the block runs."""
        with self._turn:
            self.is_busy = True
            _broadcast([kind, len(numbers)])
            if numbers:
                _broadcast(numbers)
            yield
            self.steps += 1
            self.is_busy = False

    def listen(self) -> Iterator[tuple[Kind, list[int]]]:
        """What rank 0 asks for, to its end; the work is done when the next message is asked for."""
        while True:
            kind, length = _broadcast([0, 0])
            if kind == Kind.END:
                return
            numbers = _broadcast([0] * length) if length else []
            if kind == Kind.PULSE:
                continue
            self.is_busy = True
            yield Kind(kind), numbers
            self.steps += 1
            self.is_busy = False

    @contextmanager
    def pulsing(self, seconds: float) -> Iterator[None]:
        """Show the others that rank 0 lives while the block runs; then let them go.

        Not if it ends in the middle of a step: they wait in another place then.

        Args:
            seconds: How long they wait for a message before they give up.
        """
        pulse = threading.Thread(target=self._pulse, args=(seconds / _PULSES,), daemon=True)
        pulse.start()
        try:
            yield
        finally:
            self._is_over.set()
            if not self.is_busy:
                with self.asking(Kind.END):
                    pass

    def _pulse(self, seconds: float) -> None:
        while not self._is_over.wait(seconds):
            with self._turn:
                if self._is_over.is_set() or self.is_busy:  # a step has failed: it is over
                    return
                try:
                    _broadcast([Kind.PULSE, 0])
                except RuntimeError:  # a rank is gone: the next message fails as well, and is heard
                    return


def _broadcast(numbers: Sequence[int]) -> list[int]:
    """The numbers of rank 0; on another rank they say how many come."""
    tensor = torch.tensor(numbers, dtype=torch.int64)
    distributed.broadcast(tensor, src=0)
    received: list[int] = tensor.tolist()
    return received
