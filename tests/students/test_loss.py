import pytest
import torch
from torch.nn.functional import cross_entropy

from students.loss import _chunks, supervised_loss


@pytest.mark.parametrize("chunk_tokens", [1, 4, 7, 100])
@pytest.mark.parametrize("is_head_trained", [True, False])
def test_loss_and_gradients_equal_full_logits(chunk_tokens: int, is_head_trained: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(23, 16, generator=generator, requires_grad=True)
    head = torch.randn(40, 16, generator=generator, requires_grad=is_head_trained)
    targets = torch.randint(0, 40, (23,), generator=generator)
    weights = torch.rand(23, generator=generator)
    weights /= weights.sum()

    plain = (cross_entropy(hidden @ head.t(), targets, reduction="none") * weights).sum()
    inputs = [hidden, head] if is_head_trained else [hidden]
    plain_gradients = torch.autograd.grad(plain * 3, inputs)
    chunked = supervised_loss(hidden, head, targets, weights, chunk_tokens=chunk_tokens)
    chunked_gradients = torch.autograd.grad(chunked * 3, inputs)

    torch.testing.assert_close(chunked, plain, atol=1e-6, rtol=1e-6)
    for ours, theirs in zip(chunked_gradients, plain_gradients, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


def test_large_logits_do_not_overflow() -> None:
    hidden = torch.full((1, 1), 1e3, requires_grad=True)
    head = torch.tensor([[1.0], [-1.0]])
    loss = supervised_loss(hidden, head, torch.tensor([1]), torch.ones(1))
    assert loss.item() == pytest.approx(2000)
    loss.backward()
    assert hidden.grad is not None
    assert hidden.grad.item() == pytest.approx(2.0)


def test_a_target_too_unlikely_for_fp32_has_its_loss_beside_likely_ones() -> None:
    hidden = torch.tensor([[150.0], [1.0], [95.0]])
    head = torch.tensor([[1.0], [0.0], [-1.0]])
    targets, weights = torch.tensor([1, 1, 1]), torch.tensor([1.0, 2.0, 3.0])
    loss = supervised_loss(hidden, head, targets, weights)
    plain = cross_entropy(hidden @ head.t(), targets, reduction="none")
    torch.testing.assert_close(loss, (plain * weights).sum())


def test_chunks_are_even_so_that_none_is_small() -> None:
    sizes = [part.stop - part.start for part in _chunks(1601, 640)]
    assert sizes == [533, 534, 534]
    assert _chunks(0, 640) == []


def test_loss_without_gradient_is_the_same() -> None:
    hidden, head = torch.randn(5, 4), torch.randn(9, 4)
    targets, weights = torch.arange(5), torch.ones(5)
    with torch.no_grad():
        loss = supervised_loss(hidden, head, targets, weights)
    torch.testing.assert_close(loss, cross_entropy(hidden @ head.t(), targets, reduction="sum"))


def test_autocast_multiplies_in_bf16_forward_and_backward() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(23, 16, generator=generator, requires_grad=True)
    head = torch.randn(40, 16, generator=generator, requires_grad=True)
    targets, weights = torch.randint(0, 40, (23,), generator=generator), torch.full((23,), 1 / 23)
    with torch.autocast("cpu", torch.bfloat16):
        plain = cross_entropy((hidden @ head.t()).float(), targets)
        chunked = supervised_loss(hidden, head, targets, weights, chunk_tokens=7)
    expected = torch.autograd.grad(plain, [hidden, head])
    found = torch.autograd.grad(chunked, [hidden, head])
    torch.testing.assert_close(chunked, plain, atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == torch.float32
        assert (ours - theirs).norm() < 0.01 * theirs.norm()  # bf16 keeps 8 bits
