import torch

from distill.types import Prompt, Request
from engine.drawing import UniformStreams, draw_tokens


def test_draws_follow_the_softmax() -> None:
    logits_B_V = torch.log(torch.tensor([[0.1, 0.6, 0.3]])).expand(10_000, 3)
    uniforms_B = (torch.arange(10_000) + 0.5) / 10_000
    counts = torch.bincount(draw_tokens(logits_B_V, uniforms_B, 1.0, 1.0), minlength=3)
    assert counts.tolist() == [1000, 6000, 3000]


def test_temperature_sharpens() -> None:
    logits_B_V = torch.log(torch.tensor([[0.2, 0.8]])).expand(10_000, 2)
    uniforms_B = (torch.arange(10_000) + 0.5) / 10_000
    counts = torch.bincount(draw_tokens(logits_B_V, uniforms_B, 0.5, 1.0), minlength=2)
    assert counts[0] == round(10_000 * 0.04 / (0.04 + 0.64))


def test_top_p_keeps_the_smallest_set_with_the_mass() -> None:
    logits_B_V = torch.log(torch.tensor([[0.1, 0.6, 0.3]])).expand(1_000, 3)
    uniforms_B = (torch.arange(1_000) + 0.5) / 1_000
    drawn = draw_tokens(logits_B_V, uniforms_B, 1.0, 0.7)
    assert set(drawn.tolist()) == {1, 2}
    assert set(draw_tokens(logits_B_V, uniforms_B, 1.0, 0.5).tolist()) == {1}


def test_a_token_of_no_probability_is_never_drawn() -> None:
    logits_B_V = torch.tensor([[-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]]).expand(4, 5)
    drawn = draw_tokens(
        logits_B_V, torch.tensor([0.0, 0.49, 0.5, 1.0], dtype=torch.float64), 1.0, 1.0
    )
    assert drawn.tolist() == [1, 1, 3, 3]


def test_numbers_belong_to_the_request_not_to_its_place_in_the_block() -> None:
    one, two = (Request(Prompt(id=name, text=name), 0) for name in ("one", "two"))
    first, second = UniformStreams([one, two], seed=1), UniformStreams([two, one], seed=1)
    for _ in range(100):
        assert first.next().tolist() == second.next()[::-1].tolist()
