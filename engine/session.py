"""``Engine``: many rows on one device, each drawn with settings and numbers of its own.

Rows can be added and cancelled at any time; each ``step`` gives every running row one token and
starts waiting rows in the places of finished ones:

    engine = Engine(model, end_ids={2})
    row = engine.add(prompt_ids, Decoding(temperature=0.6), name="seed/prompt/0")
    while engine.has_work:
        for row in engine.step():
            print(row.token_ids[-1], row.finish)

Rows with the same prompt that start together share one reading of it. Memory is bounded by
``budget_tokens``: rows wait, and are set back if need be, so that those that run can grow. The
engine knows token ids; text, stop strings and requests are its callers' business. It is not
thread-safe: one thread adds, steps and cancels.
"""

from collections import deque
from collections.abc import Collection, Sequence

import torch
from transformers import PreTrainedModel

from engine.drawing import UniformStream, draw_tokens, penalised, token_logprobs
from engine.memory import budget_tokens_for
from engine.ranks_line import Line
from engine.ranks_runner import LeadingRunner
from engine.row import Decoding, Row
from engine.runner import Runner, longest_row, make_runner
from engine.threads import fitting_threads


class Engine:
    """Samples one model."""

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        end_ids: Collection[int],
        most_rows: int = 256,
        budget_tokens: int | None = None,
        line: Line | None = None,
    ) -> None:
        """Take a model over.

        Args:
            model: In evaluation mode, on the device it shall run on.
            end_ids: Tokens that end a row.
            most_rows: Rows that run at once.
            budget_tokens: Places for tokens in the cache, of all rows together; by default what
                the free memory holds.
            line: To the other ranks that hold parts of the model; ``None`` if this one has it all.
        """
        self._model = model
        self._parameters = model.num_parameters()
        self._end_ids = frozenset(end_ids)
        self._most_rows = most_rows
        budget = budget_tokens or budget_tokens_for(model)
        self.longest = longest_row(model, budget)
        """Tokens of the longest row that can be held, its prompt included."""
        runner = make_runner(model, budget)
        self._runner: Runner = runner if line is None else LeadingRunner(runner, line)
        self._waiting: deque[Row] = deque()
        self._running: set[Row] = set()

    @property
    def has_work(self) -> bool:
        """Whether any row waits or runs."""
        return bool(self._waiting or self._running)

    @property
    def free_rows(self) -> int:
        """Rows that could be added and would not wait for a place."""
        return self._most_rows - len(self._running) - len(self._waiting)

    @property
    def running_rows(self) -> int:
        """Rows that get a token in each step."""
        return len(self._running)

    @property
    def occupied_tokens(self) -> int:
        """Tokens that the running rows have places for; at most the budget."""
        return self._runner.occupied_tokens

    def add(self, prompt_ids: Sequence[int], decoding: Decoding, *, name: str) -> Row:
        """Ask for a row.

        Args:
            prompt_ids: What the model reads first, at least one token.
            decoding: How it is drawn.
            name: What its random numbers come from: the same name, prompt and settings give the
                same tokens.

        Raises:
            ValueError: If the prompt is empty, or leaves no place for a token.
        """
        room = self.longest - len(prompt_ids)
        if not prompt_ids or room < 1:
            raise ValueError(
                f"a prompt of {len(prompt_ids)} tokens, allowed: 1..{self.longest - 1}"
            )
        limit = min(decoding.max_tokens, room)
        row = Row(tuple(prompt_ids), decoding, UniformStream(name), limit)
        self._waiting.append(row)
        return row

    @torch.inference_mode()
    def cancel(self, row: Row) -> None:
        """Stop a row; its place is free. Nothing happens if it has ended."""
        if row.finish is not None:
            return
        row.finish = "cancelled"
        if row in self._running:
            self._running.remove(row)
            self._runner.remove([row])
        else:
            self._waiting.remove(row)

    @torch.inference_mode()
    def step(self) -> list[Row]:
        """One token for every running row, and for rows that start now; those that got one."""
        with fitting_threads(self._parameters):
            scores: list[torch.Tensor] = []
            rows: list[Row] = []
            if self._running:
                self._wait_again(self._runner.set_back())
                scores.append(self._runner.write())
                rows = self._runner.rows
            if starting := self._next_to_start():
                scores.append(self._runner.read(starting))
                self._running.update(starting)
                rows = rows + starting
            if not rows:
                return []
            return self._draw(rows, torch.cat(scores))

    def _wait_again(self, rows: Sequence[Row]) -> None:
        self._running.difference_update(rows)
        self._waiting.extendleft(rows)

    def _next_to_start(self) -> list[Row]:
        starting: list[Row] = []
        while (
            self._waiting
            and len(self._running) + len(starting) < self._most_rows
            and self._runner.has_room_for(self._waiting[0], starting)
        ):
            starting.append(self._waiting.popleft())
        return starting

    def _draw(self, rows: list[Row], scores_B_V: torch.Tensor) -> list[Row]:
        """Draw for the rows that have been read to their end, and let finished ones go."""
        drawn = [index for index, row in enumerate(rows) if row.awaits_draw]
        if len(drawn) < len(rows):
            rows, scores_B_V = [rows[index] for index in drawn], scores_B_V[drawn]
        finished = []
        for indices in _alike(rows):
            alike = [rows[index] for index in indices]
            is_all = len(alike) == len(rows)
            self._draw_alike(alike, scores_B_V if is_all else scores_B_V[indices])
        for row in rows:
            if row.token_ids[-1] in self._end_ids:
                row.finish = "stop"
            elif len(row.token_ids) == row.limit:
                row.finish = "length"
            if row.finish is not None:
                finished.append(row)
        if finished:
            self._running.difference_update(finished)
            self._runner.remove(finished)
        return rows

    def _draw_alike(self, rows: list[Row], scores_B_V: torch.Tensor) -> None:
        decoding = rows[0].decoding
        biased_B_V = scores_B_V
        if decoding.repetition_penalty != 1:
            biased_B_V = torch.stack(
                [
                    penalised(one, {*row.prompt_ids, *row.token_ids}, decoding.repetition_penalty)
                    for row, one in zip(rows, scores_B_V, strict=True)
                ]
            )
        uniforms = [row.uniforms.next() for row in rows] if decoding.temperature else []
        tokens_B = draw_tokens(
            biased_B_V,
            torch.tensor(uniforms, dtype=torch.float64, device=scores_B_V.device),
            decoding.temperature,
            decoding.top_p,
            top_k=decoding.top_k,
            min_p=decoding.min_p,
        )
        for row, token in zip(rows, tokens_B.tolist(), strict=True):
            row.token_ids.append(token)
        if decoding.keeps_logprobs:
            logprobs = token_logprobs(scores_B_V, tokens_B).tolist()
            for row, logprob in zip(rows, logprobs, strict=True):
                row.logprobs.append(logprob)


def _alike(rows: Sequence[Row]) -> list[list[int]]:
    """Indices of rows by the settings that they are drawn with."""
    groups: dict[Decoding, list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(row.decoding, []).append(index)
    return list(groups.values())
