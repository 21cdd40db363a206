"""A completer that follows a script, for the tests of everything that samples."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest

from distill.types import Answer, Completion, Prompt, Request, RequestSource, Sampling, Usage

Script = Callable[[Request, Sequence[Request]], Completion]


class ScriptedKill(BaseException):
    """Stands for the end of the process."""


def sums(request: Request, block: Sequence[Request]) -> Completion:
    """Right for some samples, wrong for others, a few cut: the same in every run."""
    draw = random.Random(f"{request.prompt.id}/{request.sample_index}").random()
    right = request.prompt.answer or "0"
    boxed = right if draw < 0.5 else f"{right}9"
    return Completion(
        text="" if draw > 0.9 else rf"The answer is \boxed{{{boxed}}}.",
        reasoning=f"{draw:.6f}",
        finish="length" if draw > 0.9 else "stop",
        usage=Usage(input_tokens=5, output_tokens=10 + int(draw * 10), reasoning_tokens=4),
    )


class ScriptedCompleter:
    """Answers by a script, one by one in random order from a pool."""

    model = "scripted"
    samples_at_once = 1
    is_billed = False
    Kill = ScriptedKill

    def __init__(
        self,
        script: Script = sums,
        *,
        batch_size: int = 4,
        dies_after: int | None = None,
        seed: int = 0,
        fingerprint: str = "f1",
    ) -> None:
        self.fingerprint = fingerprint
        self.asked: list[str] = []
        self._script = script
        self._batch_size = batch_size
        self._dies_after = dies_after
        self._rng = random.Random(seed)

    def progress_figures(self) -> Mapping[str, str]:
        """Nothing beside the sampling loop's own figures."""
        return {}

    def complete(self, source: RequestSource, sampling: Sampling) -> Iterator[Answer]:
        """Yield answers in random order, as servers and finished rows do."""
        waiting: list[Request] = []
        answered = 0
        while True:
            taken = source.take(self._batch_size - len(waiting))
            self.asked += [f"{one.prompt.id}#{one.sample_index}" for one in taken]
            waiting += taken
            if not waiting:
                return
            if answered == self._dies_after:
                raise ScriptedKill
            request = waiting.pop(self._rng.randrange(len(waiting)))
            yield Answer(request, self._script(request, ()))
            answered += 1


@pytest.fixture
def scripted() -> type[ScriptedCompleter]:
    return ScriptedCompleter


@pytest.fixture
def prompts() -> list[Prompt]:
    kinds = ("story", "shop")
    return [
        Prompt(f"p{rank}", f"What is {rank}?", str(rank), kind=kinds[rank % 2], level=2 + rank % 3)
        for rank in range(7)
    ]
