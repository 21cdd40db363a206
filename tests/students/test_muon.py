import pytest
import torch
from torch import nn

from students.muon import Muon


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed_tokens = nn.Embedding(7, 6)
        self.up_proj = nn.Linear(6, 24)
        self.norm = nn.LayerNorm(24)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.norm(self.up_proj(self.embed_tokens(ids)))
        return hidden


def gradients(model: Tiny, seed: int) -> None:
    torch.manual_seed(seed)
    for param in model.parameters():
        param.grad = torch.randn_like(param)


def test_what_is_no_matrix_is_trained_as_adamw_trains_it() -> None:
    ours, theirs = Tiny(), Tiny()
    muon = Muon(ours.named_parameters(), lr=1e-2, weight_decay=0.0)
    adamw = torch.optim.AdamW(theirs.parameters(), lr=1e-2, betas=(0.9, 0.95), weight_decay=0.0)
    for seed in range(5):
        for model, optimizer in ((ours, muon), (theirs, adamw)):
            gradients(model, seed)
            optimizer.step()
    others = dict(theirs.named_parameters())
    for name, param in ours.named_parameters():
        is_same = torch.allclose(param, others[name], atol=1e-6)
        assert is_same == (name != "up_proj.weight"), name


def test_update_of_a_matrix_is_as_large_as_adamws_and_nearly_orthogonal() -> None:
    model = Tiny()
    before = model.up_proj.weight.detach().clone()
    gradients(model, 0)
    Muon(model.named_parameters(), lr=1e-2, weight_decay=0.0).step()
    update = (model.up_proj.weight.detach() - before) / 1e-2
    assert update.square().mean().sqrt() == pytest.approx(0.2, rel=0.25)
    values = torch.linalg.svdvals(update)
    assert values.max() / values.min() < 2


def test_decay_shrinks_matrices_alone() -> None:
    model = Tiny()
    bias = model.up_proj.bias.detach().clone()
    optimizer = Muon(model.named_parameters(), lr=0.5, weight_decay=0.5)
    size = model.up_proj.weight.norm().item()
    for param in model.parameters():
        param.grad = torch.zeros_like(param)
    optimizer.step()
    assert model.up_proj.weight.norm().item() == pytest.approx(0.75 * size)
    assert torch.equal(model.up_proj.bias, bias)


def test_frozen_parameters_are_left_out() -> None:
    model = Tiny()
    model.embed_tokens.weight.requires_grad_(False)
    optimizer = Muon(model.named_parameters(), lr=1e-2, weight_decay=0.0)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 4
