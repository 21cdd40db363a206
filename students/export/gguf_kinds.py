"""Which kind of numbers each tensor gets under a quantisation such as ``q4_k_m``.

The mixtures are llama.cpp's: the output layer, and in some layers the values and the last matrix,
which hurt most, get more bits. Norms and biases stay float32.
"""

import re
from collections.abc import Mapping
from typing import Final, Literal, get_args

from students.export.gguf_format import KINDS

Quant = Literal["f32", "f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q4_k_m"]
QUANTS: Final[tuple[Quant, ...]] = get_args(Quant)
# llama.cpp's numbers for what a file mostly holds.
FILE_TYPE: Final[Mapping[Quant, int]] = {
    "f32": 0,
    "f16": 1,
    "q8_0": 7,
    "q4_k_m": 15,
    "q5_k_m": 17,
    "q6_k": 18,
    "bf16": 32,
}
_MOSTLY: Final[Mapping[Quant, str]] = {
    "f32": "F32",
    "f16": "F16",
    "bf16": "BF16",
    "q8_0": "Q8_0",
    "q6_k": "Q6_K",
    "q5_k_m": "Q5_K",
    "q4_k_m": "Q4_K",
}
# What takes over where rows are no multiple of 256.
_FALLBACK: Final[Mapping[str, str]] = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}


def kind_of(name: str, shape: tuple[int, ...], quant: Quant, *, layers: int, is_tied: bool) -> str:
    """The kind of one tensor, by its GGUF name.

    Args:
        name: Such as ``"blk.0.attn_v.weight"``.
        shape: Rows first.
        quant: Of the file.
        layers: Of the model.
        is_tied: Whether the embedding is the output layer as well.

    Example:
        >>> kind_of("blk.0.attn_v.weight", (256, 1024), "q4_k_m", layers=28, is_tied=False)
        'Q6_K'
        >>> kind_of("blk.0.attn_q.weight", (256, 896), "q4_k_m", layers=28, is_tied=False)
        'Q5_0'
    """
    if len(shape) < 2:  # noqa: PLR2004 - a matrix has two axes
        return "F32"
    kind = _MOSTLY[quant]
    is_output = name == "output.weight" or (is_tied and name == "token_embd.weight")
    if kind in ("Q4_K", "Q5_K") and (is_output or _has_more_bits(name, layers)):
        kind = "Q6_K"
    if shape[-1] % KINDS[kind][1]:
        kind = _FALLBACK.get(kind, kind)
    return "F16" if shape[-1] % KINDS[kind][1] else kind


def _has_more_bits(name: str, layers: int) -> bool:
    """The first and the last eighth of the layers, and every third between."""
    found = re.fullmatch(r"blk\.(\d+)\.(attn_v|ffn_down)\.weight", name)
    if found is None:
        return False
    layer, eighth = int(found[1]), layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2  # noqa: PLR2004
