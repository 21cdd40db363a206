"""Numbers of an export against independent answers: torch's casts, the quants of ``gguf``."""

import gguf
import numpy as np
import pytest
import torch
from gguf.quants import dequantize, quantize

from students.export.floats import FLOAT_TYPES, convert
from students.export.gguf_format import KINDS
from students.export.gguf_kinds import QUANTS, kind_of
from students.export.gguf_numbers import decode, encode

TORCH = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
# Root mean square of the error by that of normal numbers: theory for 8, 6, 5 and 4 bits in blocks.
LARGEST_ERROR = {
    "F32": 0,
    "F16": 3e-4,
    "BF16": 2e-3,
    "Q8_0": 0.006,
    "Q6_K": 0.019,
    "Q5_0": 0.045,
    "Q5_1": 0.040,
    "Q5_K": 0.037,
    "Q4_K": 0.074,
}


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """Like weights, with rows that are odd: zeros, tiny ones, positive ones, one outlier."""
    rows = (np.random.default_rng(0).standard_normal((64, 512)) * 0.02).astype(np.float32)
    rows[1] = 0
    rows[2, :256] = 0
    rows[3] *= 1e-7
    rows[4] = np.abs(rows[4])
    rows[5, 7] = 3
    return rows


def as_torch(values: np.ndarray) -> torch.Tensor:
    return (
        torch.from_numpy(values.view(np.int16)).view(torch.bfloat16)
        if values.dtype == np.uint16
        else torch.from_numpy(values)
    )


@pytest.mark.parametrize("wanted", FLOAT_TYPES)
@pytest.mark.parametrize("have", FLOAT_TYPES)
def test_floats_are_rounded_as_torch_rounds_them(have: str, wanted: str) -> None:
    every = np.arange(1 << 16, dtype=np.uint16)  # each bfloat16, and each float16
    given = {
        "BF16": every,
        "F16": every.view(np.float16),
        "F32": np.random.default_rng(0).standard_normal(9999).astype(np.float32) * 10,
    }[have]
    expected = as_torch(given).to(TORCH[wanted])
    if wanted == "F16" != have:  # what it cannot hold is refused
        given, expected = given[expected.isfinite().numpy()], expected[expected.isfinite()]
    found = as_torch(convert(given, wanted))  # type: ignore[arg-type]
    assert found.dtype == expected.dtype
    assert torch.equal(found.isnan(), expected.isnan())
    assert torch.equal(found.nan_to_num(), expected.nan_to_num())


@pytest.mark.parametrize("kind", KINDS)
def test_the_gguf_package_reads_the_same_numbers_from_our_bytes(
    rows: np.ndarray, kind: str
) -> None:
    data = encode(rows, kind).view(np.uint8)
    ours = decode(data.reshape(-1), kind).reshape(rows.shape)
    theirs = dequantize(data.reshape(len(rows), -1), gguf.GGMLQuantizationType[kind])
    np.testing.assert_array_equal(ours, theirs.reshape(rows.shape))
    error = np.sqrt(np.mean((ours[8:] - rows[8:]) ** 2) / np.mean(rows[8:] ** 2))
    assert error <= LARGEST_ERROR[kind]
    assert np.array_equal(ours[1], rows[1])


@pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q5_0", "Q5_1"])
def test_simple_kinds_are_the_gguf_packages_to_the_byte(rows: np.ndarray, kind: str) -> None:
    ours = encode(rows, kind).view(np.uint8).reshape(-1)
    theirs = quantize(rows, gguf.GGMLQuantizationType[kind]).view(np.uint8).reshape(-1)
    np.testing.assert_array_equal(ours, theirs)


def test_sizes_and_numbers_of_kinds_are_those_of_the_gguf_package() -> None:
    for kind, (number, block, block_bytes) in KINDS.items():
        known = gguf.GGMLQuantizationType[kind]
        assert (known.value, gguf.GGML_QUANT_SIZES[known]) == (number, (block, block_bytes))


@pytest.mark.parametrize("quant", QUANTS)
def test_rows_that_fill_no_block_get_a_kind_with_smaller_ones(quant: str) -> None:
    for columns in (1, 32, 96, 256, 896):
        for name in ("output.weight", "blk.0.attn_q.weight", "blk.1.ffn_down.weight"):
            kind = kind_of(name, (8, columns), quant, layers=2, is_tied=False)  # type: ignore[arg-type]
            assert columns % KINDS[kind][1] == 0


def test_more_bits_go_where_llama_cpp_puts_them() -> None:
    """By hand, from its rule for 28 layers: the first 3, the last 4, every third between."""
    with_more = [
        layer
        for layer in range(28)
        if kind_of(f"blk.{layer}.ffn_down.weight", (8, 256), "q4_k_m", layers=28, is_tied=True)
        == "Q6_K"
    ]
    assert with_more == [0, 1, 2, 5, 8, 11, 14, 17, 20, 23, 24, 25, 26, 27]
    assert kind_of("token_embd.weight", (8, 256), "q4_k_m", layers=28, is_tied=True) == "Q6_K"
    assert kind_of("token_embd.weight", (8, 256), "q4_k_m", layers=28, is_tied=False) == "Q4_K"


@pytest.mark.parametrize("kind", ["F32", "BF16"])
def test_what_float16_cannot_hold_is_refused_and_what_is_tiny_is_rounded(kind: str) -> None:
    def narrowed(*numbers: float) -> list[float]:
        given = convert(np.array(numbers, np.float32), kind)  # type: ignore[arg-type]
        return [float(number) for number in convert(given, "F16")]

    for number in (1e38, -7e4, np.inf, np.nan):
        with pytest.raises(OverflowError, match="beyond 65504"):
            narrowed(1, number)
    assert narrowed(6e4, 6e-8, -1e-9) == pytest.approx([6e4, 2**-24, 0], rel=3e-3)
