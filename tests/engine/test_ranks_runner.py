"""Another rank that repeats what rank 0 tells it computes what rank 0 computes, step by step."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
import torch

from engine.ranks_line import Kind, Line
from engine.ranks_runner import LeadingRunner, follow
from engine.row import Decoding, Row
from engine.runner import Runner, make_runner
from engine.session import Engine
from tests.engine.test_session import PROMPTS, tiny

_BUDGET_TOKENS = 640


class Tape(Line):
    """Keeps what rank 0 says, for another to hear afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[Kind, list[int]]] = []

    @contextmanager
    def asking(self, kind: Kind, numbers: Sequence[int] = ()) -> Iterator[None]:
        self.said.append((kind, list(numbers)))
        yield

    def listen(self) -> Iterator[tuple[Kind, list[int]]]:
        yield from self.said


class Scored:
    """A runner that keeps all scores that it gives."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.scores: list[torch.Tensor] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self.runner, name)

    def read(self, rows: Sequence[Row]) -> torch.Tensor:
        self.scores.append(self.runner.read(rows))
        return self.scores[-1]

    def write(self) -> torch.Tensor:
        self.scores.append(self.runner.write())
        return self.scores[-1]


@pytest.mark.parametrize("kind", ["deepseek_v3", "qwen3_moe", "phi3"])
def test_a_rank_that_follows_computes_what_rank_0_does(kind: str) -> None:
    """Rows are drawn, refilled, cancelled and, but in padded batches, set back for lack of room."""
    model, tape = tiny(kind), Tape()
    engine = Engine(model, end_ids=(), most_rows=4, budget_tokens=_BUDGET_TOKENS, line=tape)
    leader = engine._runner
    assert isinstance(leader, LeadingRunner)
    leader._runner = seen = Scored(leader._runner)
    decoding = Decoding(temperature=1.0, max_tokens=135)
    rows = [engine.add(ids, decoding, name=str(n)) for n, ids in enumerate(PROMPTS[:6])]
    was_set_back = False
    while engine.has_work:
        running = set(engine._running)
        engine.step()
        was_set_back |= any(row.finish is None for row in running - engine._running)
        if len(rows[0].token_ids) == 9:
            engine.cancel(rows[0])
    assert was_set_back == (kind != "phi3")
    assert [len(row.token_ids) for row in rows] == [9, 135, 135, 135, 135, 135]

    follower = Scored(make_runner(model, _BUDGET_TOKENS))
    follow(follower, tape, parameters=0)
    assert len(follower.scores) == len(seen.scores)
    assert all(map(torch.equal, follower.scores, seen.scores))
    assert not follower.runner.rows
