"""Packed rows as model inputs, with the positions that carry loss.

examples   a a a a b b b      lengths [4, 3]
trained    . . x x . x x
predict from positions [1 2 4 5], where the hidden state before each trained token stands

A row without examples is idle: it is run, because other processes wait for it, and weighs nothing.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import Dataset

from engine.attention import packed_inputs
from students.template import TokenizedExample


class PackedRows(Dataset[dict[str, Any]]):
    """One item per row of a plan: model inputs, ``loss_positions``, ``targets``, ``weights``.

    ``row`` is the row's number in the plan, for whoever wants to know what is in it.
    """

    def __init__(self, examples: Sequence[TokenizedExample], plan: Sequence[Sequence[int]]) -> None:
        """Take the examples and the rows of indices into them."""
        self._examples = examples
        self._plan = plan

    def __len__(self) -> int:
        return len(self._plan)

    def __getitem__(self, index: int) -> dict[str, Any]:
        is_idle = not self._plan[index]
        row = [self._examples[each] for each in self._plan[index]]
        if is_idle:
            row = [min(self._examples, key=len)]
        lengths = [len(example) for example in row]
        token_ids_T = torch.cat([example.token_ids for example in row]).long()
        targets_at_S = torch.cat([example.is_trained for example in row]).nonzero().squeeze(1)
        weights_T = torch.cat([_weights(example) for example in row]) * (not is_idle)
        return {
            "input_ids": token_ids_T[None],
            **packed_inputs(lengths),
            "loss_positions": targets_at_S - 1,
            "targets": token_ids_T[targets_at_S],
            "weights": weights_T[targets_at_S],
            "row": index,
        }

    def lengths(self, index: int) -> list[int]:
        """Tokens of each example in a row."""
        return [len(self._examples[each]) for each in self._plan[index]]

    def example_ids(self, index: int) -> list[str]:
        """Which examples are in a row."""
        return [self._examples[each].example_id for each in self._plan[index]]


def _weights(example: TokenizedExample) -> torch.Tensor:
    if example.token_weights is None:
        return torch.full((len(example),), example.weight)
    return example.token_weights * example.weight
