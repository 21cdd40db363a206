"""A KV cache that grows in place.

Transformers' dynamic cache copies everything it holds for each new token. This one keeps room to
grow and hands out views, so that a step of decoding writes one token per row. Rows can be dropped
when they are finished.
"""

import torch
from transformers.cache_utils import DynamicLayer

_ROOM_TOKENS = 64


class GrowingLayer(DynamicLayer):
    """Keys and values of one layer, ``[B, heads, T, head_dim]``, as views of larger buffers."""

    def __init__(self) -> None:
        """Start empty; the first update allocates."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._key_buffer: torch.Tensor | None = None
        self._value_buffer: torch.Tensor | None = None
        self._length = 0

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        *_args: object,
        **_kwargs: object,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append the new tokens and return all keys and values so far."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        length = self._length + key_states.shape[-2]
        self._key_buffer = _with_room(self._key_buffer, key_states, self._length, length)
        self._value_buffer = _with_room(self._value_buffer, value_states, self._length, length)
        self._key_buffer[..., self._length : length, :] = key_states
        self._value_buffer[..., self._length : length, :] = value_states
        self._length = length
        return self._views()

    def get_seq_length(self) -> int:
        """Tokens held so far."""
        return self._length

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep only these rows, in this order."""
        if self._key_buffer is not None and self._value_buffer is not None:
            self._key_buffer = self._key_buffer.index_select(0, indices)
            self._value_buffer = self._value_buffer.index_select(0, indices)
            self._views()

    def _views(self) -> tuple[torch.Tensor, torch.Tensor]:
        assert self._key_buffer is not None
        assert self._value_buffer is not None
        keys = self._key_buffer[..., : self._length, :]
        values = self._value_buffer[..., : self._length, :]
        self.keys, self.values = keys, values
        return keys, values


def _with_room(
    buffer: torch.Tensor | None, states: torch.Tensor, used: int, needed: int
) -> torch.Tensor:
    """The buffer if ``needed`` tokens fit, otherwise a larger one with the used part copied."""
    if buffer is not None and needed <= buffer.shape[-2]:
        return buffer
    room = max(_ROOM_TOKENS, needed // 2)
    larger = states.new_empty(*states.shape[:-2], needed + room, states.shape[-1])
    if buffer is not None:
        larger[..., :used, :] = buffer[..., :used, :]
    return larger
