"""``SlotRunner``: reads and writes tokens of rows that come and go.

All tokens of a step stand one after the other in one packed row ``[1, N]``: linear layers see
``N`` tokens and no padding, and only attention (``engine.row_attention``) knows rows.

    reading   [a a a a b b b]   two prompts; each attends to itself, its keys go to its places
    writing   [k l m n]         one token of each of four rows, lane by lane

What a row gets does not depend on the rows beside it: its keys begin at place 0, masked places add
exact zeros, and no product is made with fewer than ``LEAST_ROWS`` rows or over a broken step of
places, because CPU libraries add those in another order. So its tokens are the same in any
company, bit for bit, wherever the library rounds a matrix product row by row, as MKL does on CPUs.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from transformers import PreTrainedModel

from engine.footprint import READ_AT_ONCE_TOKENS, whole_steps
from engine.lanes import Lanes
from engine.latent import LatentTap, is_latent
from engine.row import Row
from engine.row_attention import ROWS, Part, Reading, Writing

LEAST_ROWS = 4


class SlotRunner:
    """Runs a model over rows that come and go.

    Attributes:
        rows: Those that are running, in the order of the scores that ``write`` gives.
    """

    def __init__(self, model: PreTrainedModel, *, budget_tokens: int, longest: int) -> None:
        """Take the model over: its attention is set to ours.

        Args:
            model: Of a kind that ``is_supported`` knows.
            budget_tokens: Places for tokens, of all rows together.
            longest: No row holds more tokens.
        """
        model.set_attn_implementation(ROWS)
        self._model = model
        self._budget_tokens = budget_tokens
        self._lanes = Lanes(min(longest, budget_tokens))
        self._is_latent = is_latent(model)
        # A mask of four axes is passed on as it is: nobody computes one that nobody looks at.
        self._no_mask = torch.zeros(1, 1, 1, 1, device=model.device)

    @property
    def rows(self) -> list[Row]:
        """Those that are running."""
        return self._lanes.rows

    @property
    def occupied_tokens(self) -> int:
        """Tokens that the running rows have places for."""
        return self._lanes.occupied_tokens

    def has_room_for(self, row: Row, others: Sequence[Row]) -> bool:
        """Whether a row can be started together with others; one alone always can."""
        wanted = [self._lanes.capacity_for(one.tokens + 1) for one in (row, *others)]
        occupied = self.occupied_tokens
        return occupied + sum(wanted) <= self._budget_tokens or not (occupied or others)

    def read(self, rows: Sequence[Row]) -> torch.Tensor:
        """Read the prompts of new rows, each prompt once; scores of the next token, ``[B, V]``."""
        groups: dict[tuple[int, ...], list[Row]] = {}
        for row in rows:
            groups.setdefault(tuple(row.prompt_ids), []).append(row)
        scores: dict[int, torch.Tensor] = {}
        for batch in _batches(list(groups), READ_AT_ONCE_TOKENS):
            for prompt_ids, scores_V in zip(batch, self._read(batch, groups), strict=True):
                scores |= {id(row): scores_V for row in groups[prompt_ids]}
        return torch.stack([scores[id(row)] for row in rows])

    def _read(
        self, prompts: Sequence[tuple[int, ...]], groups: dict[tuple[int, ...], list[Row]]
    ) -> torch.Tensor:
        places = []
        for prompt_ids in prompts:
            rows = groups[prompt_ids]
            for row in rows:
                lane, slot = self._lanes.place(row, len(prompt_ids) + 1)
                row.cached_tokens = len(prompt_ids)
            places.append((lane, slice(slot + 1 - len(rows), slot + 1)))
        lengths = [len(prompt_ids) for prompt_ids in prompts]
        ends = torch.tensor(lengths).cumsum(0)
        step = Reading(lengths, places, self._tap())
        ids = [token for prompt_ids in prompts for token in prompt_ids]
        positions = [place for length in lengths for place in range(length)]
        return self._forward(step, ids, positions, (ends - 1).tolist())

    def write(self) -> torch.Tensor:
        """Read the next token of every running row; scores of the one after, ``[B, V]``."""
        if full := self._lanes.full_rows():
            self._lanes.lift(full)
        rows = self._lanes.rows
        places = [row.cached_tokens for row in rows]
        bounds = [0]
        for lane in self._lanes:
            bounds.append(bounds[-1] + len(lane.rows))
        parts = [
            Part(
                lane,
                slice(*bound),
                torch.tensor(places[slice(*bound)]),
                whole_steps(max(places[slice(*bound)]) + 1),
            )
            for lane, bound in zip(self._lanes, pairwise(bounds), strict=True)
        ]
        ids = [row.next_input for row in rows]
        scores = self._forward(Writing(parts, self._tap()), ids, places, list(range(len(rows))))
        for row in rows:
            row.cached_tokens += 1
        return scores

    def remove(self, rows: Sequence[Row]) -> None:
        """Forget rows; their places are free."""
        self._lanes.remove(rows)

    def set_back(self) -> list[Row]:
        """Rows that must wait so that the others can grow, those with the fewest tokens; removed.

        They read again what they had drawn, token by token, so that nothing changes for them.
        """
        back: list[Row] = []
        staying = sorted(self._lanes.rows, key=lambda row: row.cached_tokens)
        while len(staying) > 1 and self._wanted(staying) > self._budget_tokens:
            back.append(staying.pop(0))
        for row in back:
            row.cached_tokens = 0
        if back:
            self._lanes.remove(back)
        return back

    def _wanted(self, rows: Sequence[Row]) -> int:
        return sum(self._lanes.capacity_for(row.cached_tokens + 1) for row in rows)

    def _tap(self) -> LatentTap | None:
        return LatentTap() if self._is_latent else None

    def _forward(
        self,
        step: Reading | Writing,
        ids: list[int],
        positions: list[int],
        kept: list[int],
    ) -> torch.Tensor:
        """Scores at the kept places, ``[kept, V]``."""
        missing = max(LEAST_ROWS - len(ids), 0)
        kept_padded = kept + kept[-1:] * max(LEAST_ROWS - len(kept), 0)
        device = self._model.device
        output = self._model(
            input_ids=torch.tensor([ids + ids[-1:] * missing], device=device),
            position_ids=torch.tensor([positions + positions[-1:] * missing], device=device),
            attention_mask=self._no_mask,
            past_key_values=step.latents,
            use_cache=False,
            logits_to_keep=torch.tensor(kept_padded, device=device),
            row_step=step,
        )
        logits: torch.Tensor = output.logits[0, : len(kept)]
        return logits


def _batches(prompts: Sequence[tuple[int, ...]], most_tokens: int) -> list[list[tuple[int, ...]]]:
    """Prompts in batches of so many tokens; a longer one is a batch of its own."""
    batches: list[list[tuple[int, ...]]] = []
    tokens = most_tokens
    for prompt_ids in prompts:
        if tokens + len(prompt_ids) > most_tokens:
            batches.append([])
            tokens = 0
        batches[-1].append(prompt_ids)
        tokens += len(prompt_ids)
    return batches
