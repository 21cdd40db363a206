"""``BackendCompleter``: a back end of the server as a ``Completer``, so that it can be evaluated.

The sampling loop, its journal and its budget are the same as for any model. Requests are kept under
way up to a number; a program that has died, or sends no token any more, ends the evaluation in its
own words, and the same command goes on with what is missing.
"""

import asyncio
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import aclosing

from distill.errors import ModelError
from distill.reasoning import SplitText, split_reasoning
from distill.types import (
    Answer,
    Completion,
    Message,
    Request,
    RequestSource,
    Sampling,
    Usage,
)
from students.serve.backend import Backend, ChatRequest, Delta, End, RequestError

_STALL_SECONDS = 300.0
"""A first request may compile kernels."""
_SAMPLES_AT_ONCE = 16
_DIGITS = 5  # as much as float32 holds

_Tasks = dict["asyncio.Task[Completion]", Request]


class BackendCompleter:
    """Samples a back end, up to ``rows`` requests at once."""

    samples_at_once = _SAMPLES_AT_ONCE
    is_billed = False

    def __init__(
        self,
        backend: Backend,
        *,
        name: str,
        fingerprint: str,
        rows: int,
        stall_seconds: float = _STALL_SECONDS,
    ) -> None:
        """Take a back end, which others do not use.

        Args:
            backend: Draws the completions; whoever opened it ends it.
            name: What traces call the model.
            fingerprint: Hash of its weights, tokenizer and template.
            rows: Completions that are drawn at once.
            stall_seconds: Without a token, after which it counts as stopped.
        """
        self.model = name
        self.fingerprint = fingerprint
        self._backend = backend
        self._rows = rows
        self._stall_seconds = stall_seconds

    def progress_figures(self) -> Mapping[str, str]:
        """Who draws."""
        return {"by": self._backend.name}

    def complete(self, source: RequestSource, sampling: Sampling) -> Iterator[Answer]:
        """Keep requests under way until there are no more, yielding each when it is answered.

        Raises:
            ModelError: If the back end fails or stalls.
        """
        with asyncio.Runner() as runner:  # closing it cancels what is under way
            tasks: _Tasks = {}
            loop = runner.get_loop()
            while True:
                for request in source.take(self._rows - len(tasks)):
                    tasks[loop.create_task(self._completed(request, sampling))] = request
                if not tasks:
                    return
                for task in runner.run(self._some(tasks)):
                    yield Answer(tasks.pop(task), task.result())

    async def _some(self, tasks: _Tasks) -> set["asyncio.Task[Completion]"]:
        """Wait for those that are answered next."""
        while True:
            drawn = self._backend.drawn_tokens
            done, _ = await asyncio.wait(
                tasks, timeout=self._stall_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if done:
                return done
            if self._backend.drawn_tokens == drawn:
                raise ModelError(
                    f"{self._backend.name} sent no token for {self._stall_seconds:g} s",
                    hint="The same command goes on with what is missing.",
                )

    async def _completed(self, request: Request, sampling: Sampling) -> Completion:
        asked = ChatRequest(
            messages=[Message("user", request.prompt.text)],
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=_seed(request, sampling.seed),
            wants_logprobs=sampling.keeps_logprobs,
        )
        parts = {"reasoning": "", "answer": ""}
        logprobs: list[float] = []
        try:
            async with aclosing(self._backend.complete(asked, request.sample_index)) as items:
                async for item in items:
                    if isinstance(item, Delta):
                        parts[item.kind] += item.text
                        logprobs += [round(one.logprob, _DIGITS) for one in item.logprobs]
                    else:
                        kept = tuple(logprobs) if sampling.keeps_logprobs else None
                        return _completion(parts, kept, item)
        except RequestError as error:  # this prompt cannot be met, such as one that is too long
            return Completion(text="", finish="error", error=error.problem)
        raise ModelError(f"{self._backend.name} ended a completion without saying why")


def _completion(
    parts: Mapping[str, str], logprobs: tuple[float, ...] | None, end: End
) -> Completion:
    split = SplitText(parts["reasoning"].strip(), parts["answer"].strip())
    if not split.reasoning:  # a stream cannot know of a closing tag that no opening one precedes
        split = split_reasoning(parts["answer"])
    has_closed = split.reasoning is None and end.reasoning_tokens > 0
    return Completion(
        text=split.answer,
        reasoning="" if has_closed else split.reasoning,
        finish=end.finish,
        usage=Usage(
            input_tokens=end.prompt_tokens,
            output_tokens=end.completion_tokens,
            reasoning_tokens=end.reasoning_tokens,
        ),
        logprobs=logprobs,
    )


def _seed(request: Request, seed: int) -> int:
    """Another one for each prompt; the choice of a request tells its samples apart."""
    digest = hashlib.sha256(f"{seed}/{request.prompt.id}/{request.prompt.text}".encode()).digest()
    return int.from_bytes(digest[:7])
