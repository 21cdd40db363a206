"""Drawing tokens, reproducibly: every sample has random numbers of its own.

The numbers depend on the run's seed, the prompt and the sample's index, never on which other rows
share a batch. This module knows logits and numbers, nothing of models and text.
"""

import hashlib

import numpy as np
import torch

from distill.types import Request

_CHUNK = 64


class UniformStreams:
    """One endless stream of numbers in [0, 1) per request of a block."""

    def __init__(self, requests: list[Request], seed: int) -> None:
        """Seed one generator per request."""
        self._generators = [_generator(request, seed) for request in requests]
        self._chunk = np.empty((0, 0))
        self._used = _CHUNK

    def next(self) -> np.ndarray:
        """One number per request of the block, ``[B]``, finished ones included."""
        if self._used == _CHUNK:
            self._chunk = np.stack([generator.random(_CHUNK) for generator in self._generators])
            self._used = 0
        self._used += 1
        return self._chunk[:, self._used - 1]


def _generator(request: Request, seed: int) -> np.random.Generator:
    name = f"{seed}/{request.prompt.id}/{request.sample_index}/{request.prompt.text}"
    digest = hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))


def draw_tokens(
    logits_B_V: torch.Tensor, uniforms_B: torch.Tensor, temperature: float, top_p: float
) -> torch.Tensor:
    """Draw one token per row by inverting the cumulative distribution.

    Args:
        logits_B_V: Scores of the next token.
        uniforms_B: One number in [0, 1) per row; the same number gives the same token.
        temperature: 0 takes the likeliest token.
        top_p: Only the smallest set of likeliest tokens with at least this mass is drawn from.

    Returns:
        Token ids, ``[B]``.

    Example:
        >>> logits = torch.tensor([[0.0, 0.0, -1e9]])
        >>> [draw_tokens(logits, torch.tensor([u]), 1.0, 1.0).item() for u in (0.2, 0.7)]
        [0, 1]
    """
    if temperature == 0:
        return logits_B_V.argmax(dim=-1)
    probabilities_B_V = (logits_B_V.double() / temperature).softmax(dim=-1)
    if top_p >= 1:
        return _invert(probabilities_B_V, uniforms_B)
    sorted_B_V, order_B_V = probabilities_B_V.sort(dim=-1, descending=True, stable=True)
    mass_before_B_V = sorted_B_V.cumsum(dim=-1) - sorted_B_V
    sorted_B_V[mass_before_B_V >= top_p] = 0
    ranks_B = _invert(sorted_B_V, uniforms_B)
    return order_B_V.gather(1, ranks_B[:, None]).squeeze(1)


def _invert(weights_B_V: torch.Tensor, uniforms_B: torch.Tensor) -> torch.Tensor:
    """First index whose cumulative weight exceeds the row's share of the total."""
    cumulative_B_V = weights_B_V.cumsum(dim=-1)
    totals_B = cumulative_B_V[:, -1]
    below_B = torch.nextafter(totals_B, torch.zeros_like(totals_B))
    targets_B = torch.minimum(uniforms_B.to(cumulative_B_V) * totals_B, below_B)
    indices_B = torch.searchsorted(cumulative_B_V, targets_B[:, None], right=True).squeeze(1)
    return indices_B.clamp(max=weights_B_V.shape[1] - 1)
