"""``PromptFile``: a prompt set that stays on the disk, so that a million prompts fit into memory.

This module reads what ``distill.prompts.write_prompts`` wrote; it checks no more than that.
"""

import os
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

import orjson

from distill.closing import Closing
from distill.errors import DataError
from distill.types import Prompt


class PromptFile(Sequence[Prompt], Closing):
    """The prompts of a JSONL file, each read when it is asked for."""

    def __init__(self, path: Path) -> None:
        """Find where each line begins.

        Raises:
            DataError: If the file cannot be read.
        """
        self._path = path
        self._offsets = array("Q", [0])
        try:
            self._file = path.open("rb")
            for line in self._file:
                self._offsets.append(self._offsets[-1] + len(line))
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}") from None

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, rank: int) -> Prompt: ...

    @overload
    def __getitem__(self, rank: slice) -> Sequence[Prompt]: ...

    def __getitem__(self, rank: int | slice) -> Prompt | Sequence[Prompt]:
        if isinstance(rank, slice):
            return [self[place] for place in range(*rank.indices(len(self)))]
        if not -len(self) <= rank < len(self):
            raise IndexError(rank)
        place = rank % len(self)
        begin, end = self._offsets[place], self._offsets[place + 1]
        return self._parse(os.pread(self._file.fileno(), end - begin, begin), place)

    def __iter__(self) -> Iterator[Prompt]:
        with self._path.open("rb") as file:
            for place, line in enumerate(file):
                yield self._parse(line, place)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _parse(self, line: bytes, place: int) -> Prompt:
        try:
            return Prompt(**orjson.loads(line))
        except (ValueError, TypeError) as error:
            raise DataError(
                f"{self._path}:{place + 1}: this is no prompt: {error}",
                hint="Something other than this program changed the file: restore it.",
            ) from None
