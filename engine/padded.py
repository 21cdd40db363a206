"""The fallback runner: any causal model of transformers, with the cache that it makes itself.

Rows that start together are one batch, padded at the left, and stay one; finished rows leave it.
Nothing is shared and no batch is refilled, but other batches may run beside it. For models whose
attention ``engine.slots`` does not know: sliding windows, linear attention, sinks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel

from engine.row import Row


@dataclass(slots=True)
class _Batch:
    """Rows that started together."""

    rows: list[Row]
    cache: Any
    mask_B_T: torch.Tensor
    positions_B: torch.Tensor


class PaddedRunner:
    """Runs a model over batches of rows."""

    def __init__(self, model: PreTrainedModel, *, budget_tokens: int) -> None:
        """Wrap a model.

        Args:
            model: Any that ``generate`` can sample from.
            budget_tokens: Places for tokens, of all rows together; a row counts at its limit.
        """
        self._model = model
        self._budget_tokens = budget_tokens
        self._batches: list[_Batch] = []

    @property
    def rows(self) -> list[Row]:
        """Those that are running."""
        return [row for batch in self._batches for row in batch.rows]

    @property
    def occupied_tokens(self) -> int:
        """Tokens that the running rows may come to hold."""
        return sum(len(row.prompt_ids) + row.limit for row in self.rows)

    def has_room_for(self, row: Row, others: Sequence[Row]) -> bool:
        """Whether a row can be started together with others; one alone always can."""
        occupied = self.occupied_tokens
        wanted = sum(len(one.prompt_ids) + one.limit for one in (row, *others))
        return occupied + wanted <= self._budget_tokens or not (occupied or others)

    def read(self, rows: Sequence[Row]) -> torch.Tensor:
        """Read the prompts of new rows; scores of the next token, ``[B, V]``."""
        length = max(len(row.prompt_ids) for row in rows)
        ids_B_T = torch.zeros(len(rows), length, dtype=torch.long)
        mask_B_T = torch.zeros(len(rows), length, dtype=torch.long)
        for index, row in enumerate(rows):
            start = length - len(row.prompt_ids)
            ids_B_T[index, start:] = torch.tensor(row.prompt_ids)
            mask_B_T[index, start:] = 1
            row.cached_tokens = len(row.prompt_ids)
        mask_B_T = mask_B_T.to(self._model.device)
        positions_B_T = (mask_B_T.cumsum(dim=-1) - 1).clamp(min=0)
        cache = DynamicCache(config=self._model.config)
        batch = _Batch(list(rows), cache, mask_B_T, positions_B_T[:, -1])
        self._batches.append(batch)
        return self._forward(batch, ids_B_T, positions_B_T)

    def write(self) -> torch.Tensor:
        """Read the next token of every running row; scores of the one after, ``[B, V]``."""
        return torch.cat([self._write(batch) for batch in self._batches])

    def remove(self, rows: Sequence[Row]) -> None:
        """Forget rows."""
        leaving = set(map(id, rows))
        for batch in self._batches:
            kept = [index for index, row in enumerate(batch.rows) if id(row) not in leaving]
            if kept and len(kept) < len(batch.rows):
                indices = torch.tensor(kept, device=batch.mask_B_T.device)
                batch.cache.batch_select_indices(indices)
                batch.mask_B_T = batch.mask_B_T[indices]
                batch.positions_B = batch.positions_B[indices]
            batch.rows = [batch.rows[index] for index in kept]
        self._batches = [batch for batch in self._batches if batch.rows]

    def set_back(self) -> list[Row]:
        """Nobody: rows are started only if there is room for all that they may write."""
        return []

    def _write(self, batch: _Batch) -> torch.Tensor:
        ids_B_1 = torch.tensor([[row.next_input] for row in batch.rows])
        batch.mask_B_T = torch.cat(
            [batch.mask_B_T, batch.mask_B_T.new_ones(len(batch.rows), 1)], dim=1
        )
        batch.positions_B = batch.positions_B + 1
        for row in batch.rows:
            row.cached_tokens += 1
        return self._forward(batch, ids_B_1, batch.positions_B[:, None])

    def _forward(
        self, batch: _Batch, ids_B_T: torch.Tensor, positions_B_T: torch.Tensor
    ) -> torch.Tensor:
        output = self._model(
            input_ids=ids_B_T.to(self._model.device),
            attention_mask=batch.mask_B_T,
            position_ids=positions_B_T,
            past_key_values=batch.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: torch.Tensor = output.logits[:, -1]
        return logits
