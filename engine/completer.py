"""``LocalCompleter``: a causal language model on this machine as a ``Completer``.

It takes a block of requests, reads all prompts at once, and decodes row by row with a KV cache.
Finished rows leave the batch, so that the last long rows do not pay for the short ones. Which rows
share a block changes the rounding of their logits in the last digits; therefore a resumed run asks
for whole blocks again (``has_independent_rows`` is ``False``), and gets the same tokens.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.cache_utils import Cache

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
from engine.cache import GrowingLayer
from engine.chat_format import is_reasoning_opened, render
from engine.drawing import UniformStreams, draw_tokens
from engine.latent import EXPANDED, LatentLayer, expands_latents
from engine.threads import fitting_threads

# Rows are dropped from the batch once this share of them is finished: each drop copies the cache.
_DROP_SHARE = 0.15


@dataclass(slots=True)
class _Row:
    """One request on its way: its place in the block and the tokens so far."""

    index: int
    request: Request
    prompt_ids: list[int]
    limit: int
    token_ids: list[int] = field(default_factory=list)


class LocalCompleter:
    """Samples a transformers model in blocks of ``batch_size`` requests."""

    has_independent_rows = False
    samples_at_once = 1
    is_billed = False

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str,
        fingerprint: str,
        batch_size: int = 256,
    ) -> None:
        """Wrap a loaded model.

        Args:
            model: In evaluation mode, on the device it shall run on.
            tokenizer: With a chat template.
            name: What traces call the model.
            fingerprint: Hash of its weights, tokenizer and template.
            batch_size: Rows decoded at once; part of what a sampled token depends on.
        """
        self.model = name
        self.fingerprint = f"{fingerprint}/{batch_size}"
        self._lm = model
        self._expands_latents = expands_latents(model)
        if self._expands_latents:
            model.set_attn_implementation(EXPANDED)
        self._tokenizer = tokenizer
        self._batch_size = batch_size
        self._end_ids = _end_ids(model, tokenizer)
        self._context_tokens = int(getattr(model.config, "max_position_embeddings", 0)) or 1 << 30

    def progress_figures(self) -> Mapping[str, str]:
        """Nothing beside the sampling loop's own figures."""
        return {}

    def complete(self, source: RequestSource, sampling: Sampling) -> Iterator[Answer]:
        """Take blocks until there are no more, yielding each answer when its row is finished."""
        with fitting_threads(self._lm.num_parameters()):
            while requests := source.take(self._batch_size):
                yield from self._complete_block(list(requests), sampling)

    def _complete_block(self, requests: list[Request], sampling: Sampling) -> Iterator[Answer]:
        rows: list[_Row] = []
        for index, request in enumerate(requests):
            message = Message("user", request.prompt.text)
            prompt_ids = render(self._tokenizer, [message], add_generation_prompt=True)
            limit = min(sampling.max_tokens, self._context_tokens - len(prompt_ids))
            if limit < 1:
                yield Answer(request, self._too_long(prompt_ids))
            else:
                rows.append(_Row(index, request, prompt_ids, limit))
        if rows:
            yield from self._decode(rows, UniformStreams(requests, sampling.seed), sampling)

    @torch.inference_mode()
    def _decode(
        self, rows: list[_Row], uniforms: UniformStreams, sampling: Sampling
    ) -> Iterator[Answer]:
        """Read the prompts, then one token per row and step until every row is finished."""
        device = self._lm.device
        cache = Cache(
            layer_class_to_replicate=LatentLayer if self._expands_latents else GrowingLayer
        )
        extra = {"expanded_cache": cache} if self._expands_latents else {}
        ids_B_T, mask_B_T = self._left_padded([row.prompt_ids for row in rows])
        positions_B_T = (mask_B_T.cumsum(dim=-1) - 1).clamp(min=0)
        waiting = dict(enumerate(rows))  # batch row -> its request, until it is answered
        while True:
            logits_B_V = self._lm(
                input_ids=ids_B_T,
                attention_mask=mask_B_T,
                position_ids=positions_B_T,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
                **extra,
            ).logits[:, -1]
            numbers = torch.from_numpy(uniforms.next()[[row.index for row in rows]]).to(device)
            tokens_B = draw_tokens(logits_B_V, numbers, sampling.temperature, sampling.top_p)
            tokens = tokens_B.tolist()
            for batch_row, row in list(waiting.items()):
                row.token_ids.append(tokens[batch_row])
                if tokens[batch_row] in self._end_ids or len(row.token_ids) == row.limit:
                    del waiting[batch_row]
                    yield Answer(row.request, self._completion(row))
            if not waiting:
                return
            if len(waiting) <= (1 - _DROP_SHARE) * len(rows):
                kept = torch.tensor(list(waiting), device=device)
                rows = [rows[batch_row] for batch_row in waiting]
                waiting = dict(enumerate(rows))
                cache.batch_select_indices(kept)
                tokens_B, mask_B_T = tokens_B[kept], mask_B_T[kept]
                positions_B_T = positions_B_T[kept]
            ids_B_T = tokens_B[:, None]
            mask_B_T = torch.cat([mask_B_T, mask_B_T.new_ones(len(rows), 1)], dim=1)
            positions_B_T = positions_B_T[:, -1:] + 1

    def _left_padded(self, prompts: Sequence[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """``[[pad a a] [b b b]]`` and its mask, so that every prompt ends in the last column."""
        length = max(map(len, prompts))
        ids_B_T = torch.zeros(len(prompts), length, dtype=torch.long)
        mask_B_T = torch.zeros(len(prompts), length, dtype=torch.long)
        for index, prompt_ids in enumerate(prompts):
            ids_B_T[index, length - len(prompt_ids) :] = torch.tensor(prompt_ids)
            mask_B_T[index, length - len(prompt_ids) :] = 1
        return ids_B_T.to(self._lm.device), mask_B_T.to(self._lm.device)

    def _completion(self, row: _Row) -> Completion:
        is_ended = row.token_ids[-1] in self._end_ids
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
        problem = f"the prompt has {len(prompt_ids)} tokens, the model reads {self._context_tokens}"
        return Completion(
            text="",
            finish="error",
            error=problem,
            usage=Usage(input_tokens=len(prompt_ids)),
        )


def _end_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Token ids that end a completion: what the generation config says, else the tokenizer's."""
    config = model.generation_config
    configured = config.eos_token_id if config is not None else None
    if configured is None:
        configured = tokenizer.eos_token_id
    if configured is None:
        return frozenset()
    return frozenset([configured] if isinstance(configured, int) else configured)
