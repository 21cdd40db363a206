"""One engine, one model over several ranks: rank 0 runs the engine, the others its model alone.

The engine speaks to its model through a ``Runner``. On rank 0 that is a ``LeadingRunner``, which
tells the other ranks before it does anything; each of them does the same to rows of its own, which
hold no more than token ids. Nothing else happens anywhere but on rank 0: requests, text, drawing,
verdicts, the journal. So all ranks read the same tokens, and nobody has to draw alike.
"""

from collections.abc import Iterator, Sequence

import torch

from engine.drawing import UniformStream
from engine.ranks_line import Kind, Line
from engine.row import Decoding, Row
from engine.runner import Runner
from engine.threads import fitting_threads


class LeadingRunner:
    """A runner that the other ranks follow."""

    def __init__(self, runner: Runner, line: Line) -> None:
        """Wrap rank 0's own runner."""
        self._runner = runner
        self._line = line

    @property
    def rows(self) -> list[Row]:
        """Those that are running."""
        return self._runner.rows

    @property
    def occupied_tokens(self) -> int:
        """Tokens that the running rows have places for."""
        return self._runner.occupied_tokens

    def has_room_for(self, row: Row, others: Sequence[Row]) -> bool:
        """Whether a row can be started together with others; one alone always can."""
        return self._runner.has_room_for(row, others)

    def read(self, rows: Sequence[Row]) -> torch.Tensor:
        """Read the prompts of new rows; scores of the next token, ``[B, V]``."""
        numbers: list[int] = []
        for row in rows:
            numbers += [len(row.prompt_ids), *row.prompt_ids]
        with self._line.asking(Kind.READ, numbers):
            return self._runner.read(rows)

    def write(self) -> torch.Tensor:
        """Read the next token of every running row; scores of the one after, ``[B, V]``."""
        with self._line.asking(Kind.WRITE, [row.next_input for row in self._runner.rows]):
            return self._runner.write()

    def remove(self, rows: Sequence[Row]) -> None:
        """Forget rows; their places are free."""
        leaving = set(map(id, rows))
        places = [place for place, row in enumerate(self.rows) if id(row) in leaving]
        with self._line.asking(Kind.REMOVE, places):
            self._runner.remove(rows)

    def set_back(self) -> list[Row]:
        """Rows that were removed so that the others can grow: they start again."""
        before = self._runner.rows
        back = self._runner.set_back()
        if back:
            gone = set(map(id, back))
            places = [place for place, row in enumerate(before) if id(row) in gone]
            with self._line.asking(Kind.REMOVE, places):
                pass
        return back


@torch.inference_mode()
def follow(runner: Runner, line: Line, *, parameters: int) -> None:
    """Do what rank 0 asks for, until it ends.

    Args:
        runner: Of this rank's shards, made like rank 0's.
        line: To rank 0.
        parameters: Of the whole model; small ones are worth one thread.
    """
    with fitting_threads(parameters):
        for kind, numbers in line.listen():
            if kind == Kind.READ:
                runner.read([_row(prompt_ids) for prompt_ids in _prompts(numbers)])
            elif kind == Kind.WRITE:
                for row, token in zip(runner.rows, numbers, strict=True):
                    row.token_ids.append(token)
                runner.write()
            elif kind == Kind.REMOVE:
                rows = runner.rows
                runner.remove([rows[place] for place in numbers])


def _prompts(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    """The prompts of a message, each after its length."""
    start = 0
    while start < len(numbers):
        end = start + 1 + numbers[start]
        yield numbers[start + 1 : end]
        start = end


def _row(prompt_ids: Sequence[int]) -> Row:
    """A row from which nothing is drawn: each write brings its next token."""
    return Row(tuple(prompt_ids), Decoding(), UniformStream(""), limit=0)
