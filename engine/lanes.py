"""Where the keys and values of running rows lie.

A lane holds rows of one capacity in buffers ``[rows, heads, capacity, width]``, one set a layer;
every row begins at token 0, so nothing is padded at its left and nothing moves when others come
and go. A row that outgrows its lane goes to the lane of twice the capacity: at most half of what
a row occupies is empty, and a short row is never attended over the length of the longest.

    lane of 4    [a b c .]        lane of 8    [k l m n o . . .]
                 [d e . .]

This module knows tensors and lengths, nothing of attention or models.
"""

from collections.abc import Iterator, Sequence

import torch

from engine.footprint import ROOM, capacity_for, whole_steps
from engine.row import Row


class Lane:
    """Rows of one capacity, without gaps.

    Attributes:
        capacity: Tokens that a row can hold.
        rows: Who lies where.
    """

    def __init__(self, capacity: int) -> None:
        """Start empty; buffers are made when something is written."""
        self.capacity = capacity
        self.rows: list[Row] = []
        self._buffers: dict[int, list[torch.Tensor]] = {}

    def buffers(self, layer: int, states: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The layer's buffers, with a place for each row.

        Args:
            layer: Index of the layer.
            states: One tensor ``[..., heads, tokens, width]`` per buffer: what such rows hold.
        """
        found = self._buffers.get(layer)
        if found is None:
            found = [
                one.new_zeros(0, one.shape[-3], self.capacity, one.shape[-1]) for one in states
            ]
        if found[0].shape[0] < len(self.rows):
            found = [_resized(buffer, int(len(self.rows) * ROOM)) for buffer in found]
        self._buffers[layer] = found
        return found

    def remove(self, rows: Sequence[Row]) -> None:
        """Take rows out; others from the end move into their places."""
        leaving = set(map(id, rows))
        kept = len(self.rows) - len(rows)
        holes = [slot for slot in range(kept) if id(self.rows[slot]) in leaving]
        movers = [
            slot for slot in range(kept, len(self.rows)) if id(self.rows[slot]) not in leaving
        ]
        if holes:
            used = max(self.rows[slot].cached_tokens for slot in movers)
            for buffers in self._buffers.values():
                for buffer in buffers:
                    buffer[holes, :, :used] = buffer[movers, :, :used]
        for hole, mover in zip(holes, movers, strict=True):
            self.rows[hole] = self.rows[mover]
        del self.rows[kept:]
        self._shrink()

    def take(self, other: "Lane", rows: Sequence[Row]) -> None:
        """Take rows over from another lane, with what they hold."""
        places = {id(row): slot for slot, row in enumerate(other.rows)}
        theirs = [places[id(row)] for row in rows]
        used = max(row.cached_tokens for row in rows)
        ours = slice(len(self.rows), len(self.rows) + len(rows))
        self.rows += rows
        for layer, sources in list(other._buffers.items()):
            for buffer, source in zip(self.buffers(layer, sources), sources, strict=True):
                buffer[ours, :, :used] = source[theirs, :, :used]
            if len(rows) == len(other.rows):  # at once: not all layers twice
                del other._buffers[layer]
        other.remove(rows)

    @property
    def held_bytes(self) -> int:
        """Bytes of the buffers."""
        return sum(buffer.nbytes for buffers in self._buffers.values() for buffer in buffers)

    def _shrink(self) -> None:
        """Give memory back once less than half of it is used."""
        for layer, buffers in list(self._buffers.items()):
            if not self.rows:
                del self._buffers[layer]
            elif buffers[0].shape[0] > 2 * ROOM * len(self.rows):
                size = int(len(self.rows) * ROOM)
                self._buffers[layer] = [_resized(buffer, size) for buffer in buffers]


class Lanes:
    """All lanes; the order of rows is that of the lanes, shortest first, then that of places."""

    def __init__(self, longest: int) -> None:
        """Start empty.

        Args:
            longest: No row holds more tokens.
        """
        self._longest = whole_steps(longest)
        self._lanes: dict[int, Lane] = {}

    def __iter__(self) -> Iterator[Lane]:
        """The lanes that hold rows, shortest first."""
        return (lane for _, lane in sorted(self._lanes.items()) if lane.rows)

    @property
    def rows(self) -> list[Row]:
        """All rows, in order."""
        return [row for lane in self for row in lane.rows]

    @property
    def occupied_tokens(self) -> int:
        """Tokens that the rows have places for."""
        return sum(lane.capacity * len(lane.rows) for lane in self)

    def capacity_for(self, tokens: int) -> int:
        """Places that a row of so many tokens gets."""
        return capacity_for(tokens, self._longest)

    def place(self, row: Row, tokens: int) -> tuple[Lane, int]:
        """Give a row a place for so many tokens; which lane, and where in it."""
        lane = self._lane(self.capacity_for(tokens))
        lane.rows.append(row)
        return lane, len(lane.rows) - 1

    def full_rows(self) -> list[Row]:
        """Rows that have no place for one more token."""
        return [row for lane in self for row in lane.rows if row.cached_tokens == lane.capacity]

    def lift(self, rows: Sequence[Row]) -> None:
        """Move rows to a lane where they can grow."""
        for lane, leaving in self._by_lane(rows):
            self._lane(self.capacity_for(lane.capacity + 1)).take(lane, leaving)

    def remove(self, rows: Sequence[Row]) -> None:
        """Take rows out, wherever they are."""
        for lane, leaving in self._by_lane(rows):
            lane.remove(leaving)

    def _by_lane(self, rows: Sequence[Row]) -> list[tuple[Lane, list[Row]]]:
        wanted = set(map(id, rows))
        found = [(lane, [row for row in lane.rows if id(row) in wanted]) for lane in self]
        return [(lane, theirs) for lane, theirs in found if theirs]

    def _lane(self, capacity: int) -> Lane:
        return self._lanes.setdefault(capacity, Lane(capacity))


def _resized(buffer: torch.Tensor, rows: int) -> torch.Tensor:
    # Zeros: what was never written is multiplied by a weight of zero, and must be a number.
    resized = buffer.new_zeros(max(rows, 1), *buffer.shape[1:])
    kept = min(rows, buffer.shape[0])
    resized[:kept] = buffer[:kept]
    return resized
