"""Drawing tokens, reproducibly: every sample has random numbers of its own.

The numbers depend on the run's seed, the prompt and the sample's index, never on which other rows
share a batch. This module knows logits and numbers, nothing of models and text.
"""

import hashlib

import numpy as np
import torch

_FIRST_CANDIDATES = 64
"""Nuclei are nearly always smaller: sorting the rest of a vocabulary is the exception."""


class UniformStream:
    """One endless stream of numbers in [0, 1), named by what it is for."""

    def __init__(self, name: str) -> None:
        """Seed a generator by ``name``, such as seed, prompt and sample index."""
        digest = hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=16).digest()
        key = int.from_bytes(digest, "little")
        self._generator = np.random.Generator(np.random.Philox(key=key))

    def next(self) -> float:
        """The next number."""
        return float(self._generator.random())


def draw_tokens(
    logits_B_V: torch.Tensor,
    uniforms_B: torch.Tensor,
    temperature: float,
    top_p: float,
    *,
    top_k: int = 0,
    min_p: float = 0.0,
) -> torch.Tensor:
    """Draw one token per row by inverting the cumulative distribution.

    Args:
        logits_B_V: Scores of the next token.
        uniforms_B: One number in [0, 1) per row; the same number gives the same token.
        temperature: 0 takes the likeliest token.
        top_p: Only the smallest set of likeliest tokens with at least this mass is drawn from.
        top_k: Only so many of the likeliest tokens are drawn from; 0 for all.
        min_p: Only tokens at least this likely, as a share of the likeliest one; 0 for all.

    Returns:
        Token ids, ``[B]``.

    Example:
        >>> logits = torch.tensor([[0.0, 0.0, -1e9]])
        >>> [draw_tokens(logits, torch.tensor([u]), 1.0, 1.0).item() for u in (0.2, 0.7)]
        [0, 1]
    """
    if temperature == 0:
        return logits_B_V.argmax(dim=-1)
    scores_B_V = logits_B_V.float() / temperature
    if top_p >= 1 and not top_k and not min_p:
        return _invert(scores_B_V.double().softmax(dim=-1), uniforms_B)
    vocabulary = scores_B_V.shape[1]
    candidates = min(vocabulary, top_k or _FIRST_CANDIDATES)
    tokens_B, is_open_B = _draw_from(scores_B_V, uniforms_B, candidates, top_p, min_p)
    if candidates < vocabulary and not top_k and is_open_B.any():
        open_rows = is_open_B.nonzero().squeeze(1)
        tokens_B[open_rows], _ = _draw_from(
            scores_B_V[open_rows], uniforms_B[open_rows], vocabulary, top_p, min_p
        )
    return tokens_B


def token_logprobs(logits_B_V: torch.Tensor, tokens_B: torch.Tensor) -> torch.Tensor:
    """Log-probabilities of tokens by the model itself, before temperature and truncation, [B]."""
    scores_B_V = logits_B_V.float()
    chosen_B = scores_B_V.gather(1, tokens_B[:, None]).squeeze(1)
    return chosen_B - scores_B_V.logsumexp(dim=-1)


def penalised(logits_V: torch.Tensor, token_ids: set[int], penalty: float) -> torch.Tensor:
    """Scores of one row with tokens that it holds already made less likely (CTRL, Keskar 2019)."""
    seen = torch.tensor(sorted(token_ids), device=logits_V.device)
    scores = logits_V[seen]
    return logits_V.index_put((seen,), torch.where(scores > 0, scores / penalty, scores * penalty))


def _draw_from(
    scores_B_V: torch.Tensor,
    uniforms_B: torch.Tensor,
    candidates: int,
    top_p: float,
    min_p: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw among the likeliest ``candidates``; whether the last of them was still in the set."""
    top_B_C, ids_B_C = scores_B_V.topk(candidates, dim=-1)
    normaliser_B = scores_B_V.logsumexp(dim=-1, keepdim=True)
    weights_B_C = (top_B_C.double() - normaliser_B).exp()
    mass_before_B_C = weights_B_C.cumsum(dim=-1) - weights_B_C
    is_kept_B_C = (mass_before_B_C < top_p) & (weights_B_C >= min_p * weights_B_C[:, :1])
    ranks_B = _invert(weights_B_C * is_kept_B_C, uniforms_B)
    return ids_B_C.gather(1, ranks_B[:, None]).squeeze(1), is_kept_B_C[:, -1]


def _invert(weights_B_V: torch.Tensor, uniforms_B: torch.Tensor) -> torch.Tensor:
    """First index whose cumulative weight exceeds the row's share of the total."""
    cumulative_B_V = weights_B_V.cumsum(dim=-1)
    totals_B = cumulative_B_V[:, -1]
    below_B = torch.nextafter(totals_B, torch.zeros_like(totals_B))
    targets_B = torch.minimum(uniforms_B.to(cumulative_B_V) * totals_B, below_B)
    indices_B = torch.searchsorted(cumulative_B_V, targets_B[:, None], right=True).squeeze(1)
    return indices_B.clamp(max=weights_B_V.shape[1] - 1)
