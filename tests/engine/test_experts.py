"""Routed experts: what the engine's products add up to, and how many sizes they have."""

import pytest
import torch
from torch import nn

from engine.experts import row_experts, rows_for


class Experts(nn.Module):
    """Four experts in the layout of transformers."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.num_experts = 4
        self.gate_up_proj = torch.randn(4, 16, 6, generator=generator).to(dtype)
        self.down_proj = torch.randn(4, 6, 8, generator=generator).to(dtype)
        self.act_fn = nn.SiLU()


def one_by_one(experts: Experts, hidden: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Each token through each of its experts alone, in double precision."""
    rows = []
    for token, indices in zip(hidden.double(), chosen, strict=True):
        total = torch.zeros(6, dtype=torch.float64)
        for index in indices:
            gate, up = (experts.gate_up_proj[index].double() @ token).chunk(2)
            total += 0.5 * experts.down_proj[index].double() @ (experts.act_fn(gate) * up)
        rows.append(total)
    return torch.stack(rows)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_padded_products_give_each_token_the_sum_of_its_experts(dtype: torch.dtype) -> None:
    experts, generator = Experts(dtype), torch.Generator().manual_seed(1)
    hidden = torch.randn(37, 6, generator=generator).to(dtype)
    chosen = torch.stack([torch.randperm(4, generator=generator)[:2] for _ in range(37)])
    chosen[:, 0] = torch.where(chosen[:, 1] == 3, 0, 3)  # one expert gets most of them
    weights = torch.full((37, 2), 0.5, dtype=dtype)
    found = row_experts(experts, hidden, chosen, weights)
    wanted = one_by_one(experts, hidden, chosen)
    tolerance = 1e-5 if dtype == torch.float32 else 0.05  # 8 bits of a number
    torch.testing.assert_close(found.double(), wanted, rtol=tolerance, atol=tolerance * 10)


def test_products_in_16_bits_have_few_sizes_and_little_waste() -> None:
    """Each size is a kernel of oneDNN that stays in memory."""
    sizes = [rows_for(count, torch.bfloat16) for count in range(1, 4097)]
    assert all(size >= count for count, size in enumerate(sizes, 1))
    assert all(size <= max(count * 9 / 8, count + 3) for count, size in enumerate(sizes, 1))
    assert len(set(sizes)) < 70
    assert [rows_for(count, torch.float32) for count in (1, 5, 1001)] == [4, 5, 1001]
