"""``LocalCompleter``: a causal language model on this machine as a ``Completer``.

It renders prompts, keeps the engine filled from the request source, and turns finished rows into
completions. A sample's random numbers come from seed, prompt and sample index alone, and a row is
computed as if it were alone (``engine.slots``), so what is sampled does not depend on the batch.
"""

from collections.abc import Iterator, Mapping

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from distill.reasoning import THINK_CLOSE, split_reasoning
from distill.types import (
    Answer,
    Completion,
    FinishReason,
    Message,
    Request,
    RequestSource,
    Sampling,
    Usage,
)
from engine.chat_format import is_reasoning_opened, render
from engine.ranks_line import Line
from engine.row import Decoding, Row
from engine.session import Engine

_REFILL_SHARE = 8
"""Free rows are filled once they are an eighth of all: many prompts are read at once."""
SAMPLES_AT_ONCE = 16
"""Of one prompt: its prompt is read once for all of them."""


class LocalCompleter:
    """Samples a transformers model, up to ``batch_size`` requests at once."""

    samples_at_once = SAMPLES_AT_ONCE
    is_billed = False

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str,
        fingerprint: str,
        batch_size: int = 256,
        budget_tokens: int | None = None,
        line: Line | None = None,
    ) -> None:
        """Wrap a loaded model.

        Args:
            model: In evaluation mode, on the device it shall run on.
            tokenizer: With a chat template.
            name: What traces call the model.
            fingerprint: Hash of its weights, tokenizer and template.
            batch_size: Rows decoded at once.
            budget_tokens: Places for tokens in the cache; by default what the memory holds.
            line: To the other ranks that hold parts of the model, if there are any.
        """
        self.model = name
        self.fingerprint = fingerprint
        self._tokenizer = tokenizer
        self._batch_size = batch_size
        self._end_ids = end_ids(model, tokenizer)
        self._engine = Engine(
            model,
            end_ids=self._end_ids,
            most_rows=batch_size,
            budget_tokens=budget_tokens,
            line=line,
        )

    def progress_figures(self) -> Mapping[str, str]:
        """Nothing beside the sampling loop's own figures."""
        return {}

    def complete(self, source: RequestSource, sampling: Sampling) -> Iterator[Answer]:
        """Keep rows running until there are no more, yielding each answer when it is finished."""
        decoding = Decoding(
            sampling.temperature,
            sampling.top_p,
            max_tokens=sampling.max_tokens,
            keeps_logprobs=sampling.keeps_logprobs,
        )
        under_way: dict[Row, Request] = {}
        try:
            while True:
                yield from self._fill(source, sampling.seed, decoding, under_way)
                if not under_way:
                    return
                for row in self._engine.step():
                    if row.finish is not None:
                        yield Answer(under_way.pop(row), self._completion(row))
        except GeneratorExit:  # nobody wants more; after a failure there is nothing to cancel with
            for row in under_way:
                self._engine.cancel(row)
            raise

    def _fill(
        self,
        source: RequestSource,
        seed: int,
        decoding: Decoding,
        under_way: dict[Row, Request],
    ) -> Iterator[Answer]:
        """Take requests while there is room; a prompt that is too long is answered at once."""
        is_failing = True
        free = self._batch_size - len(under_way)
        if under_way and free * _REFILL_SHARE < self._batch_size:
            return
        while is_failing and (requests := source.take(self._batch_size - len(under_way))):
            is_failing = False
            for request in requests:
                message = Message("user", request.prompt.text)
                prompt_ids = render(self._tokenizer, [message], add_generation_prompt=True)
                if len(prompt_ids) >= self._engine.longest:
                    is_failing = True
                    yield Answer(request, self._too_long(prompt_ids))
                    continue
                row = self._engine.add(prompt_ids, decoding, name=_stream_name(request, seed))
                under_way[row] = request

    def _completion(self, row: Row) -> Completion:
        is_ended = row.finish == "stop"
        finish: FinishReason = "stop" if is_ended else "length"
        written = row.token_ids[:-1] if is_ended else row.token_ids
        text = str(self._tokenizer.decode(written, skip_special_tokens=True))
        is_opened = is_reasoning_opened(self._tokenizer, row.prompt_ids)
        split = split_reasoning(text, is_opened=is_opened)
        return Completion(
            text=split.answer,
            reasoning=split.reasoning,
            finish=finish,
            usage=Usage(
                input_tokens=len(row.prompt_ids),
                output_tokens=len(row.token_ids),
                reasoning_tokens=self._reasoning_tokens(written, split.reasoning),
            ),
            logprobs=_rounded(row.logprobs) if row.decoding.keeps_logprobs else None,
        )

    def _reasoning_tokens(self, written: list[int], reasoning: str | None) -> int:
        """Tokens up to and with the closing think tag."""
        if reasoning is None:
            return 0
        close_id = self._tokenizer.convert_tokens_to_ids(THINK_CLOSE)
        if close_id in written:
            return written.index(close_id) + 1
        return len(self._tokenizer(reasoning, add_special_tokens=False)["input_ids"])

    def _too_long(self, prompt_ids: list[int]) -> Completion:
        problem = f"the prompt has {len(prompt_ids)} tokens, the model reads {self._engine.longest}"
        return Completion(
            text="",
            finish="error",
            error=problem,
            usage=Usage(input_tokens=len(prompt_ids)),
        )


def end_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Token ids that end a completion: what the generation config says, else the tokenizer's."""
    config = model.generation_config
    configured = config.eos_token_id if config is not None else None
    if configured is None:
        configured = tokenizer.eos_token_id
    if configured is None:
        return frozenset()
    return frozenset([configured] if isinstance(configured, int) else configured)


def _stream_name(request: Request, seed: int) -> str:
    return f"{seed}/{request.prompt.id}/{request.sample_index}/{request.prompt.text}"


def _rounded(logprobs: list[float]) -> tuple[float, ...]:
    """Float32 holds no more than these digits, and a journal has to hold them all."""
    return tuple(round(logprob, 5) for logprob in logprobs)
